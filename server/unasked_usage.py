"""A provider's stream on its way to a client of OpenAI's dialect that did not ask for its usage."""

from __future__ import annotations

from protocol.unasked_usage import UsageLeftOut
from server.exchange import Exchange
from server.wrapped_exchange import WrappedExchange


class UnaskedUsage(WrappedExchange):
    """Wraps the client's exchange for one attempt: the chunk with nothing but usage is left out."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self._stream: UsageLeftOut | None = None

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        told = {name.lower(): value.strip().lower() for name, value in headers}
        plain = told.get(b"content-encoding", b"") in (b"", b"identity")
        if plain and told.get(b"content-type", b"").startswith(b"text/event-stream"):
            self._stream = UsageLeftOut()
            headers = [pair for pair in headers if pair[0].lower() != b"content-length"]
        await self._exchange.start(status, headers)

    async def send(self, chunk: bytes) -> None:
        passed = chunk if self._stream is None else self._stream.feed(chunk)
        if passed or not chunk:  # b"" makes sure that the head is on its way
            await self._exchange.send(passed)

    async def finish(self) -> None:
        rest = b"" if self._stream is None else self._stream.finish()
        if rest:
            await self._exchange.send(rest)
        await self._exchange.finish()
