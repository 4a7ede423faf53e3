"""U8: whatever an upstream answers, no credential is seen at another host than its own."""

from __future__ import annotations

import gzip
import random
from collections.abc import Mapping

import httpx
import pytest
import trio

from server.scripted import Answer, Cut, ScriptedUpstream, Send, text_message, text_stream
from server.scripted.requests import SeenRequest
from tests.kit.http_client import MemoryClient
from tests.kit.lanes import lane  # noqa: F401 - a fixture
from tests.kit.program import program_in_memory
from tests.kit.promises import Measured
from tests.kit.rounds import rounds

pytestmark = [pytest.mark.usefixtures("lane"), pytest.mark.timeout(rounds(quick=60, full=900))]

CLIENTS_OWN = "the-clients-own-key"
AT_HOME = {
    "api.test": ("key-of-first", "token-of-second"),
    "gateway.test": ("key-of-third",),
    "provider.test": ("key-of-provider",),
}
"""Every host that is configured, and the credentials that belong there."""

CONFIG = """
[[account]]
name = "first"
api_key = "key-of-first"
[[account]]
name = "second"
token = "token-of-second"
[[account]]
name = "third"
api_key = "key-of-third"
base_url = "http://gateway.test"
[routing]
strategy = "round-robin"
[[provider]]
name = "provider"
dialect = "anthropic"
base_url = "http://provider.test"
api_key = "key-of-provider"
[[route]]
match = "other-*"
provider = "provider"
[[fallback]]
provider = "provider"
model = "x"
"""
ELSEWHERE = (*AT_HOME, "stranger.test")


def misleading(host: str) -> tuple[Answer, ...]:
    """Answers that a credulous client would follow to `host`, or misread."""
    url = f"http://{host}/v1/messages"
    there = {"location": url, "content-location": url, "refresh": f"0; url={url}"}
    hints = {"link": f"<{url}>; rel=preconnect", "alt-svc": f'h2="{host}:80"', "set-cookie": "a=b"}
    zipped = gzip.compress(b'{"type":"message"}')
    return (
        *(Answer(status=status, headers=tuple(there.items())) for status in (301, 302, 303, 307, 308)),
        Answer(status=401, headers=(("www-authenticate", f'Bearer realm="{url}"'),)),
        Answer(status=407, headers=(("proxy-authenticate", f'Basic realm="{url}"'),)),
        Answer(status=421, headers=tuple({**there, **hints}.items())),
        Answer(status=305, headers=tuple(there.items())),
        Answer(status=500, headers=tuple(hints.items())),
        text_message("well").with_headers(hints),
        text_stream("well").with_headers(hints),
        Answer(headers=(("content-type", "text/html"),), body=f'<base href="{url}">'.encode()),
        Answer(headers=(("content-encoding", "gzip"),), body=zipped),
        Answer(parts=(Send(b"{"), Cut())),
    )  # fmt: skip


def found_in(seen: SeenRequest, credentials: Mapping[str, tuple[str, ...]]) -> set[str]:
    """Every credential anywhere in the bytes of a request."""
    text = b"\n".join([seen.target, seen.body, *(name + value for name, value in seen.headers)])
    known = [one for many in credentials.values() for one in many]
    return {one for one in (*known, CLIENTS_OWN) if one.encode() in text}


@pytest.mark.sweep
@pytest.mark.promise("U8", "X6")
async def test_no_credential_is_seen_at_another_host_whatever_is_answered(
    autojump_clock: object, measured: Measured
) -> None:
    chance = random.Random(8)
    count = rounds(20, 600)
    upstream = ScriptedUpstream(lambda seen: chance.choice(misleading(chance.choice(ELSEWHERE))))
    async with program_in_memory(CONFIG, upstream) as program:
        for _ in range(count):
            client = MemoryClient(await program.connect())
            body = {"model": chance.choice(("m", "other-m")), "stream": chance.random() < 0.5}
            headers = {"x-api-key": CLIENTS_OWN, "authorization": f"Bearer {CLIENTS_OWN}"}
            path = chance.choice(("/v1/messages", "/v1/messages/count_tokens", "/v1/files"))
            await client.post(path, {**body, "messages": []}, headers)
            await client.leave()
            await trio.sleep(20)
    hosts = {seen.header("host") for seen in upstream.requests}
    assert hosts == set(AT_HOME)
    astray = [
        (seen.header("host"), found)
        for seen in upstream.requests
        for found in found_in(seen, AT_HOME)
        if found not in AT_HOME[seen.header("host") or ""]
    ]
    assert astray == []
    told = sum(len(found_in(seen, AT_HOME)) for seen in upstream.requests)
    assert told == len(upstream.requests), "each had exactly one"
    measured("U8", "credentials at a host that is not theirs", len(astray), rounds=len(upstream.requests))  # fmt: skip


@pytest.mark.promise("U8", control=True)
def test_a_client_that_follows_redirects_takes_its_key_along() -> None:
    seen: list[tuple[str, str | None]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.url.host, request.headers.get("x-api-key")))
        there = {"location": "http://stranger.test/v1/messages"}
        return httpx.Response(307 if len(seen) == 1 else 200, headers=there)

    with httpx.Client(transport=httpx.MockTransport(answer), follow_redirects=True) as client:
        client.post("http://api.test/v1/messages", headers={"x-api-key": "key-of-first"})
    assert seen[-1] == ("stranger.test", "key-of-first")
