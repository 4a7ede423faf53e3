"""The connections to one upstream: kept, counted, and never more than the limit.

Every connection in use holds a place; the idle ones are used before a new one is made, so both
together never exceed the places. Taking a place is the only wait, and nothing is given back by
waiting: a request that is cancelled anywhere leaves the pool as it found it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import trio

from protocol.verdict import FaultKind
from server.dialing import Dialer, Origin
from server.http1_response import ResponseHead
from server.upstream_connection import UpstreamConnection
from server.upstream_port import Limits, UpstreamFault, UpstreamRequest

KEEP_ALIVE_SECONDS = 60.0
"""Idle connections go before an upstream's load balancer drops them unseen (usually minutes)."""

SUSPEND_SECONDS = 5.0
"""The wall clock ran ahead of the monotonic one by so much: the machine slept, and whoever was at
the other end of an idle connection has gone without our hearing of it."""


class Pool:
    """`wall_clock` gives epoch seconds, to notice that the machine was suspended."""

    def __init__(
        self,
        origin: Origin,
        dialer: Dialer,
        limits: Limits,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._origin = origin
        self._dialer = dialer
        self._limits = limits
        self._wall_clock = wall_clock
        self._places = trio.Semaphore(limits.max_connections)
        self._idle: list[UpstreamConnection] = []  # the one used last is at the end
        self._busy: set[UpstreamConnection] = set()
        self._closed = False
        self.opened = 0
        """Connections that were ever made."""

    @property
    def in_use(self) -> int:
        """Requests that are under way, those that wait for nothing but their place not counted."""
        return self._limits.max_connections - self._places.value

    @property
    def idle(self) -> int:
        """Connections that wait for their next request."""
        return len(self._idle)

    async def begin(
        self, request: UpstreamRequest, target: bytes
    ) -> tuple[UpstreamConnection, ResponseHead]:
        """Sends `request` and reads the head of its answer; `end` must follow. Raises UpstreamFault."""
        await self._take_place()
        try:
            return await self._exchange(request, target)
        except BaseException:
            self._places.release()
            raise

    def end(self, connection: UpstreamConnection) -> None:
        """The exchange is over: the connection is kept if it can be used again."""
        self._busy.discard(connection)
        if connection.reusable and not self._closed:
            if not connection.served:
                self._dialer.remember(connection.stream)
            connection.served += 1
            connection.idle_since = trio.current_time()
            connection.idle_since_wall = self._wall_clock()
            self._idle.append(connection)
        else:
            connection.close()
        self._places.release()

    def sweep(self) -> None:
        """Closes what has been idle for too long, or has slept."""
        kept = []
        for connection in self._idle:
            if self._is_stale(connection) or connection.is_dead:
                connection.close()
            else:
                kept.append(connection)
        self._idle = kept

    def close(self) -> None:
        """Closes all connections, busy ones too."""
        self._closed = True
        for connection in [*self._idle, *self._busy]:
            connection.close()
        self._idle.clear()

    async def _take_place(self) -> None:
        try:
            self._places.acquire_nowait()
        except trio.WouldBlock:
            pass
        else:
            return
        with trio.move_on_after(self._limits.connect_timeout):
            await self._places.acquire()
            return
        raise UpstreamFault(
            FaultKind.NO_CONNECTION, f"all {self._limits.max_connections} connections are in use"
        )

    async def _exchange(
        self, request: UpstreamRequest, target: bytes
    ) -> tuple[UpstreamConnection, ResponseHead]:
        kept = None if request.once else self._take_idle()
        if kept is not None:
            try:
                return kept, await self._attempt(kept, request, target)
            except UpstreamFault as fault:
                # A kept connection that the other side had closed: the request was never read.
                # Once more, on a new one, because the other kept ones are no better.
                if fault.kind is not FaultKind.DISCONNECT or kept.heard:
                    raise
        fresh = await self._dial()
        return fresh, await self._attempt(fresh, request, target)

    async def _attempt(
        self, connection: UpstreamConnection, request: UpstreamRequest, target: bytes
    ) -> ResponseHead:
        self._busy.add(connection)
        try:
            await connection.send(request, target)
            return await connection.head(request.method, self._limits.response_timeout)
        except BaseException:
            self._busy.discard(connection)
            connection.close()
            raise

    async def _dial(self) -> UpstreamConnection:
        dialed = await self._dialer.dial(self._limits.connect_timeout)
        self.opened += 1
        return UpstreamConnection(dialed, self._origin)

    def _take_idle(self) -> UpstreamConnection | None:
        while self._idle:
            connection = self._idle.pop()
            if not self._is_stale(connection) and not connection.is_dead:
                return connection
            connection.close()
        return None

    def _is_stale(self, connection: UpstreamConnection) -> bool:
        idle = trio.current_time() - connection.idle_since
        if idle > KEEP_ALIVE_SECONDS:
            return True
        return self._wall_clock() - connection.idle_since_wall - idle > SUSPEND_SECONDS
