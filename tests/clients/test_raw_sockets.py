"""HTTP/1.1 as libraries seldom speak it, and clients that leave at any moment."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from server.scripted import (
    Answer,
    Stall,
    error,
    overloaded,
    rate_limited,
    reply_to,
    server_error,
    stall_before_head,
    text_stream,
)
from tests.clients.conftest import Start
from tests.kit.live import Live, accounts, upstreams_closed
from tests.kit.program import program_over_tcp
from tests.kit.wire import Headers, Wire

JSON: Headers = [("Content-Type", "application/json")]
HI = [{"role": "user", "content": "hi"}]
WHOLE = json.dumps({"model": "m", "max_tokens": 9, "messages": HI}).encode()
STREAM = json.dumps({"model": "m", "max_tokens": 9, "stream": True, "messages": HI}).encode()
LENGTH = ("Content-Length", str(len(WHOLE)))


def echo(seen: Any) -> Answer:
    return Answer(body=seen.body)


# ------------------------------------------------------------------------------- connections


async def test_many_requests_use_one_connection(live: Live) -> None:
    live.upstream.default(echo)
    async with await live.connect() as wire:
        for number in range(5):
            body = b'{"n":%d}' % number
            answered = await wire.ask("POST", "/v1/messages", JSON, body)
            assert (answered.status, answered.body) == (200, body)
    assert {seen.connection for seen in live.upstream.requests} == {0}


async def test_pipelined_requests_are_answered_in_their_order(live: Live) -> None:
    live.upstream.default(echo)
    async with await live.connect() as wire:
        bodies = [b'{"n":%d}' % number for number in range(4)]
        heads = [
            wire.head("POST", "/v1/messages", [("Content-Length", str(len(b)))]) for b in bodies
        ]
        await wire.stream.send_all(
            b"".join(head + body for head, body in zip(heads, bodies, strict=True))
        )
        assert [(await wire.answer()).body for _ in bodies] == bodies


async def test_a_request_pipelined_behind_a_stream_waits_for_its_end(live: Live) -> None:
    live.upstream.default(reply_to)
    async with await live.connect() as wire:
        await wire.send("POST", "/v1/messages", JSON, STREAM)
        await wire.send("GET", "/v1/models")
        first, second = await wire.answer(), await wire.answer()
    assert first.body.rstrip().endswith(b'data: {"type": "message_stop"}')
    assert {model["id"] for model in second.json()["data"]} >= {"claude-opus-5-5"}


async def test_a_connection_can_be_used_again_after_an_upstreams_error(live: Live) -> None:
    live.upstream.default(error(400), then=echo)
    async with await live.connect() as wire:
        assert (await wire.ask("POST", "/v1/messages", JSON, WHOLE)).status == 400
        assert (await wire.ask("POST", "/v1/messages", JSON, WHOLE)).body == WHOLE


async def test_a_client_that_asks_to_close_is_closed(live: Live) -> None:
    async with await live.connect() as wire:
        answered = await wire.ask("POST", "/v1/messages", [("Connection", "close"), *JSON], WHOLE)
        assert (answered.status, answered.complete) == (200, True)
        assert await wire.ended() == b""


async def test_head_has_the_headers_of_get_and_no_body(live: Live) -> None:
    async with await live.connect() as wire:
        version = [("anthropic-version", "2023-06-01")]
        got = await wire.ask("GET", "/v1/models", version)
        headed = await wire.ask("HEAD", "/v1/models", version)
        assert (headed.status, headed.body) == (200, b"")
        assert headed.header("content-length") == str(len(got.body))
        assert (await wire.ask("POST", "/v1/messages", JSON, WHOLE)).status == 200
    assert [seen.method for seen in live.upstream.requests] == [b"GET", b"HEAD", b"POST"]


@pytest.mark.parametrize("target", ["/", "/api/hello"])
async def test_the_probe_of_a_client_that_starts_is_answered_here(live: Live, target: str) -> None:
    assert (await live.ask("HEAD", target)).status == 200
    assert live.upstream.requests_total == 0


async def test_a_chunked_request_body_arrives_whole(live: Live) -> None:
    pieces = [WHOLE[:1], WHOLE[1:20], WHOLE[20:]]
    async with await live.connect() as wire:
        chunked = [("Transfer-Encoding", "chunked"), *JSON]
        await wire.stream.send_all(wire.head("POST", "/v1/messages", chunked))
        for piece in pieces:
            await wire.stream.send_all(b"%x;ext=1\r\n%b\r\n" % (len(piece), piece))
        await wire.stream.send_all(b"0\r\nX-Trailer: 1\r\n\r\n")
        assert (await wire.answer()).status == 200
    (seen,) = live.upstream.requests
    assert (seen.body, seen.header("transfer-encoding")) == (WHOLE, None)
    assert seen.header("content-length") == str(len(WHOLE))


async def test_a_client_that_asks_before_it_uploads_is_told_to_go_on(live: Live) -> None:
    async with await live.connect() as wire:
        expecting = [("Expect", "100-continue"), LENGTH, *JSON]
        await wire.stream.send_all(wire.head("POST", "/v1/messages", expecting))
        assert (await wire.answer_head()).status == 100
        await wire.stream.send_all(WHOLE)
        assert (await wire.answer()).status == 200
    (seen,) = live.upstream.requests
    assert (seen.body, seen.header("expect")) == (WHOLE, None)


@pytest.mark.parametrize("body", [WHOLE, STREAM], ids=["whole", "stream"])
async def test_http_1_0_gets_no_chunks_and_a_closed_connection(live: Live, body: bytes) -> None:
    async with await live.connect() as wire:
        head = wire.head(
            "POST", "/v1/messages", [("Content-Length", str(len(body))), *JSON], http="1.0"
        )
        await wire.stream.send_all(head + body)
        answered = await wire.answer()
        assert answered.status == 200
        assert answered.header("transfer-encoding") is None
        assert await wire.ended() == b""
    if body == WHOLE:
        assert answered.json()["type"] == "message"
    else:
        assert answered.body.rstrip().endswith(b'data: {"type": "message_stop"}')


async def test_a_body_past_the_limit_is_refused_and_nothing_goes_upstream(start: Start) -> None:
    live = await start("first", extra="[server]\nmax_body_bytes = 1000")
    answered = await live.ask("POST", "/v1/messages", JSON, b"x" * 1001)
    assert (answered.status, answered.json()["error"]["type"]) == (413, "request_too_large")
    assert live.upstream.requests_total == 0


# ------------------------------------------------------------------------------- other paths


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("GET", "/v1/files/file_1?beta=true&x=%2F", None),
        ("PUT", "/v1/things/1", b"\x00\xff"),
        ("DELETE", "/v1/files/file_1", None),
        ("DELETE", "/v1/files/file_1", b'{"a":1}'),
        ("PATCH", "/v1/things/a%20b", b"{}"),
        ("POST", "/v1/messages/batches", b"{}"),
        ("OPTIONS", "/v1/anything", None),
    ],
)
async def test_other_paths_go_through_as_they_are(
    live: Live, method: str, target: str, body: bytes | None
) -> None:
    live.upstream.default(Answer(status=201, headers=(("x-made", "1"),), body=b"\x00made"))
    answered = await live.ask(method, target, [("x-custom", "kept")], body)
    (seen,) = live.upstream.requests
    assert (answered.status, answered.body, answered.header("x-made")) == (201, b"\x00made", "1")
    assert (seen.method.decode(), seen.target.decode()) == (method, target)
    assert (seen.body, seen.header("x-custom")) == (body or b"", "kept")


@pytest.mark.parametrize("failure", [rate_limited(retry_after=9), server_error(), overloaded()])
@pytest.mark.parametrize("target", ["/v1/files", "/v1/messages/batches"])
async def test_other_paths_are_never_repeated(start: Start, target: str, failure: Answer) -> None:
    live = await start("first", "second")
    live.upstream.script("key-first", failure)
    answered = await live.ask("POST", target, JSON, WHOLE)
    assert (answered.status, answered.body) == (failure.status, failure.body)
    assert [seen.credential for seen in live.upstream.requests] == ["key-first"]


@pytest.mark.parametrize("target", ["/v1/messages?beta=true", "/v1/models", "/v1/other/x?y=1"])
async def test_the_api_prefix_is_an_alias(live: Live, target: str) -> None:
    live.upstream.default(Answer(body=b"{}"))
    method, body = ("POST", WHOLE) if "messages" in target else ("GET", None)
    assert (await live.ask(method, "/api" + target, JSON, body)).status == 200
    assert [seen.target.decode() for seen in live.upstream.requests] == [target]


# ----------------------------------------------------------------------------------- leaving

LEAVES: dict[str, Callable[[Wire], Any]] = {
    "closes": lambda wire: wire.leave(),
    "resets": lambda wire: wire.leave(reset=True),
    "closes its sending side": lambda wire: wire.stream.send_eof(),
}


@pytest.mark.promise("C2")
@pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES)
@pytest.mark.parametrize("phase", ["waiting for the head", "before any content", "in mid-body"])
async def test_a_client_that_leaves_takes_its_upstream_request_with_it(
    live: Live, phase: str, leave: Callable[[Wire], Any]
) -> None:
    sends = {"before any content": 1, "in mid-body": 4}
    live.upstream.default(
        text_stream("Hello").interrupted(sends[phase], Stall())
        if phase in sends
        else stall_before_head()
    )
    async with await live.connect() as wire:
        await wire.send("POST", "/v1/messages", JSON, STREAM)
        with trio.fail_after(30):
            await live.upstream.wait_for_requests(1)
        if phase == "in mid-body":
            await wire.read_until(b"content_block_delta")
        left = trio.current_time()
        await leave(wire)
        assert await live.wait_until_left() - left < 1
        (line,) = await live.wait_for_lines()
    assert (line["status"], line["terminal"], line["attempts"]) == (499, "client_closed", 1)


@pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_a_client_that_leaves_while_it_uploads_never_reaches_the_upstream(
    live: Live, leave: Callable[[Wire], Any], chunked: bool
) -> None:
    framing = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", "1000000")
    async with await live.connect() as wire:
        await wire.stream.send_all(wire.head("POST", "/v1/messages", [framing, *JSON]))
        await wire.stream.send_all(b"100\r\n" + b"x" * 256 + b"\r\n" if chunked else b"x" * 300)
        await leave(wire)
        (line,) = await live.wait_for_lines()
    assert (line["status"], line["terminal"], line["attempts"]) == (499, "client_closed", 0)
    assert live.upstream.requests_total == 0


async def test_a_client_that_leaves_between_two_tries_is_not_tried_for_again(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.relay.OVERLOAD_DELAYS", (1e9, 1e9))
    live = await start("first")
    live.upstream.default(overloaded())
    async with await live.connect() as wire:
        await wire.send("POST", "/v1/messages", JSON, STREAM)
        with trio.fail_after(30):
            await live.upstream.wait_for_requests(1)
    (line,) = await live.wait_for_lines()
    assert (line["status"], line["terminal"]) == (499, "client_closed")
    assert live.upstream.requests_total == 1


async def test_a_client_that_leaves_is_never_failed_over(start: Start) -> None:
    live = await start("first", "second")
    live.upstream.default(stall_before_head())
    async with await live.connect() as wire:
        await wire.send("POST", "/v1/messages", JSON, STREAM)
        with trio.fail_after(30):
            await live.upstream.wait_for_requests(1)
    await live.wait_until_left()
    await live.wait_for_lines()
    assert [seen.credential for seen in live.upstream.requests] == ["key-first"]
    status = (await live.ask("GET", "/status")).json()
    assert [account["state"] for account in status["accounts"]] == ["available", "available"]


async def test_a_program_that_has_ended_keeps_no_connection_to_the_upstream(
    start: Start, tmp_path: Path
) -> None:
    live = await start()
    upstream = f'[upstream]\nbase_url = "{live.upstream_url}"\n'
    async with program_over_tcp(upstream + accounts("first"), tmp_path / "other") as program:
        wire = await Wire.to(program.url)
        assert (await wire.ask("POST", "/v1/messages", JSON, WHOLE)).status == 200
        await wire.leave()
    async with upstreams_closed(program):
        with trio.move_on_after(5) as patience:
            await live.upstream.wait_until_closed()
        assert not patience.cancelled_caught
