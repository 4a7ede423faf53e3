"""An exchange whose stream the relay has opened before anybody could serve it."""

from __future__ import annotations

import trio

from protocol.held_stream import HEADERS, PING, PING_SECONDS, error_event
from server.exchange import Exchange
from server.wrapped_exchange import WrappedExchange

ERROR_BYTES_MAX = 64 * 1024
"""Kept of an answer that becomes an event."""


class HeldStream(WrappedExchange):
    """Wraps the client's exchange: an answer's head is swallowed, an error becomes an event."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self._status = 200
        self._error = bytearray()

    async def open(self, added: list[tuple[bytes, bytes]]) -> None:
        """The client sees a stream from here on; `added` are our own headers."""
        await self._exchange.start(200, [*HEADERS, *added])
        await self._exchange.send(PING)

    async def wait(self, seconds: float) -> None:
        """Lets time pass, with a sign of life now and then."""
        until = trio.current_time() + seconds
        while (left := until - trio.current_time()) > 0:
            await trio.sleep(min(left, PING_SECONDS))
            await self._exchange.send(PING)

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        encoded = any(
            name.lower() == b"content-encoding" and value.strip().lower() != b"identity"
            for name, value in headers
        )
        # The head has gone out: a body in another coding than it says would be noise.
        self._status = 502 if encoded else status
        await trio.lowlevel.checkpoint()

    async def send(self, chunk: bytes) -> None:
        if self._status < 400:
            await self._exchange.send(chunk)
        elif len(self._error) < ERROR_BYTES_MAX:
            self._error += chunk

    async def finish(self) -> None:
        if self._status >= 400:
            await self._exchange.send(error_event(self._status, bytes(self._error)))
        await self._exchange.finish()
