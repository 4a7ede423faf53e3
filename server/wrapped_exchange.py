"""What every wrapper around a client's exchange passes on as it is."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from protocol.request import RequestHead
from server.exchange import Exchange


class WrappedExchange:
    """The request's side of `exchange`; who derives from it changes what is answered."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    @property
    def head(self) -> RequestHead:
        return self._exchange.head

    def body(self) -> AsyncGenerator[bytes, None]:
        """The request's body; the relay has read it long ago."""
        return self._exchange.body()

    async def gone(self) -> None:
        await self._exchange.gone()
