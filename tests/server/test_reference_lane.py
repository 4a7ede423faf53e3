"""The seam between hypercorn's ASGI messages and the relay's `Exchange`."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from protocol.request import Peer, RequestHead
from server.exchange import ClientGone
from server.reference_lane import AsgiExchange, FrontDoor, hypercorn_config, request_head

PEER = Peer("10.0.0.1", loopback=False)
SCOPE: dict[str, Any] = {
    "method": "POST",
    "raw_path": b"/v1/messages%20x",
    "query_string": b"beta=true&a=%2F",
    "headers": [(b"Host", b"localhost"), (b"X-B", b"\xff"), (b"x-b", b"2")],
    "state": {"peer": PEER},
}
GONE = {"type": "http.disconnect"}


class Messages:
    """What a client sends, and what it gets."""

    def __init__(self, *incoming: dict[str, Any]) -> None:
        self._incoming = list(incoming)
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        return self._incoming.pop(0) if self._incoming else GONE

    async def send(self, message: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(message)

    def exchange(self) -> AsgiExchange:
        return AsgiExchange(request_head(SCOPE), self.receive, self.send)


def part(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_head_is_what_the_client_sent() -> None:
    assert request_head(SCOPE) == RequestHead(
        "POST",
        b"/v1/messages%20x?beta=true&a=%2F",
        ((b"Host", b"localhost"), (b"X-B", b"\xff"), (b"x-b", b"2")),
        PEER,
    )


def test_a_request_of_nobody_is_not_taken_for_one_of_this_machine() -> None:
    with pytest.raises(KeyError):
        request_head({**SCOPE, "state": {}})


async def test_a_body_ends_where_the_client_ends_it() -> None:
    messages = Messages(part(b"a", more=True), part(b"", more=True), part(b"b", more=False))
    assert [chunk async for chunk in messages.exchange().body()] == [b"a", b"b"]


async def test_a_client_that_leaves_in_its_body_is_no_end_of_it() -> None:
    messages = Messages(part(b"a", more=True), GONE)
    with pytest.raises(ClientGone):
        _ = [chunk async for chunk in messages.exchange().body()]


async def test_the_end_of_a_complete_response_is_no_departure(autojump_clock: object) -> None:
    exchange = Messages(GONE).exchange()
    with trio.fail_after(1):
        await exchange.gone()
    exchange = Messages(GONE).exchange()
    await exchange.start(200, [])
    await exchange.finish()
    with trio.move_on_after(1) as waiting:
        await exchange.gone()
    assert waiting.cancelled_caught


async def test_a_response_is_sent_piece_by_piece() -> None:
    messages = Messages()
    exchange = messages.exchange()
    assert not exchange.started
    await exchange.start(200, [(b"x", b"y")])
    await exchange.send(b"a")
    await exchange.finish()
    assert exchange.started
    assert messages.sent == [
        {"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]},
        {"type": "http.response.body", "body": b"a", "more_body": True},
        {"type": "http.response.body", "body": b"", "more_body": False},
    ]


def test_no_default_of_the_frameworks_bounds_a_stream_or_a_body() -> None:
    """Quart would cut a stream at 60 s; hypercorn's head limit and logs are not ours."""

    async def handle(*arguments: object) -> None: ...

    app = FrontDoor(handle)
    assert app.config["RESPONSE_TIMEOUT"] is None
    assert app.config["MAX_CONTENT_LENGTH"] == 64 * 1024
    config = hypercorn_config()
    assert config.h11_max_incomplete_size == 64 * 1024
    assert config.keep_alive_max_requests > 10**6
    assert config.response_headers("h11") == []
    assert (config.accesslog, config.errorlog) == (None, None)
