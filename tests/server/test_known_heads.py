"""What is remembered of a client's head never outlives what it was made of."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.accounts import Credential
from protocol.asked import asked
from protocol.headers import to_upstream
from protocol.leases import Acquire, Lease
from protocol.request import Peer, RequestHead, Route, upstream_target
from protocol.secrets import Secret
from server.as_sent import KEPT_MAX, as_sent, asked_by
from server.express_head import Heads, read_request
from server.scripted import ScriptedUpstream
from tests.kit.program import RunningProgram, program_in_memory

PEER = Peer("10.0.0.1", loopback=False)
FIRSTS = (b"POST /v1/messages HTTP/1.1\r\n", b"POST /v1/messages?a=b HTTP/1.1\r\n")
LINES = (
    b"Host: localhost\r\n", b"host: 127.0.0.1\r\n", b"Content-Length: 5\r\n", b"Content-Length: 17\r\n",
    b"content-length: 005\r\n", b"Content-Length:6\r\n", b"content-length: 5 \r\n", b"Content-Length: +5\r\n",
    b"X-Api-Key: one\r\n", b"X-Api-Key: two\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n",
    b"Expect: 100-continue\r\n", b"anthropic-beta: a,b\r\n", b"X-Request-Id: r1\r\n", b"X: a\nb: c\r\n",
)  # fmt: skip

blocks = st.builds(
    lambda first, lines: first + b"".join(lines) + b"\r\n",
    st.sampled_from(FIRSTS),
    st.lists(st.sampled_from(LINES), min_size=1, max_size=5),
)
nearly = st.tuples(blocks, st.lists(st.integers(0, 10**19), max_size=4))


def _same_but_for_its_length(block: bytes, length: int) -> bytes:
    return block.replace(b"Length: 5\r\n", b"Length: %d\r\n" % length)


@given(st.lists(nearly, min_size=1, max_size=4))
def test_a_head_means_the_same_whatever_the_connection_sent_before(
    sent: list[tuple[bytes, list[int]]],
) -> None:
    heads = Heads(PEER)
    for block, lengths in sent:
        for one in (block, block, *(_same_but_for_its_length(block, n) for n in lengths), block):
            framed, afresh = heads.read(one), read_request(one, PEER)
            assert framed == afresh
            if framed is not None and afresh is not None:
                assert framed.head.path == afresh.head.path
                assert framed.head.route is afresh.head.route
                for name in (b"content-length", b"host", b"x-api-key"):
                    assert framed.head.texts(name) == afresh.head.texts(name)


def test_heads_that_differ_in_their_length_share_what_is_remembered_and_no_others() -> None:
    heads = Heads(PEER)
    block = FIRSTS[0] + b"Host: localhost\r\nContent-Length: 5\r\nX-Api-Key: one\r\n\r\n"
    first = heads.read(block)
    longer = heads.read(block.replace(b": 5", b": 1234"))
    other = heads.read(block.replace(b": one", b": two"))
    assert first is not None
    assert longer is not None
    assert other is not None
    assert longer.length == 1234
    assert longer.head.remembered is first.head.remembered
    assert other.head.remembered is not first.head.remembered


def credential(value: str) -> Credential:
    return Credential(Secret(value), bearer=value.startswith("token"))


values = st.sampled_from(["key-a", "key-b", "token-c"])
leases = st.builds(
    lambda account, value: (f"account-{account}", value), st.integers(0, KEPT_MAX + 1), values
)


@given(st.lists(leases, max_size=12), st.binary(max_size=3))
def test_what_goes_upstream_is_what_it_would_be_without_a_memory(
    steps: list[tuple[str, str]], body: bytes
) -> None:
    headers = ((b"Host", b"x"), (b"X-Api-Key", b"mine"), (b"anthropic-beta", b"a"), (b"X-Y", b"z"))
    head = RequestHead("POST", b"/api/v1/messages?x=y", headers)
    known = {value: credential(value) for value in ("key-a", "key-b", "token-c")}
    for account, value in steps:
        lease = Lease(1, account, known[value], "http://upstream")
        request = as_sent(head, lease, body)
        assert request.headers == to_upstream(headers, known[value])
        assert request.target == upstream_target(head.target) == b"/v1/messages?x=y"
        assert request.body == body
    assert len(head.remembered.get("as sent", {})) <= KEPT_MAX


def test_a_renewed_credential_is_never_sent_as_the_old_one() -> None:
    head = RequestHead("POST", b"/v1/messages", ())
    sent = [
        as_sent(head, Lease(1, "one", given, "http://upstream"), b"")
        for given in (credential("key-a"), credential("key-b"), credential("key-a"), None)
    ]
    keys = [dict(request.headers).get(b"x-api-key") for request in sent]
    assert keys == [b"key-a", b"key-b", b"key-a", None]
    assert len({id(request.openings) for request in sent}) == len(sent)


@pytest.mark.parametrize("model", ["claude-a", None])
def test_what_is_asked_for_follows_the_model(model: str | None) -> None:
    head = RequestHead("POST", b"/v1/messages", ((b"anthropic-beta", b"x, y"),))
    asked_by(head, Acquire(Route.MESSAGES, model="claude-b"))
    for route in (Route.MESSAGES, Route.COUNT_TOKENS, Route.MESSAGES):
        found = asked_by(head, Acquire(route, model=model))
        assert found == asked(route, model, head.headers)


# --- one kept connection through the whole program, while things change around it

ONE = '[[account]]\nname = "{name}"\napi_key = "{key}"\n'
UPSTREAM = '[upstream]\nbase_url = "http://api.test"\n'
CONFIG = UPSTREAM + ONE.format(name="one", key="key-one-00000000")


async def _answers(stream: Any, *headers: str, padding: int = 0) -> tuple[str, str]:
    """Status line and account of the answer to one more request on the connection."""
    body = '{"model": "claude-a", "max_tokens": 9, "messages": []}' + " " * padding
    lines = [
        "POST /v1/messages HTTP/1.1",
        "Host: localhost",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    await stream.send_all(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
    received = b""
    while b"\r\n\r\n" not in received:
        received += await stream.receive_some()
    head, _, rest = received.partition(b"\r\n\r\n")
    told = {
        name.lower(): value
        for name, _, value in (line.partition(": ") for line in head.decode().split("\r\n")[1:])
    }
    left = int(told["content-length"]) - len(rest)
    while left:
        left -= len(await stream.receive_some())
    return head.decode().split("\r\n")[0], told.get("x-supervisor-account", "")


async def _reload(program: RunningProgram, text: str) -> None:
    from actors.messages import Reload

    program.change(UPSTREAM + text)
    await program.parts.config_watcher.ask(Reload(), timeout=10)


async def test_a_reload_counts_for_the_next_request_of_the_same_connection(
    autojump_clock: object,
) -> None:
    upstream = ScriptedUpstream()
    async with program_in_memory(CONFIG, upstream) as program:
        stream = await program.connect()
        for padding in (0, 0, 9):
            assert await _answers(stream, padding=padding) == ("HTTP/1.1 200 ", "one")
        await _reload(program, ONE.format(name="two", key="key-two-00000000"))
        assert await _answers(stream) == ("HTTP/1.1 200 ", "two")
        await _reload(program, ONE.format(name="two", key="key-three-000000"))
        assert await _answers(stream) == ("HTTP/1.1 200 ", "two")
        closing = (
            ONE.format(name="two", key="key-three-000000") + '[access]\ntoken = "let-me-in-00"\n'
        )
        await _reload(program, closing)
        assert (await _answers(stream))[0] == "HTTP/1.1 401 "
    keys = [{n.lower(): v for n, v in one.headers}[b"x-api-key"] for one in upstream.requests]
    assert keys == [b"key-one-00000000"] * 3 + [b"key-two-00000000", b"key-three-000000"]


async def test_a_changed_header_counts_for_its_own_request(autojump_clock: object) -> None:
    upstream = ScriptedUpstream()
    async with program_in_memory(
        CONFIG + ONE.format(name="two", key="key-two-00000000"), upstream
    ) as program:
        stream = await program.connect()
        pinned = [
            (await _answers(stream, f"X-Account-Name: {name}"))[1] for name in ("two", "one", "two")
        ]
        assert pinned == ["two", "one", "two"]
        assert (await _answers(stream, "Origin: http://evil.example"))[0] == "HTTP/1.1 403 "
