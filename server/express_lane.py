"""The express lane: relayed endpoints, served straight from the client's stream.

One head at a time is framed. A request for a relayed endpoint is served here; anything else, and
whatever this lane does not read (`express_head.py`), goes to the reference lane on the same
connection with all bytes read so far, and that lane gives the connection back between requests.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from protocol.gate import HEADER_BYTES_MAX, TARGET_BYTES_MAX
from protocol.request import Route
from server.client_stream import CLOSE_SECONDS, ClientStream
from server.connection import PRESENCE_SECONDS, Connection, Timeouts, discard
from server.contained_http import READ_AHEAD_BYTES_MAX
from server.departures import Departures
from server.exchange import Exchange, send_unforeseen
from server.express_exchange import ExpressExchange
from server.express_head import Framed, Heads, can_begin
from server.reference_lane import ReferenceLane

log = logging.getLogger("server.connection")

HEAD_BYTES_MAX = HEADER_BYTES_MAX + TARGET_BYTES_MAX
"""More than this without an end is for the reference lane to refuse."""

Handle = Callable[[Exchange, Callable[[], Awaitable[None]]], Awaitable[None]]


class ExpressLane:
    """Opens connections of this lane; `handle` is the door, `reference` takes what is not ours.

    `departures` tells of clients that leave; somebody else runs it.
    """

    def __init__(self, handle: Handle, reference: ReferenceLane, departures: Departures) -> None:
        self.handle = handle
        self.reference = reference
        self.departures = departures
        self.timeouts = Timeouts()
        self.terminated = False

    def open(self, stream: ClientStream) -> ExpressConnection:
        """The connection that will serve `stream`."""
        return ExpressConnection(stream, self)

    async def terminate(self) -> None:
        """From here on a connection closes after the response that it is sending."""
        self.terminated = True
        await self.reference.terminate()


class ExpressConnection:
    """Serves requests on `stream` until either side ends it. It is the `Line` of its exchanges."""

    def __init__(self, stream: ClientStream, lane: ExpressLane) -> None:
        self.received = b""
        self.left = False
        self._stream = stream
        self._lane = lane
        self._heads = Heads(stream.peer())
        self._life = trio.CancelScope()
        self._reading = trio.CancelScope()
        self._watching: Callable[[], None] | None = None
        self._on_left: Callable[[], object] | None = None
        self._gone = False
        self._since = trio.current_time()
        self._busy = False
        self._last = False
        self._reference: Connection | None = None

    @property
    def idle_since(self) -> float | None:
        """When it began to wait for its next request: closing it loses nothing. None: it is busy."""
        if self._reference is not None:
            return self._reference.idle_since
        return None if self._busy or self.received else self._since

    @property
    def ends(self) -> bool:
        """Whether the request under way is the last."""
        return self._last or self._lane.terminated

    def expire(self) -> None:
        """Ends it now if it is idle, else after the request that is under way."""
        self._last = True
        if self._reference is not None:
            self._reference.expire()
        elif self.idle_since is not None:
            self._reading.cancel()
            if self._stream.socket.quick is not None:
                self._stream.socket.quick.expire()

    async def run(self) -> None:
        """Returns when the connection is over."""
        try:
            with self._life:
                while await self._next():
                    pass
        finally:
            if self._watching is not None:
                self._watching()
                self._watching = None  # it knows this connection
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_SECONDS):
                await self._stream.send_eof()
                await self._stream.aclose()

    async def _next(self) -> bool:
        """One request; False when there can be no other."""
        block = await self._read_head()
        if block is None:
            return False
        framed = self._heads.read(block)
        if framed is None or framed.head.route is Route.OWN:
            return await self._hand_over()
        self.received = self.received[len(block) :]
        return await self._serve(framed)

    # -- reading

    async def _read_head(self) -> bytes | None:
        """The next head; b"" for what is not for this lane; None when there will be none."""
        self.received = self.received.lstrip(b"\r\n")
        while (end := self.received.find(b"\r\n\r\n")) < 0:
            if self.left or (self.received and not self._may_go_on()):
                return None if self.left else b""
            try:
                data = await self._read_in_time()
            except trio.TooSlowError:  # or it is to end
                return b"" if self.received else None
            if not data:
                return None
            if not self.received:
                data = data.lstrip(b"\r\n")  # stray line ends are no request (RFC 9112 2.2)
                if data:
                    self._since = trio.current_time()
            self.received += data
        return self.received[: end + 4]

    async def _read_in_time(self) -> bytes:
        limit = self._lane.timeouts
        due = self._since + (limit.head if self.received else limit.keep_alive)
        if self._stream.socket.quick is not None:
            return await self.read_by(due)
        with trio.CancelScope(deadline=due) as self._reading:
            return await self.read()
        raise trio.TooSlowError

    def _may_go_on(self) -> bool:
        return len(self.received) <= HEAD_BYTES_MAX and can_begin(self.received)

    async def read_by(self, due: float) -> bytes:
        """The client's next bytes, b"" when it has left; raises trio.TooSlowError past `due`."""
        data = await self._stream.receive_by(due)
        self.left = not data
        return data

    async def read(self) -> bytes:
        """The client's next bytes; b"" when it has left."""
        try:
            data = bytes(await self._stream.receive_some())
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        self.left = not data
        return data

    async def write(self, data: bytes) -> None:
        """All of it; when the client has left, nothing."""
        try:
            if not self.left:
                await self._stream.send_all(data)
                return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.left = True
        await trio.lowlevel.checkpoint()  # for whoever is to be told that it has left

    def watch(self, left: Callable[[], object]) -> bool:
        """Until `unwatch`, the client's leaving calls `left` and cancels this connection's task."""
        if self._watching is None:
            watched = self._stream.socket.quick
            if watched is not None:
                self._watching = self._lane.departures.watch(watched, self._departed)
            if self._watching is None:
                return False
        self._on_left = left
        if self._gone:
            self._departed()
        return True

    def unwatch(self) -> None:
        """Its leaving is noticed by the next read or write."""
        self._on_left = None

    def _departed(self) -> None:
        """Told once, whatever happens on the connection just then."""
        self._gone = True
        left, self._on_left = self._on_left, None
        if left is not None:
            self.left = True
            left()
            self._life.cancel()

    async def departure(self) -> None:
        """Returns when the client has left; what it sends meanwhile is kept for later."""
        while not self.left:
            if len(self.received) > READ_AHEAD_BYTES_MAX:
                await trio.sleep(PRESENCE_SECONDS)
                self.left = not self._stream.socket.is_established()
            else:
                data = await self.read()
                self.received += data

    # -- serving

    async def _serve(self, framed: Framed) -> bool:
        exchange = ExpressExchange(framed, self)
        self._busy = True
        try:
            await self._lane.handle(exchange, _never)
        except Exception:
            log.exception("a request failed in a way nobody foresaw")
            if not exchange.started:
                await send_unforeseen(exchange)
        self._since = trio.current_time()
        if exchange.reusable and not self.ends and not self.left:
            self._busy = False
            return True
        if not self.left and (not exchange.body_read or self.received):
            await self._stream.send_eof()
            await discard(self._stream)
        return False

    async def _hand_over(self) -> bool:
        """The reference lane serves this request; True when it gives the connection back."""
        received, self.received = self.received, b""
        self._reference = self._lane.reference.take_over(self._stream, received, self._since)
        try:
            await self._reference.run()
            self._since = trio.current_time()
            return self._reference.given_back and not self.ends
        finally:
            self._reference = None


async def _never() -> None:
    raise AssertionError("a route of ours in the express lane")
