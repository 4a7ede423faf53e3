"""Noticing that a client has left while its request is being served, without a task per request.

The kernel tells it by itself: one epoll instance holds the sockets of all clients that were ever
served, and one task waits for that instance. It asks only for the end of the other side, so what a client sends
ahead stays unread in its socket, which is the back-pressure. Where there is no epoll, or no socket,
a request waits for its client by a task of its own (`Exchange.gone`).
"""

from __future__ import annotations

import contextlib
import select
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any

import trio

from server.exchange import Exchange
from server.socket_stream import SocketStream


class Departures:
    """`run` must be running for anybody to be told."""

    def __init__(self) -> None:
        self._epoll = select.epoll() if sys.platform == "linux" else None
        self._watches: dict[int, _Watch] = {}

    def watch(self, stream: SocketStream, left: Callable[[], object]) -> Callable[[], None] | None:
        """Calls `left` once the other side has closed, reset or ended its sending, or `stream` is
        closed by somebody here; gives back how to end that. None where this is not possible."""
        number, epoll = stream.socket.fileno(), self._epoll
        if epoll is None or epoll.closed or number < 0:
            return None
        epoll.register(number, select.EPOLLRDHUP | select.EPOLLONESHOT)
        watch = self._watches[number] = _Watch(self, number, stream, left)
        stream.on_close = watch.leave
        return watch.end

    def forget(self, number: int, watch: _Watch) -> bool:
        """False: it was forgotten before."""
        if self._epoll is None or self._watches.get(number) is not watch:
            return False
        del self._watches[number]
        with contextlib.suppress(OSError, ValueError):  # at the end of the program
            self._epoll.unregister(number)
        return True

    async def run(self) -> None:
        """Tells; until cancelled."""
        if self._epoll is None:
            return
        with self._epoll:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                for number, _ in self._epoll.poll(0):
                    self._tell(number)

    def _tell(self, number: int) -> None:
        watch = self._watches.get(number)
        if watch is not None:
            watch.leave()


class _Watch:
    """Of one connection. An object and no pair of closures, which would hold each other, and with
    them the connection, until the collector comes by."""

    __slots__ = ("_departures", "_left", "_number", "_stream")

    def __init__(
        self, departures: Departures, number: int, stream: SocketStream, left: Callable[[], object]
    ) -> None:
        self._departures = departures
        self._number = number
        self._stream = stream
        self._left = left

    def end(self) -> None:
        if self._departures.forget(self._number, self):
            self._stream.on_close = None

    def leave(self) -> None:
        self.end()
        self._left()


def ended_by_departure(
    exchange: Exchange, left: Callable[[], object]
) -> AbstractAsyncContextManager[None]:
    """The client's leaving calls `left` and cancels what runs inside, upstream call and all.

    An exchange that can tell by itself cancels its whole connection, so no scope is needed here.
    """
    watch: Callable[[Callable[[], object]], bool] | None = getattr(exchange, "watch", None)
    if watch is not None and watch(left):
        return _Watched(exchange)
    return _waited_for(exchange, left)


class _Watched(AbstractAsyncContextManager[None]):
    def __init__(self, exchange: Any) -> None:
        self._exchange = exchange

    async def __aenter__(self) -> None:
        """The exchange watches already."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exchange.unwatch()


@asynccontextmanager
async def _waited_for(exchange: Exchange, left: Callable[[], object]) -> AsyncGenerator[None, None]:
    over = False

    async def wait() -> None:
        await exchange.gone()
        if not over:
            left()
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        yield
        over = True
        nursery.cancel_scope.cancel()
