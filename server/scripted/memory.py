"""Connections that exist in memory only, so that a whole exchange can run in virtual time.

`trio.testing.memory_stream_pair` would do, were it not for its unbounded buffers: a sender never
waits, so nothing that depends on a slow reader can be seen. The streams here hold a bounded number
of bytes in each direction, end like TCP does (a closed peer breaks the next write, a reset breaks
reads too). `network.py` makes a network of hosts out of them.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import contextmanager

import trio

BUFFER_BYTES = 64 * 1024
"""What one direction holds before its sender waits: the order of a socket's buffer."""


class _Pipe:
    """One direction of a connection."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.data = bytearray()
        self.ended = False
        """The sender will send no more."""
        self.reader_gone = False
        self.reset = False
        self._changed = trio.lowlevel.ParkingLot()

    def change(self) -> None:
        self._changed.unpark_all()

    async def wait(self) -> None:
        # No deadline: who reads or writes a stream brings its own.
        await self._changed.park()


class MemoryStream(trio.abc.HalfCloseableStream):
    """One end of an in-memory connection."""

    def __init__(self, outgoing: _Pipe, incoming: _Pipe) -> None:
        self._outgoing = outgoing
        self._incoming = incoming
        self._closed = False
        self._sending = False
        self._receiving = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Hand over all of it, waiting while the peer's buffer is full."""
        with self._only_one_sender():
            await trio.lowlevel.checkpoint()
            rest = memoryview(data)
            self._check_sendable()
            while rest:
                room = self._outgoing.capacity_bytes - len(self._outgoing.data)
                if room <= 0:
                    await self._outgoing.wait()
                else:
                    self._outgoing.data += rest[:room]
                    rest = rest[room:]
                    self._outgoing.change()
                self._check_sendable()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room, or the connection is over."""
        with self._only_one_sender():
            await trio.lowlevel.checkpoint()
            self._check_open()
            while not self._outgoing.reader_gone and self._is_full():
                await self._outgoing.wait()
                self._check_open()

    async def send_eof(self) -> None:
        """Say that no more will come; reading goes on."""
        with self._only_one_sender():
            await trio.lowlevel.checkpoint()
            self._check_open()
            self._outgoing.ended = True
            self._outgoing.change()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes, at most `max_bytes`; empty when the peer has ended."""
        if max_bytes is not None and operator.index(max_bytes) < 1:
            raise ValueError("max_bytes must be at least 1")
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving on this stream")
        self._receiving = True
        try:
            await trio.lowlevel.checkpoint()
            while True:
                self._check_open()
                if self._incoming.reset:
                    raise trio.BrokenResourceError("connection reset by peer")
                if self._incoming.data or self._incoming.ended:
                    break
                await self._incoming.wait()
            taken = bytes(self._incoming.data[:max_bytes])
            del self._incoming.data[: len(taken)]
            self._incoming.change()
            return taken
        finally:
            self._receiving = False

    async def aclose(self) -> None:
        """Close both directions; the peer reads what is under way, then the end."""
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """The same, at once."""
        self._closed = True
        self._outgoing.ended = True
        self._incoming.reader_gone = True
        self._outgoing.change()
        self._incoming.change()

    def reset(self) -> None:
        """Close, and let the peer's reads fail: what is under way is lost."""
        self._outgoing.reset = True
        self._outgoing.data.clear()
        self.close()

    @property
    def is_readable(self) -> bool:
        """Whether a read would not wait: there are bytes, or the connection is over."""
        return bool(self._incoming.data) or self._incoming.ended or self._closed

    def _is_full(self) -> bool:
        return len(self._outgoing.data) >= self._outgoing.capacity_bytes

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this end has been closed")

    def _check_sendable(self) -> None:
        self._check_open()
        if self._outgoing.ended:
            raise trio.ClosedResourceError("send_eof has been called")
        if self._outgoing.reader_gone:
            raise trio.BrokenResourceError("the peer has closed")

    @contextmanager
    def _only_one_sender(self) -> Iterator[None]:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            yield
        finally:
            self._sending = False


def stream_pair(buffer_bytes: int = BUFFER_BYTES) -> tuple[MemoryStream, MemoryStream]:
    """Two connected ends, each direction holding at most `buffer_bytes`."""
    there, back = _Pipe(buffer_bytes), _Pipe(buffer_bytes)
    return MemoryStream(there, back), MemoryStream(back, there)
