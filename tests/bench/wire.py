"""What both ends of the benchmark have in common: a socket with as little above it as can be."""

from __future__ import annotations

import socket

import trio

READ_BYTES = 256 * 1024
GREEDY_OPERATIONS_MAX = 32
"""Reads or writes in a row that need not wait; then the other tasks get their turn."""

STAMP_DIGITS = 20
"""A paced event carries the moment it was written: nanoseconds of the monotonic clock."""


class Line:
    """One TCP connection. A read or write that need not wait costs one system call."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connected
        self._greedy = 0

    @classmethod
    async def to(cls, port: int) -> Line:
        """Connects to that port of this machine."""
        connecting = trio.socket.socket()
        try:
            await connecting.connect(("127.0.0.1", port))
        except BaseException:
            connecting.close()
            raise
        return cls(socket.socket(fileno=connecting.detach()))

    async def receive(self) -> bytes:
        """What has come, b"" at the end; raises OSError after a reset."""
        await self._take_turns()
        while True:  # noqa: ASYNC913 - the turns are the guaranteed one
            try:
                return self.socket.recv(READ_BYTES)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self.socket)

    async def send(self, data: bytes) -> None:
        """All of it; raises OSError when the other side has left."""
        await self._take_turns()
        sent = 0
        while True:  # noqa: ASYNC913 - as above
            try:
                sent += self.socket.send(data[sent:] if sent else data)
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self.socket)
            if sent == len(data):
                return

    async def ended(self) -> None:
        """Waits until the other side has left; what it still sends is dropped."""
        try:
            while await self.receive():
                pass
        except OSError:
            return

    def close(self) -> None:
        """Closes it, whoever waits on it."""
        if self.socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self.socket)
            self.socket.close()

    async def _take_turns(self) -> None:
        self._greedy += 1
        if self._greedy >= GREEDY_OPERATIONS_MAX:
            self._greedy = 0
            await trio.lowlevel.checkpoint()
