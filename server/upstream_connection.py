"""One connection to an upstream: a request goes out, an answer comes back, one after the other.

Nothing in here waits in order to tidy up: closing is a system call, so whoever is cancelled at
whatever moment leaves nothing behind.
"""

from __future__ import annotations

import trio

from protocol.verdict import FaultKind
from server.dialing import Dialed, Origin, close_now
from server.http1_response import Malformed, ResponseBody, ResponseHead, head_end, read_head
from server.socket_stream import SocketStream, receive_by
from server.upstream_port import UpstreamFault, UpstreamRequest

WRITE_SECONDS = 60.0
WRITE_PIECE_BYTES = 64 * 1024
"""The write timeout covers one piece, so a slow line that moves is never cut."""
AT_ONCE_BYTES = 256 * 1024
"""Of a large body, as far as the line takes it without a wait."""

INTERIM_RESPONSES_MAX = 20

_BODILESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
_MADE_HERE = frozenset({b"host", b"content-length", b"transfer-encoding"})


class UpstreamConnection:
    """`origin` is the only one whose requests it carries. The times are the pool's to note."""

    def __init__(self, dialed: Dialed, origin: Origin) -> None:
        self.stream = dialed.stream
        self.origin = origin
        self.served = 0
        self.idle_since = 0.0
        self.idle_since_wall = 0.0
        self._quick = self.stream if isinstance(self.stream, SocketStream) else None
        self._transport = _transport(self.stream)
        self._absolute = b"http://" + origin.authority if dialed.absolute else b""
        self._headers = dialed.headers
        told = [name + b":" + value for name, value in dialed.headers]
        self._kind = b"\n".join([self._absolute, origin.authority, *told])
        """Two connections of a kind write the same bytes for the same request."""
        self._received = b""
        self._keeps = False
        self._body: ResponseBody | None = None
        self.heard = False
        """Whether a byte of the current answer has come."""

    @property
    def reusable(self) -> bool:
        """The last exchange came to its end, and the connection may have another."""
        body = self._body
        return self._keeps and body is not None and body.ended and body.exact

    @property
    def is_dead(self) -> bool:
        """An idle connection on which something came: its end, or what nobody asked for."""
        if self._quick is not None:
            return self._quick.is_readable
        stream = self.stream
        while isinstance(stream, trio.SSLStream):
            # What was received and not yet decrypted is nowhere to be seen but there.
            if stream.pending() or stream._incoming.pending:
                return True
            stream = stream.transport_stream
        return bool(getattr(stream, "is_readable", False))

    def close(self) -> None:
        """At once. Idempotent."""
        close_now(self.stream)

    # -- the request

    async def send(self, request: UpstreamRequest, target: bytes) -> None:
        """Writes the request; returns early when an answer comes before its end.

        Raises UpstreamFault. A write that breaks is no fault yet: the answer may say why.
        """
        self._keeps, self._body, self.heard = True, None, False
        head = self._head(request, target)
        body = request.body
        if len(body) <= WRITE_PIECE_BYTES:
            await self._write(head + body)
            return
        await self._write(head)
        rest = memoryview(body)
        while rest:
            if self._is_answered_early():
                self._keeps = False  # the rest of the body is never sent
                return
            piece = rest[:WRITE_PIECE_BYTES]
            sent = self._send_nowait(rest[:AT_ONCE_BYTES])
            if not sent:
                await self._write(piece)
                sent = len(piece)
            rest = rest[sent:]

    def _is_answered_early(self) -> bool:
        """Not told for TLS: there the bytes that wait may be session tickets."""
        return not isinstance(self.stream, trio.SSLStream) and self.is_dead

    def _head(self, request: UpstreamRequest, target: bytes) -> bytes:
        """The opening is the same for requests that differ in their bodies alone."""
        known, kind = request.openings, (self._kind, target)
        opening = known.get(kind) if known is not None else None
        if opening is None:
            opening = self._opening(request, target)
            if known is not None:
                known[kind] = opening
        if request.body or request.method not in _BODILESS:
            return b"%bContent-Length: %d\r\n\r\n" % (opening, len(request.body))
        return opening + b"\r\n"

    def _opening(self, request: UpstreamRequest, target: bytes) -> bytes:
        """The request line and all headers but the length, each with its line end."""
        method = request.method
        lines = [
            b"%b %b%b HTTP/1.1" % (method.encode("latin-1"), self._absolute, target),
            b"Host: " + self.origin.authority,
        ]
        for name, value in self._headers:
            lines.append(name + b": " + value)
        for name, value in request.headers:
            if name.lower() not in _MADE_HERE:
                lines.append(name + b": " + value)
        opening = b"\r\n".join(lines) + b"\r\n"
        # One look at the whole: whatever a header brought along, the lines are ours.
        ends = len(lines)
        if opening.count(b"\n") != ends or opening.count(b"\r") != ends or b"\0" in opening:
            raise UpstreamFault(FaultKind.PROTOCOL, "a line end or NUL inside of a header")
        if lines[0].count(b" ") != 2:
            raise UpstreamFault(FaultKind.PROTOCOL, "a space inside of a request target")
        return opening

    def _send_nowait(self, data: bytes | memoryview) -> int:
        """What of it can go without a wait."""
        try:
            return self._quick.send_nowait(data) if self._quick is not None else 0
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return 0  # as the next write will say

    async def _write(self, data: bytes | memoryview) -> None:
        try:
            sent = self._send_nowait(data)
            if sent == len(data):
                return
            with trio.move_on_after(WRITE_SECONDS) as limit:
                await self.stream.send_all(memoryview(data)[sent:])
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._keeps = False  # an early answer may be there to be read
            return
        if limit.cancelled_caught:
            detail = f"the upstream took nothing for {WRITE_SECONDS:g} s"
            raise UpstreamFault(FaultKind.TIMEOUT, detail)

    # -- the answer

    async def head(self, method: str, seconds: float) -> ResponseHead:
        """The head of the answer, within `seconds`. Raises UpstreamFault."""
        try:
            head = await self._read_head(method, trio.current_time() + seconds)
        except trio.TooSlowError:
            detail = f"no answer within {seconds:g} s"
            raise UpstreamFault(FaultKind.TIMEOUT, detail) from None
        self._keeps = self._keeps and head.keeps
        self._body = ResponseBody(head.length)
        return head

    async def _read_head(self, method: str, due: float) -> ResponseHead:
        try:
            for _ in range(INTERIM_RESPONSES_MAX):
                while not (end := head_end(self._received)):
                    self._received += await self._more(due)
                block, self._received = self._received[:end], self._received[end:]
                head = read_head(block, method)
                if head.status >= 200:
                    return head
        except Malformed as error:
            raise UpstreamFault(FaultKind.PROTOCOL, str(error)) from None
        raise UpstreamFault(FaultKind.PROTOCOL, "interim responses without end")

    async def _more(self, due: float) -> bytes:
        try:
            data = await receive_by(self.stream, self._transport, due)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise UpstreamFault(FaultKind.DISCONNECT, str(error) or "it broke") from None
        if not data:
            detail = "the upstream closed the connection without an answer"
            raise UpstreamFault(FaultKind.DISCONNECT, detail)
        self.heard = True
        return data

    async def read(self, idle_timeout: float) -> bytes:
        """What one read brings of the body; b"" at its end. Raises UpstreamFault."""
        body = self._body
        assert body is not None, "there is no head yet"
        while not body.ended:
            data, self._received = self._received, b""
            if not data:
                data = await self._receive(idle_timeout)
            if not data:
                self._keeps = False
                if body.close():
                    break
                raise UpstreamFault(FaultKind.DISCONNECT, "the answer was cut off")
            try:
                piece = body.feed(data)
            except Malformed as error:
                raise UpstreamFault(FaultKind.PROTOCOL, str(error)) from None
            if piece:
                return piece
        if self._received:
            self._keeps = False  # more than was asked for
        return b""

    async def _receive(self, idle_timeout: float) -> bytes:
        try:
            return await receive_by(
                self.stream, self._transport, trio.current_time() + idle_timeout
            )
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise UpstreamFault(FaultKind.DISCONNECT, str(error) or "it broke") from None
        except trio.TooSlowError:
            detail = f"no byte for {idle_timeout:g} s"
            raise UpstreamFault(FaultKind.TIMEOUT, detail) from None


def _transport(stream: trio.abc.Stream) -> SocketStream | None:
    """The TCP connection of ours below TLS, if there is one."""
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    return stream if isinstance(stream, SocketStream) else None
