"""Over TCP: every kind of answer, and HTTP's own rules."""

from __future__ import annotations

import httpx
import pytest
import trio

from server.scripted import (
    Answer,
    Pause,
    Reset,
    ScriptedUpstream,
    Send,
    Stall,
    Wait,
    no_answer,
    reset_before_head,
    text_message,
    text_stream,
)
from tests.server.scripted.conversation import ASK, GET, connect, read_to_end, read_until

CLOSING_GET = GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
MEGABYTE = 1 << 20


# -- kinds of answers ------------------------------------------------------------------------------


async def test_a_body_comes_with_its_length(
    upstream: ScriptedUpstream, client: httpx.AsyncClient
) -> None:
    upstream.default(Answer(status=418, headers=(("X-Case", "Kept"),), body=b"teapot"))
    response = await client.get("/v1/models")
    assert (response.status_code, response.content) == (418, b"teapot")
    assert response.headers["content-length"] == "6"
    assert (b"X-Case", b"Kept") in response.headers.raw


async def test_parts_come_chunked_one_chunk_each(upstream: ScriptedUpstream, base_url: str) -> None:
    upstream.default(Answer(parts=(Send(b"one"), Pause(0.01), Send(b"twenty"))))
    async with await connect(base_url) as stream:
        await stream.send_all(CLOSING_GET)
        head, _, body = (await read_to_end(stream)).partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert body == b"3\r\none\r\n6\r\ntwenty\r\n0\r\n\r\n"


async def test_a_close_delimited_body_ends_with_the_connection(
    upstream: ScriptedUpstream, client: httpx.AsyncClient
) -> None:
    upstream.default(Answer(parts=(Send(b"a"), Send(b"b")), framing="close"))
    response = await client.get("/v1/models")
    assert response.content == b"ab"
    assert "content-length" not in response.headers
    assert "transfer-encoding" not in response.headers
    await upstream.wait_until_closed()
    assert upstream.requests[0].completed


async def test_a_body_can_be_sent_in_pieces(upstream: ScriptedUpstream, base_url: str) -> None:
    upstream.default(Answer(body=b"abcde", framing="chunked").in_pieces(2))
    async with await connect(base_url) as stream:
        await stream.send_all(CLOSING_GET)
        body = (await read_to_end(stream)).partition(b"\r\n\r\n")[2]
    assert body == b"2\r\nab\r\n2\r\ncd\r\n1\r\ne\r\n0\r\n\r\n"


async def test_parts_can_promise_their_length(
    upstream: ScriptedUpstream, client: httpx.AsyncClient
) -> None:
    upstream.default(Answer(parts=(Send(b"ab"), Send(b"c")), framing="content-length"))
    response = await client.get("/v1/models")
    assert response.headers["content-length"] == "3"
    assert response.content == b"abc"


async def test_a_gate_holds_a_stream_until_it_is_stepped(
    upstream: ScriptedUpstream, client: httpx.AsyncClient
) -> None:
    own = trio.Event()
    upstream.default(Answer(parts=(Send(b"a"), Wait("next"), Send(b"b"), Wait(own), Send(b"c"))))
    async with client.stream("GET", "/v1/models") as response:
        chunks = response.aiter_raw()
        assert await anext(chunks) == b"a"
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert upstream.gate("next").waiting == 1
        upstream.gate("next").step()
        assert await anext(chunks) == b"b"
        own.set()
        assert [chunk async for chunk in chunks] == [b"c"]


async def test_an_open_gate_stays_open(
    upstream: ScriptedUpstream, client: httpx.AsyncClient
) -> None:
    upstream.gate("door").open()
    upstream.default(Answer(parts=(Wait("door"), Send(b"a"), Wait("door"), Send(b"b"))))
    assert (await client.get("/v1/models")).content == b"ab"


@pytest.mark.parametrize(
    ("answer", "expected", "outcome"),
    [
        (no_answer(), httpx.RemoteProtocolError, "cut"),
        (reset_before_head(), httpx.ReadError, "reset"),
        (text_stream("Hello").interrupted(2), httpx.RemoteProtocolError, "cut"),
        (text_message("Hello").interrupted(0), httpx.RemoteProtocolError, "cut"),
        (Answer(parts=(Send(b"x"), Pause(0.05), Reset())), httpx.ReadError, "reset"),
    ],
)
async def test_a_broken_answer_breaks_at_the_client(
    upstream: ScriptedUpstream,
    client: httpx.AsyncClient,
    answer: Answer,
    expected: type[Exception],
    outcome: str,
) -> None:
    upstream.default(answer)
    with pytest.raises(expected):
        await client.post("/v1/messages", json=ASK)
    await upstream.wait_until_closed()
    assert upstream.requests[0].outcome == outcome
    assert upstream.requests[0].left_at is None


