"""A client's connection that cannot hold us: every write has a deadline, and it can be cut.

hypercorn writes in a shielded scope without a deadline, so a client that stops reading would
block a request, its upstream and the whole shutdown for ever. Here a write that makes no progress
ends the connection, and `cut` ends it at once from any task.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from typing import Any

import trio

from protocol.request import Peer
from server.socket_stream import SocketStream, receive_by

WRITE_PIECE_BYTES = 16 * 1024
"""A deadline covers one piece, so a slow reader that does read (faster than one piece within the
write timeout) is never taken for a dead one."""

CLOSE_SECONDS = 2.0
"""For the polite end of a connection (TLS close, end of stream) before it is cut."""

_TCP_ESTABLISHED = 1  # the first byte of Linux' struct tcp_info


class Address:
    """The three calls hypercorn makes on a socket; works for connections in memory too."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        transport = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        self.quick = transport if isinstance(transport, SocketStream) else None
        """The TCP connection below, where it is one of our own."""
        self._socket: trio.socket.SocketType | socket.socket | None = None
        if isinstance(transport, trio.SocketStream | SocketStream):
            self._socket = transport.socket

    @property
    def family(self) -> int:
        return self._socket.family if self._socket is not None else socket.AF_UNSPEC

    def getpeername(self) -> tuple[Any, ...]:
        return self._socket.getpeername() if self._socket is not None else ()

    def getsockname(self) -> tuple[Any, ...]:
        return self._socket.getsockname() if self._socket is not None else ()

    def is_established(self) -> bool:
        """False once the other end closed, reset or shut down, or we closed.

        It is known without reading, but for TCP on Linux only; anything else counts as established.
        """
        if self._socket is None or sys.platform != "linux":
            return True
        try:
            info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        except OSError:
            return False
        return info[0] == _TCP_ESTABLISHED


class ClientStream(trio.abc.HalfCloseableStream):
    """Wraps a TCP, TLS or in-memory stream of a client."""

    def __init__(self, stream: trio.abc.Stream, write_timeout: float) -> None:
        self._stream = stream
        self._write_timeout = write_timeout
        self._quick = stream if isinstance(stream, SocketStream) else None
        self.socket = Address(stream)

    def peer(self) -> Peer:
        """Who is at the other end; in memory it counts as this machine."""
        name = self.socket.getpeername()
        if not name:
            return Peer()
        host = str(name[0])
        return Peer(address=host, loopback=_is_loopback(host))

    async def handshake(self) -> bool:
        """TLS, where the connection has it; False when the client does not manage it."""
        if isinstance(self._stream, trio.SSLStream):
            try:
                await self._stream.do_handshake()
            except trio.BrokenResourceError:
                return False
        return True

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        if self._quick is not None:
            sent = self._quick.send_nowait(view)
            if sent == len(view):
                return
            view = view[sent:]
        for place in range(0, len(view), WRITE_PIECE_BYTES):
            with trio.move_on_after(self._write_timeout) as deadline:
                await self._stream.send_all(view[place : place + WRITE_PIECE_BYTES])
            if deadline.cancelled_caught:
                await self.cut()
                raise trio.BrokenResourceError("the client stopped reading")

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def receive_by(self, due: float) -> bytes:
        """The next bytes, b"" at the end however it came; raises trio.TooSlowError past `due`."""
        try:
            return await receive_by(self._stream, self.socket.quick, due)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    async def send_eof(self) -> None:
        """Says that no more will come, where the transport can; never raises: it may be over."""
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
            with (
                trio.move_on_after(CLOSE_SECONDS),
                contextlib.suppress(
                    trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError
                ),
            ):
                await self._stream.send_eof()

    async def aclose(self) -> None:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_SECONDS):
            await self._stream.aclose()
        await self.cut()

    async def cut(self) -> None:
        """Closes at once, whatever anybody is waiting for on it. Idempotent."""
        transport = self._stream
        while isinstance(transport, trio.SSLStream):
            transport = transport.transport_stream
        await trio.aclose_forcefully(transport)


def _is_loopback(host: str) -> bool:
    # "::ffff:127.0.0.1" is an IPv4 peer on a dual-stack socket.
    return host.removeprefix("::ffff:").startswith("127.") or host == "::1"
