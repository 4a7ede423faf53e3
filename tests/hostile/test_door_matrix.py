"""Host x Origin x method x media type x credential x forwarding, on every kind of route, both lanes.

What is expected is derived here from the rules in words, not from the code:

    On every route: an unknown `Host`, or an `Origin` that is not allowed, is 403 and nothing goes
    upstream. Management routes (everything but the relayed ones and `/health`) answer loopback
    peers, or the configured token; POST wants `content-type: application/json` or an empty body. A
    request with `Forwarded` or `X-Forwarded-*` is never loopback. With a token set, loopback
    clients need one too.

`HEAD /` and `/api/hello` are asked by clients as they start, before they have a credential: they
answer whom the host and the origin let in.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import trio

from server.scripted import Answer, ScriptedUpstream
from tests.kit.http_client import MemoryClient, Received
from tests.kit.lanes import lane  # noqa: F401 - a fixture
from tests.kit.program import RunningProgram, program_in_memory
from tests.kit.rounds import rounds

TOKEN = "sesame"
CONFIG = """
[server]
allowed_hosts = ["proxy.example"]
allowed_origins = ["https://page.example"]
[[account]]
name = "a"
api_key = "key-a"
"""
CASES = rounds(quick=250, full=20_000)
"""Of the 140,400 in the whole matrix, chosen by chance, in each of the four runs."""


class Case(NamedTuple):
    """One request."""

    method: str
    target: str
    host: str
    origin: str | None
    body: tuple[str | None, bytes]
    credential: tuple[str, str] | None
    forwarded: str | None


METHODS = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS"]
RELAYED = ["/v1/messages", "/v1/models", "/api/v1/messages/count_tokens", "/v1/files?x=1"]
HEALTH = ["/health", "/health/live"]
STARTING = ["/", "/api/hello"]
MANAGEMENT = ["/status", "/status/accounts/a/enable", "/dashboard", "/metrics", "/v1/../status"]
HOSTS = {"localhost:4080": True, "[::1]": True, "Proxy.Example": True, "evil.example": False,
         "localhost.evil.example": False}  # fmt: skip
ORIGINS = {None: True, "https://page.example": True, "https://evil.example": False, "null": False}
BODIES = {
    (None, b""): True,
    ("text/plain", b""): True,
    ("application/json", b"{}"): True,
    ("application/json; charset=utf-8", b"{}"): True,
    ("text/plain", b"{}"): False,
    (None, b"{}"): False,
}
CREDENTIALS = {
    None: False,
    ("x-api-key", "sesam"): False,
    ("authorization", "Basic sesame"): False,
    ("x-api-key", TOKEN): True,
    ("authorization", f"Bearer {TOKEN}"): True,
}
FORWARDED = [None, "forwarded", "x-forwarded-for"]


def matrix() -> Iterator[Case]:
    targets = [*RELAYED, *HEALTH, *STARTING, *MANAGEMENT]
    for values in itertools.product(
        METHODS, targets, HOSTS, ORIGINS, BODIES, CREDENTIALS, FORWARDED
    ):
        yield Case(*values)


def refusals(case: Case, *, token: bool) -> set[int]:
    """The statuses that the rules allow; empty: it is let in."""
    if not HOSTS[case.host] or not ORIGINS[case.origin]:
        return {403}
    found: set[int] = set()
    relayed = case.target in RELAYED
    health = case.target in HEALTH and case.method in ("GET", "HEAD")
    starting = case.target in STARTING and (
        case.method == "HEAD" or (case.target == "/api/hello" and case.method == "GET")
    )
    management = not (relayed or health or starting)
    shown = CREDENTIALS[case.credential]
    if token and not shown and not (health or starting):
        found.add(401)
    if not token and management and case.forwarded is not None:
        found.add(401)
    if management and case.method == "POST" and not BODIES[case.body]:
        found.add(415)
    return found


REFUSED = {401, 403, 415}


async def ask(program: RunningProgram, case: Case) -> Received:
    client = MemoryClient(await program.connect())
    headers = {"host": case.host}
    if case.origin is not None:
        headers["origin"] = case.origin
    media_type, body = case.body
    if media_type is not None:
        headers["content-type"] = media_type
    if body:
        headers["content-length"] = str(len(body))
    if case.credential is not None:
        headers[case.credential[0]] = case.credential[1]
    if case.forwarded is not None:
        headers[case.forwarded] = "127.0.0.1"
    head = f"{case.method} {case.target} HTTP/1.1\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    await client.stream.send_all(f"{head}\r\n".encode() + body)
    received = Received()
    data = b""
    # Metrics are rendered in a real thread, and virtual time runs on while that is busy.
    with trio.fail_after(6000):
        while b"\r\n\r\n" not in data:
            piece = bytes(await client.stream.receive_some(65536))
            assert piece, (case, data)
            data += piece
    received.status = int(data.split(b" ", 2)[1])
    lines = data.split(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    received.headers = [(n.lower(), v.strip()) for n, _, v in (x.partition(b":") for x in lines)]
    await client.leave()
    return received


@pytest.mark.promise("X1", "X2")
@pytest.mark.sweep
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("token", [False, True], ids=["open", "with a token"])
async def test_the_door_is_what_the_rules_say(
    token: bool,
    lane: str,  # noqa: F811 - the fixture
    autojump_clock: object,
) -> None:
    cases = random.sample(list(matrix()), CASES)
    config = CONFIG + (f'[access]\ntoken = "{TOKEN}"\n' if token else "")
    upstream = ScriptedUpstream(Answer(body=b"{}"), remember=1)
    outcomes: Counter[str] = Counter()
    async with program_in_memory(config, upstream) as program:
        for case in cases:
            before = upstream.requests_total
            received = await ask(program, case)
            expected = refusals(case, token=token)
            sent = upstream.requests_total - before
            if expected:
                assert received.status in expected, case
                assert sent == 0, f"a refused request went upstream: {case}"
            else:
                assert received.status not in REFUSED, (received.status, case)
                assert sent == (case.target in RELAYED), case
            assert received.header("access-control-allow-origin") is None
            outcomes["refused" if expected else "let in"] += 1
    assert outcomes["refused"] > len(cases) / 4
    assert outcomes["let in"] > len(cases) / 40, "a matrix of refusals alone shows little"