async def test_a_stalled_stream_ends_in_the_clients_timeout(
    upstream: ScriptedUpstream, client: httpx.AsyncClient
) -> None:
    upstream.default(text_stream("Hello").interrupted(2, Stall()))
    with pytest.raises(httpx.ReadTimeout):
        await client.post("/v1/messages", json=ASK, timeout=0.1)
    await upstream.wait_until_closed()
    assert upstream.requests[0].outcome == "left"


# -- HTTP ------------------------------------------------------------------------------------------


async def test_head_gets_the_head_of_the_answer_alone(client: httpx.AsyncClient) -> None:
    head, whole = await client.head("/v1/models"), await client.get("/v1/models")
    assert head.headers["content-length"] == whole.headers["content-length"]
    assert head.content == b""


async def test_an_answer_without_content_has_no_length(
    upstream: ScriptedUpstream, client: httpx.AsyncClient
) -> None:
    upstream.default(Answer(status=204))
    assert "content-length" not in (await client.get("/v1/models")).headers
    assert (await client.get("/v1/models")).status_code == 204


async def test_a_client_that_waits_for_100_continue_is_told_to(
    upstream: ScriptedUpstream, base_url: str
) -> None:
    async with await connect(base_url) as stream:
        await stream.send_all(
            b"POST /x HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
        )
        assert await read_until(stream, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await stream.send_all(b"hi")
        assert (await read_until(stream, b"\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
    assert upstream.requests[0].body == b"hi"


async def test_a_chunked_request_body_is_put_together(
    upstream: ScriptedUpstream, base_url: str
) -> None:
    async with await connect(base_url) as stream:
        await stream.send_all(
            b"POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
        await read_until(stream, b"\r\n\r\n")
    assert upstream.requests[0].body == b"abcde"


async def test_large_bodies_go_both_ways(
    upstream: ScriptedUpstream, client: httpx.AsyncClient
) -> None:
    upstream.default(lambda seen: Answer(body=seen.body))
    body = bytes(range(256)) * (20 * MEGABYTE // 256)
    assert (await client.post("/v1/messages", content=body)).content == body


async def test_a_client_that_does_not_read_holds_the_answer_back(
    upstream: ScriptedUpstream, base_url: str
) -> None:
    upstream.default(Answer(body=b"x" * (32 * MEGABYTE)))
    async with await connect(base_url) as stream:
        await stream.send_all(GET)
        (seen,) = await upstream.wait_for_requests(1)
        with trio.move_on_after(0.3):
            await seen.done.wait()
        assert seen.outcome is None
    with trio.fail_after(5):
        await seen.left.wait()


async def test_pipelined_requests_are_answered_in_turn(
    upstream: ScriptedUpstream, base_url: str
) -> None:
    upstream.default(Answer(body=b"one").after(0.05), Answer(body=b"two"))
    async with await connect(base_url) as stream:
        await stream.send_all(GET + CLOSING_GET)
        answers = await read_to_end(stream)
    assert answers.endswith(b"two")
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert [seen.nth_on_connection for seen in upstream.requests] == [0, 1]


async def test_http_1_0_gets_its_body_until_the_close(
    upstream: ScriptedUpstream, base_url: str
) -> None:
    upstream.default(Answer(parts=(Send(b"plain"),)))
    async with await connect(base_url) as stream:
        await stream.send_all(b"GET / HTTP/1.0\r\n\r\n")
        head, _, body = (await read_to_end(stream)).partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert body == b"plain"


async def test_headers_are_recorded_in_the_order_and_case_of_the_wire(
    upstream: ScriptedUpstream, base_url: str
) -> None:
    async with await connect(base_url) as stream:
        await stream.send_all(
            b"GET /v1/models?x=1 HTTP/1.1\r\nHOST: a\r\nX-Api-Key: k\r\nAuthorization: Bearer t\r\n"
            b"x-api-key: second\r\n\r\n"
        )
        await read_until(stream, b"\r\n\r\n")
    (seen,) = upstream.requests
    assert seen.headers == [
        (b"HOST", b"a"),
        (b"X-Api-Key", b"k"),
        (b"Authorization", b"Bearer t"),
        (b"x-api-key", b"second"),
    ]
    assert (seen.method, seen.target, seen.query) == (b"GET", b"/v1/models?x=1", "x=1")
    assert (seen.credential, seen.bearer, seen.both_credentials) == ("k", "t", True)
