"""An Anthropic-compatible provider's answer on its way: its signatures are marked as its own.

The conversation may come back to Anthropic, which would refuse them; see
`protocol.translation.foreign_state`.
"""

from __future__ import annotations

from protocol.translation.signature_marks import StreamMarks, marked_message
from server.exchange import Exchange
from server.wrapped_exchange import WrappedExchange

KEPT_BYTES_MAX = 64 * 1024 * 1024
"""Of an answer that waits for its end; a larger one passes unmarked."""


class MarkedExchange(WrappedExchange):
    """Wraps the client's exchange for one attempt at `provider`."""

    def __init__(self, exchange: Exchange, provider: str) -> None:
        super().__init__(exchange)
        self._provider = provider
        self._marks: StreamMarks | None = None
        self._status = 200
        self._headers: list[tuple[bytes, bytes]] = []
        self._kept = bytearray()
        self.withheld = False

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """A whole answer waits until it is there: its length is another one then."""
        kind = _value(headers, b"content-type").partition(b";")[0].strip()
        readable = status == 200 and _value(headers, b"content-encoding") in (b"", b"identity")
        if readable and kind == b"text/event-stream":
            self._marks = StreamMarks(self._provider)
            headers = _without_length(headers)
        elif readable and kind == b"application/json":
            self.withheld = True
            self._status, self._headers = status, headers
            return
        await self._exchange.start(status, headers)

    async def send(self, chunk: bytes) -> None:
        if self._marks is not None:
            marked = self._marks.feed(chunk)
            if marked or not chunk:  # b"" makes sure that the head is on its way
                await self._exchange.send(marked)
        elif self.withheld:
            self._kept += chunk
            if len(self._kept) > KEPT_BYTES_MAX:
                await self._let_go(bytes(self._kept), self._headers)
        else:
            await self._exchange.send(chunk)

    async def finish(self) -> None:
        if self._marks is not None:
            rest = self._marks.finish()
            if rest:
                await self._exchange.send(rest)
        elif self.withheld:
            body = marked_message(bytes(self._kept), self._provider)
            length = (b"content-length", str(len(body)).encode())
            await self._let_go(body, [*_without_length(self._headers), length])
        await self._exchange.finish()

    async def _let_go(self, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.withheld = False
        self._kept.clear()
        await self._exchange.start(self._status, headers)
        if body:
            await self._exchange.send(body)


def _value(headers: list[tuple[bytes, bytes]], wanted: bytes) -> bytes:
    return next((value.strip().lower() for name, value in headers if name.lower() == wanted), b"")


def _without_length(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [pair for pair in headers if pair[0].lower() != b"content-length"]
