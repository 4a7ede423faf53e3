"""A stream that we write ourselves: a sign of life goes out whenever it has been silent for long.

A provider may think, or read a long prompt, for minutes before its first byte. The client would
give up on a silence of five (`wire.md` A17), so then the stream is opened ahead of the answer.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from protocol.held_stream import PING, PING_SECONDS
from server.exchange import Exchange
from server.held_stream import HeldStream


class KeptStream(HeldStream):
    """Until a ping had to open it, it passes everything on; then it is a held stream."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self._lock = trio.Lock()
        self._last = trio.current_time()
        self._passing = False
        self._over = False
        self.opened = False
        self.added: list[tuple[bytes, bytes]] = []
        """Our own headers, should a ping have to open it."""

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        async with self._lock:
            self._last = trio.current_time()
            if self.opened:
                await super().start(status, headers)
            else:
                self._passing = True
                await self._exchange.start(status, headers)

    async def send(self, chunk: bytes) -> None:
        async with self._lock:
            self._last = trio.current_time()
            if self._passing:
                await self._exchange.send(chunk)
            else:
                await super().send(chunk)

    async def finish(self) -> None:
        async with self._lock:
            # A ping that became due over a slow client's last piece would follow the end.
            self._over = True
            if self._passing:
                await self._exchange.finish()
            else:
                await super().finish()

    @asynccontextmanager
    async def kept_alive(self) -> AsyncGenerator[None, None]:
        """While this lasts, and what is sent are whole events, nobody takes the stream for dead."""
        self._last = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_alive)
            yield
            async with self._lock:  # never in the middle of a ping
                nursery.cancel_scope.cancel()

    async def _keep_alive(self) -> None:
        while True:
            await trio.sleep_until(self._last + PING_SECONDS)
            async with self._lock:
                if self._over:
                    return
                if trio.current_time() < self._last + PING_SECONDS:
                    continue
                if self._passing or self.opened:
                    await self._exchange.send(PING)
                else:
                    self.opened = True
                    await self.open(self.added)
                self._last = trio.current_time()
