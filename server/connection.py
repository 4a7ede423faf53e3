"""One client connection of the reference lane: hypercorn's `TCPServer`, with our reader.

The reader is ours because its deadline changes with what it waits for: the next request
(keep-alive), the rest of a head (seconds, however slowly it dribbles in), or nothing but the
client's leaving while a response runs (no deadline: that is the relay's to bound).
"""

from __future__ import annotations

import math
from typing import Any, cast

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.tcp_server import MAX_RECV, TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState
from hypercorn.utils import parse_socket_addr

from protocol.errors import Problem
from server.app_tasks import AppTasks
from server.client_stream import CLOSE_SECONDS, ClientStream
from server.contained_http import ContainedHTTP

LINGER_SECONDS = 5.0
LINGER_BYTES_MAX = 64 * 1024 * 1024
"""After an early answer what still comes is read and dropped for so long, so that the client
reads the answer instead of a connection reset."""

PRESENCE_SECONDS = 0.5
"""How often a client that sent too far ahead to be read is looked after."""


class Timeouts:
    """Seconds a client may take; `head` counts from the head's first byte to its last."""

    def __init__(self, keep_alive: float = 300.0, head: float = 5.0) -> None:
        self.keep_alive = keep_alive
        self.head = head


class Connection(TCPServer):
    """Serves requests on `stream` until either side ends it.

    Another lane may lend it a connection, with `received`, the bytes of a request's beginning,
    which came at `since` (trio time): then it ends between requests, and leaves `stream` open.
    """

    protocol: ContainedHTTP  # type: ignore[assignment]  # one protocol, no wrapper around it
    stream: ClientStream  # type: ignore[assignment]  # has the calls that TCPServer makes

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        stream: ClientStream,
        timeouts: Timeouts,
        received: bytes = b"",
        since: float | None = None,
    ) -> None:
        super().__init__(app, config, context, {}, cast("Any", stream))
        self.given_back = False
        """It was lent (`since` told) for one request, and that one is over and left no trace."""
        self._timeouts = timeouts
        self._reading = trio.CancelScope()
        self._received = received
        self._lent = since is not None
        self._since = trio.current_time() if since is None else since
        self._discarding = False
        self._left = False
        self._served = False

    @property
    def idle_since(self) -> float | None:
        """When it began to wait for its next request: closing it loses nothing. None: it is busy."""
        return self._since if self.protocol.between_requests else None

    async def run(self) -> None:
        """Returns when the connection is over."""
        address = self.stream.socket
        client = parse_socket_addr(address.family, address.getpeername())
        server = parse_socket_addr(address.family, address.getsockname())
        try:
            async with AppTasks(self._ask_for_body) as tasks:
                self._task_group = tasks
                self.protocol = ContainedHTTP(
                    self.app,
                    self.config,
                    self.context,
                    tasks,
                    ConnectionState({"peer": self.stream.peer()}),
                    False,
                    client,
                    server,
                    self.protocol_send,
                )
                await self._read_data()
        finally:
            if not self.given_back:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_SECONDS):
                    await self._close()
            # They hold each other, and what was read: not to be left to the collector.
            del self.protocol, self._task_group

    async def protocol_send(self, event: Event) -> None:
        """What the protocol wants done with the connection."""
        if isinstance(event, RawData):
            await super().protocol_send(event)
        elif isinstance(event, Closed):
            await self._end()
        elif isinstance(event, Updated):
            self._served = event.idle
            if event.idle and self._lent and self.protocol.between_requests:
                self._reading.cancel()
            self._since = trio.current_time()
            self._reading.deadline = self._deadline()

    def expire(self) -> None:
        """Ends it now if it is idle, else after the request that is under way."""
        self.protocol.last = True
        if self.protocol.between_requests:
            self._reading.cancel()

    async def _ask_for_body(self) -> None:
        await self.protocol.ask_for_body()  # there is no protocol yet when the tasks are made

    async def _read_data(self) -> None:
        while (data := await self._receive()) is not None:
            if self.protocol.between_requests and data.strip(b"\r\n") and not self._lent:
                self._since = trio.current_time()
            await self.protocol.handle(RawData(data))
            if not await self._caught_up():
                break
        if self.given_back:
            return
        if self._discarding:
            await discard(self.stream)
        self._left = True
        await self.protocol.handle(Closed())
        await self.stream.aclose()

    async def _receive(self) -> bytes | None:
        """What the client sends next; None when it left, took too long, or does not matter."""
        if self._discarding or self._is_through():
            return None
        if self._received:
            data, self._received = self._received, b""
            return data
        with trio.CancelScope(deadline=self._deadline()) as self._reading:
            try:
                return bytes(await self.stream.receive_some(MAX_RECV)) or None
            except (trio.ClosedResourceError, trio.BrokenResourceError):
                return None
        if self._is_through():
            return None
        if self.protocol.in_head and not self._discarding:
            self._left = True  # no lingering for one that dribbles
            await self.protocol.refuse(Problem(408, "the request head came too slowly"))
        return None

    async def _caught_up(self) -> bool:
        """Waits while too much was read ahead; False when the client is seen to have left."""
        while self.protocol.too_far_ahead:
            with trio.move_on_after(PRESENCE_SECONDS):
                await self.protocol.resumed.wait()
            if not self.stream.socket.is_established():
                return False
        return True

    def _is_through(self) -> bool:
        """A lent connection is given back when its request is over, and nothing else has begun."""
        free = self.protocol.between_requests and not self.protocol.last and not self._received
        self.given_back = self._lent and self._served and free
        return self.given_back

    def _deadline(self) -> float:
        if self.protocol.in_head:
            return self._since + self._timeouts.head
        if self.protocol.between_requests:
            return self._since + self._timeouts.keep_alive
        return math.inf  # a response is under way; the relay bounds every phase of it

    async def _end(self) -> None:
        """The protocol is through with the connection."""
        if self._left or self.protocol.owes_nothing:
            await self._close()
        else:
            self._discarding = True
            await self.stream.send_eof()
            self._reading.cancel()
        await self.protocol.handle(Closed())


async def discard(stream: ClientStream) -> None:
    """Drops what a client still sends, until it has read its answer and closes."""
    dropped = 0
    with trio.move_on_after(LINGER_SECONDS):
        while dropped <= LINGER_BYTES_MAX:
            try:
                data = await stream.receive_some(MAX_RECV)
            except (trio.ClosedResourceError, trio.BrokenResourceError):
                return
            if not data:
                return
            dropped += len(data)
