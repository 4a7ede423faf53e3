"""A TCP connection that reschedules only when it has to wait.

trio's own `SocketStream` goes through the scheduler at every read and write, also when the bytes
are there already. A relayed request has half a dozen of those, and each costs as much as parsing
its head. Here a read or write that need not wait is one system call; every so often one takes its
turn all the same, so that no connection starves the others, and one that moves much takes turns with
its like (`server/turnstile.py`).
"""

from __future__ import annotations

import contextlib
import math
import socket
from collections.abc import Callable

import trio

from actors.overdue import overdue
from server.turnstile import turnstile

TURN_OPERATIONS = 16
"""Reads and writes in a row that may go without the scheduler."""
RECEIVE_BYTES = 64 * 1024
UNTRIED_MAX = 15
"""Where reads find nothing again and again, so many in a row wait at once, without a try before."""
LIGHT_BYTES = 64 * 1024
LIGHT_SECONDS = 0.1
"""So many bytes in this time is what any stream may move; past it, it is one that moves much."""
TURN_BYTES = 512 * 1024
"""What one that moves much may move in its turn: some 0.3 ms."""


class SocketStream(trio.abc.HalfCloseableStream):
    """Owns `connected`, a TCP socket."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        with contextlib.suppress(OSError):  # not TCP, or the other side has left already
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self.socket = connected
        self.on_close: Callable[[], None] | None = None
        """Called once, just before this end is closed."""
        self.due = math.inf
        """Until when (trio time) reads wait; see `receive_by`."""
        self._closed = False
        self._in_a_row = 0
        self._futile = 0  # how many reads wait without a try after the next one that finds nothing
        self._untried = 0  # and how many are left of those
        self._room = LIGHT_BYTES  # to be moved before a turn is due
        self._light_again = 0.0
        self._expired = False
        self._overdue = overdue()
        self._turnstile = turnstile()

    @classmethod
    def adopt(cls, stream: trio.SocketStream) -> SocketStream:
        """The same connection; `stream` must not be used any more."""
        return cls(socket.socket(fileno=stream.socket.detach()))

    def send_nowait(self, data: bytes | memoryview) -> int:
        """How many bytes of `data` went out at once; 0 when it has to wait."""
        if self._closed:
            raise trio.ClosedResourceError("this end has been closed")
        self._in_a_row += 1
        if self._in_a_row > TURN_OPERATIONS or self._room <= 0:
            return 0
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise trio.BrokenResourceError(f"the connection broke: {error}") from error
        self._room -= sent
        return sent

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes; b"" when the other side has ended."""
        size = RECEIVE_BYTES if max_bytes is None else max_bytes
        if size < 1:
            raise ValueError("max_bytes must be at least 1")
        self._in_a_row += 1
        if self._in_a_row >= TURN_OPERATIONS or self._room <= 0:
            await self._take_turns()
        trying = not self._untried
        if not trying:
            self._untried -= 1
            await self.wait_readable()
        while True:  # noqa: ASYNC913 - the turns are the guaranteed one
            if self._closed:
                raise trio.ClosedResourceError("this end has been closed")
            try:
                data = self.socket.recv(size)
            except BlockingIOError:
                if trying:
                    trying = False
                    self._futile = min(self._futile * 2 + 1, UNTRIED_MAX)
                    self._untried = self._futile
                await self.wait_readable()
            except OSError as error:
                raise trio.BrokenResourceError(f"the connection broke: {error}") from error
            else:
                if trying:
                    self._futile = 0
                self._room -= len(data)
                return data

    async def wait_readable(self) -> None:
        """Until there is something to read, or the end; raises trio.TooSlowError past `due`."""
        self._waits()
        if self._closed:
            raise trio.ClosedResourceError("this end has been closed")
        if self.due == math.inf:
            await trio.lowlevel.wait_readable(self.socket)
            return
        if self._expired:
            raise trio.TooSlowError
        self._overdue.add(self)
        try:
            await trio.lowlevel.wait_readable(self.socket)
        except trio.ClosedResourceError:
            if self.socket.fileno() < 0 or not self._expired:  # closed meanwhile
                raise
            raise trio.TooSlowError from None
        finally:
            self._overdue.discard(self)

    def limit(self, due: float) -> None:
        """From here on reads wait until `due` (trio time) at most; math.inf: for ever."""
        self.due = due
        self._expired = False

    def expire(self) -> None:
        """Ends the read that is under way as if its `due` had passed."""
        if not self._closed:
            self._expired = True
            trio.lowlevel.notify_closing(self.socket)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """All of it."""
        self._in_a_row += 1
        if self._in_a_row >= TURN_OPERATIONS or self._room <= 0:
            await self._take_turns()
        rest = memoryview(data)
        while rest:  # noqa: ASYNC913 - the turns are the guaranteed one
            if self._closed:
                raise trio.ClosedResourceError("this end has been closed")
            try:
                sent = self.socket.send(rest[:TURN_BYTES])
            except BlockingIOError:
                self._waits()
                await trio.lowlevel.wait_writable(self.socket)
            except OSError as error:
                raise trio.BrokenResourceError(f"the connection broke: {error}") from error
            else:
                self._room -= sent
                rest = rest[sent:]
                if rest and self._room <= 0:
                    await self._take_turns()

    async def wait_send_all_might_not_block(self) -> None:
        """Waits until there is room, or the connection is over."""
        if self._closed:
            raise trio.ClosedResourceError("this end has been closed")
        await trio.lowlevel.wait_writable(self.socket)

    async def send_eof(self) -> None:
        """Says that no more will come; reading goes on."""
        if self._closed:
            raise trio.ClosedResourceError("this end has been closed")
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise trio.BrokenResourceError(f"the connection broke: {error}") from error
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Closes it at once, whoever waits on it. Idempotent."""
        if not self._closed:
            self._closed = True
            if self.on_close is not None:
                self.on_close()
            trio.lowlevel.notify_closing(self.socket)
            self.socket.close()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    @property
    def is_readable(self) -> bool:
        """Whether a read would not wait: there are bytes, or the connection is over."""
        if self._closed:
            return True
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    async def _take_turns(self) -> None:
        if self._room <= 0:
            await self._turnstile.turn()
            self._room = TURN_BYTES
        else:
            await trio.lowlevel.checkpoint()
        self._in_a_row = 0

    def _waits(self) -> None:
        """Others have their turn now; what it had left of its own is over."""
        self._in_a_row = 0
        if self._room > LIGHT_BYTES:
            self._room = LIGHT_BYTES
        elif (now := trio.current_time()) >= self._light_again:
            self._room, self._light_again = LIGHT_BYTES, now + LIGHT_SECONDS


async def receive_by(
    stream: trio.abc.ReceiveStream, transport: SocketStream | None, due: float
) -> bytes:
    """The next bytes of `stream`; raises trio.TooSlowError past `due` (trio time).

    `transport` is the connection of ours below it; None: there is none.
    """
    if transport is None:
        with trio.CancelScope(deadline=due):
            return bytes(await stream.receive_some(RECEIVE_BYTES))
        raise trio.TooSlowError
    transport.limit(due)
    try:
        if stream is transport:
            return await transport.receive_some(RECEIVE_BYTES)
        return bytes(await stream.receive_some(RECEIVE_BYTES))
    finally:
        transport.limit(math.inf)
