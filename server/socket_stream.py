"""A TCP connection that reschedules only when it has to wait.

trio's own `SocketStream` goes through the scheduler at every read and write, also when the bytes
are there already. A relayed request has half a dozen of those, and each costs as much as parsing
its head. Here a read or write that need not wait is one system call; every so often one takes its
turn all the same, so that no connection starves the others.
"""

from __future__ import annotations

import contextlib
import math
import socket
from collections.abc import Callable

import trio

from server.overdue import overdue

TURN_OPERATIONS = 16
"""Reads and writes in a row that may go without the scheduler; each moves at most 64 KiB."""
RECEIVE_BYTES = 64 * 1024


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
        self._expired = False
        self._overdue = overdue()

    @classmethod
    def adopt(cls, stream: trio.SocketStream) -> SocketStream:
        """The same connection; `stream` must not be used any more."""
        return cls(socket.socket(fileno=stream.socket.detach()))

    def receive_nowait(self) -> bytes:
        """What has come, b"" at the end; raises trio.WouldBlock when that is nothing yet."""
        if self._closed:
            raise trio.ClosedResourceError("this end has been closed")
        self._in_a_row += 1
        if self._in_a_row > TURN_OPERATIONS:
            raise trio.WouldBlock
        try:
            return self.socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            raise trio.WouldBlock from None
        except OSError as error:
            raise trio.BrokenResourceError(f"the connection broke: {error}") from error

    def send_nowait(self, data: bytes | memoryview) -> int:
        """How many bytes of `data` went out at once; 0 when it has to wait."""
        if self._closed:
            raise trio.ClosedResourceError("this end has been closed")
        self._in_a_row += 1
        if self._in_a_row > TURN_OPERATIONS:
            return 0
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise trio.BrokenResourceError(f"the connection broke: {error}") from error

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes; b"" when the other side has ended."""
        size = RECEIVE_BYTES if max_bytes is None else max_bytes
        if size < 1:
            raise ValueError("max_bytes must be at least 1")
        await self._take_turns()
        while True:  # noqa: ASYNC913 - the turns are the guaranteed one
            if self._closed:
                raise trio.ClosedResourceError("this end has been closed")
            try:
                return self.socket.recv(size)
            except BlockingIOError:
                await self.wait_readable()
            except OSError as error:
                raise trio.BrokenResourceError(f"the connection broke: {error}") from error

    async def wait_readable(self) -> None:
        """Until there is something to read, or the end; raises trio.TooSlowError past `due`."""
        self._in_a_row = 0
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
        await self._take_turns()
        rest = memoryview(data)
        while rest:  # noqa: ASYNC913 - the turns are the guaranteed one
            if self._closed:
                raise trio.ClosedResourceError("this end has been closed")
            try:
                rest = rest[self.socket.send(rest) :]
            except BlockingIOError:
                self._in_a_row = 0
                await trio.lowlevel.wait_writable(self.socket)
            except OSError as error:
                raise trio.BrokenResourceError(f"the connection broke: {error}") from error

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
        self._in_a_row += 1
        if self._in_a_row >= TURN_OPERATIONS:
            self._in_a_row = 0
            await trio.lowlevel.checkpoint()


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
        return bytes(await stream.receive_some(RECEIVE_BYTES))
    finally:
        transport.limit(math.inf)
