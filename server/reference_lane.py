"""The reference lane: hypercorn frames, quart-trio routes, and the relay gets its `Exchange`.

The relayed routes do not pass through Quart's request and response objects, only through its
ASGI connection class: a body would be buffered twice, and a response generator that a client
leaves before it starts leaks its upstream connection (decision record 0001). Every other route is
an ordinary Quart view.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio.worker_context import WorkerContext
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection

from protocol.gate import HEADER_BYTES_MAX
from protocol.request import RequestHead
from server.client_stream import ClientStream
from server.connection import Connection, Timeouts
from server.exchange import ClientGone, send_unforeseen

log = logging.getLogger("server.connection")

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class AsgiExchange:
    """An `Exchange` over one ASGI request."""

    def __init__(self, head: RequestHead, receive: Receive, send: Send) -> None:
        self._head = head
        self._receive = receive
        self._send = send
        self._finished = False
        self.started = False
        """Whether the client has seen a part of a response."""

    @property
    def head(self) -> RequestHead:
        return self._head

    async def body(self) -> AsyncGenerator[bytes, None]:
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            more = message.get("more_body", False)
            if message.get("body"):
                yield message["body"]

    async def gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._finished:  # ASGI says "disconnect" after a complete response as well
            await trio.sleep_forever()

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def send(self, chunk: bytes) -> None:
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def finish(self) -> None:
        self._finished = True
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def request_head(scope: Any) -> RequestHead:
    """The head of an ASGI request, as the client sent it."""
    query = scope["query_string"]
    target = scope["raw_path"] + (b"?" + query if query else b"")
    return RequestHead(
        method=scope["method"],
        target=target,
        headers=tuple((bytes(name), bytes(value)) for name, value in scope["headers"]),
        peer=scope["state"]["peer"],
    )


class DoorConnection(TrioASGIHTTPConnection):
    """Hands every request to the door, which relays it or lets Quart answer."""

    async def __call__(self, receive: Any, send: Any) -> None:
        """Serves one request."""
        door: FrontDoor = self.app  # type: ignore[assignment]
        exchange = AsgiExchange(request_head(self.scope), receive, send)

        async def own() -> None:
            await super(DoorConnection, self).__call__(receive, send)

        try:
            await door.handle(exchange, own)
        except Exception:
            log.exception("a request failed in a way nobody foresaw")
            if not exchange.started:
                await send_unforeseen(exchange)


class FrontDoor(QuartTrio):
    """The Quart application; `handle` sees every request before a route does."""

    asgi_http_class = DoorConnection

    def __init__(
        self,
        handle: Callable[[AsgiExchange, Callable[[], Awaitable[None]]], Awaitable[None]],
    ) -> None:
        super().__init__("server")
        self.handle = handle
        self.url_map.merge_slashes = False  # a path means what it says; no redirects
        # Quart's defaults cut a stream silently after 60 s and a body at 16 MiB.
        self.config["RESPONSE_TIMEOUT"] = None
        self.config["BODY_TIMEOUT"] = 10
        self.config["MAX_CONTENT_LENGTH"] = 64 * 1024  # management requests only


def hypercorn_config() -> HypercornConfig:
    """hypercorn's settings; what is left out is done by our own reader and accept loop."""
    config = HypercornConfig()
    config.accesslog = None
    config.errorlog = None
    config.include_date_header = False
    config.include_server_header = False
    config.h11_max_incomplete_size = HEADER_BYTES_MAX
    config.keep_alive_max_requests = 10**9
    return config


class ReferenceLane:
    """Opens connections of this lane. One per front end: `terminate` belongs to all of them."""

    def __init__(self, app: FrontDoor) -> None:
        self._app = ASGIWrapper(app)
        self._config = hypercorn_config()
        self._context = WorkerContext(None)
        self._timeouts = Timeouts()

    def open(self, stream: ClientStream) -> Connection:
        """The connection that will serve `stream`."""
        return Connection(self._app, self._config, self._context, stream, self._timeouts)

    def take_over(self, stream: ClientStream, received: bytes, since: float) -> Connection:
        """The same, for one request that another lane has begun to read."""
        return Connection(
            self._app, self._config, self._context, stream, self._timeouts, received, since
        )

    async def terminate(self) -> None:
        """From here on a connection closes after the response that it is sending."""
        await self._context.terminated.set()
