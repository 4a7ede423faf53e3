"""A response on its way to the client: held back at first, then passed on piece by piece."""

from __future__ import annotations

from collections.abc import Callable

import trio

from protocol.usage import UsageMeter
from server.exchange import Exchange


class Delivery:
    """Whoever adds a piece before `commit` adds to what is held; `started` never turns back.

    `on_delivered` is called when the whole body is handed over, at the latest by `finish`. `meter`
    sees every piece before it is passed on. For one task alone.
    """

    def __init__(
        self,
        exchange: Exchange,
        status: int,
        headers: list[tuple[bytes, bytes]],
        on_commit: Callable[[], None],
        on_delivered: Callable[[], None],
        meter: UsageMeter | None = None,
    ) -> None:
        self.status = status
        self._exchange = exchange
        self._headers = headers
        self._on_commit = on_commit
        self._on_delivered = on_delivered
        self._length = _content_length(headers)
        self._meter = meter
        self._holds_last = False
        self._abandoned = False
        self._held: list[bytes] = []
        self.started = False
        self.started_at: float | None = None
        self.bytes_out = 0

    async def add(self, chunk: bytes) -> None:
        """One more piece of the body."""
        meter = self._meter
        if meter is not None:
            meter.feed(chunk)
            self._holds_last = meter.ended
        if self.started:
            await self._send(chunk)
        else:
            self._held.append(chunk)

    def abandon(self) -> bytes:
        """It will not be shown after all: gives back what was held; a late commit does nothing."""
        self._abandoned = True
        return b"".join(self._held)

    async def commit(self, *, at_once: bool = False) -> None:
        """The client sees the head and what is held; from here on there is no way back.

        `at_once`: the head goes out even if nothing of the body is there to go with it.
        """
        if self.started or self._abandoned:
            return
        self.started = True
        self.started_at = trio.current_time()
        self._on_commit()
        await self._exchange.start(self.status, self._headers)
        if self._held:
            held = b"".join(self._held)
            self._held.clear()
            await self._send(held)
        elif at_once:
            await self._exchange.send(b"")

    async def finish(self) -> None:
        """The body is complete."""
        await self.commit()
        self._on_delivered()
        await self._exchange.finish()

    async def _send(self, chunk: bytes) -> None:
        self.bytes_out += len(chunk)
        if self._holds_last or (self._length is not None and self.bytes_out >= self._length):
            # A client may close as soon as it has read that much (or the last event of a stream),
            # before we are told of the end.
            self._on_delivered()
        # To HEAD its head goes out now, too: should the rest break off, that changes nothing of it.
        await self._exchange.send(b"" if self._exchange.head.method == "HEAD" else chunk)


def _content_length(headers: list[tuple[bytes, bytes]]) -> int | None:
    for name, value in headers:
        if len(name) == 14 and name.lower() == b"content-length" and value.strip().isdigit():
            return int(value)
    return None
