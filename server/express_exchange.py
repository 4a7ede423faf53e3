"""One request of the express lane: an `Exchange` straight over the client's stream."""

from __future__ import annotations

import math
import secrets
from collections.abc import AsyncGenerator, Callable
from typing import Protocol

import trio

from protocol.chunked import ChunkedBody, MalformedChunks
from protocol.errors import Problem, answer
from protocol.request import RequestHead, of_openai
from server.exchange import ClientGone, send_answer
from server.express_head import Framed

CONTINUE = b"HTTP/1.1 100 \r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"


class Line(Protocol):
    """What an exchange needs of its connection. `received`: read from the client and not used."""

    received: bytes
    left: bool

    @property
    def ends(self) -> bool:
        """Whether no further request is taken, whatever the client wants."""
        ...

    async def read_by(self, due: float) -> bytes:
        """The client's next bytes; b"" when it has left; raises trio.TooSlowError past `due`."""
        ...

    async def write(self, data: bytes) -> None:
        """All of it; when the client has left, nothing. Never raises for what a client can do."""
        ...

    def watch(self, left: Callable[[], object]) -> bool:
        """Until `unwatch`, the client's leaving calls `left` and cancels the connection's task.

        False where only `departure` can tell.
        """
        ...

    def unwatch(self) -> None:
        """Its leaving is no event any more."""
        ...

    async def departure(self) -> None:
        """Returns when the client has left; what it sends meanwhile is kept for later."""
        ...


class ExpressExchange:
    """`framed` is its head; what follows on `line` begins with its body."""

    def __init__(self, framed: Framed, line: Line) -> None:
        self._framed = framed
        self._line = line
        self._head = b""  # of the response, until its first bytes go out
        self._chunked = False
        self._left: int | None = None  # bytes that the response still owes
        self._bodiless = False
        self._closes = framed.closes
        self._expects = framed.expects
        self.body_read = framed.length == 0
        """The client owes nothing of this request any more."""
        self.started = False
        self.finished = False

    @property
    def head(self) -> RequestHead:
        return self._framed.head

    @property
    def reusable(self) -> bool:
        """The connection may take the next request."""
        return self.finished and self.body_read and not self._closes

    # -- the request's body

    def body(self) -> AsyncGenerator[bytes, None]:
        return self.timed_body(math.inf)

    async def timed_body(self, idle_seconds: float) -> AsyncGenerator[bytes, None]:
        """As `body`; raises trio.TooSlowError when nothing comes for so long."""
        if self._framed.length is None:
            chunks, ended = ChunkedBody(), False
            while not ended:
                data = await self._take(idle_seconds)
                try:
                    piece = chunks.feed(data)
                except MalformedChunks:
                    break
                ended = chunks.ended
                if ended:
                    self._line.received, self.body_read = chunks.rest, True
                if piece:
                    self._expects = False  # it did not wait to be asked
                    yield piece
            if not ended:
                await self._refuse_body()
                raise ClientGone
            return
        left = self._framed.length
        while left:
            data = await self._take(idle_seconds)
            if len(data) > left:
                data, self._line.received = data[:left], data[left:]
            left -= len(data)
            self._expects = False
            self.body_read = not left
            yield data

    def take_body(self) -> bytes | None:
        """The whole body, if all of it is here already and its length was told."""
        length, received = self._framed.length, self._line.received
        if length is None or len(received) < length:
            return None
        self.body_read = True
        if len(received) == length:
            self._line.received = b""
            return received
        self._line.received = received[length:]
        return received[:length]

    async def _take(self, idle_seconds: float) -> bytes:
        """What came, or comes; a client that waits to be asked for its body is asked for it."""
        line = self._line
        data, line.received = line.received, b""
        if not data:
            if self._expects and not self.started:
                self._expects = False
                await line.write(CONTINUE)
            data = await line.read_by(trio.current_time() + idle_seconds)
        if not data:
            raise ClientGone
        return data

    async def _refuse_body(self) -> None:
        if self.started:
            return
        problem = Problem(400, "the request body is not validly framed")
        request_id = secrets.token_hex(16)
        added = [(b"x-supervisor-request-id", request_id.encode())]  # and that it closes, see start
        made = answer(problem, request_id, openai=of_openai(self.head, self.head.route))
        await send_answer(self, made, added)

    async def gone(self) -> None:
        await self._line.departure()
        if self.finished:
            await trio.sleep_forever()

    def watch(self, left: Callable[[], object]) -> bool:
        """Until `unwatch`, the client's leaving calls `left` and cancels this task, without a task
        of its own. False where only `gone` can tell."""
        return self._line.watch(left)

    def unwatch(self) -> None:
        """Its leaving is no event any more."""
        self._line.unwatch()

    # -- the response

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The head goes out together with the first piece, be that an empty one."""
        self.started = True
        method = self._framed.head.method
        self._bodiless = method == "HEAD" or status in (204, 304)
        self._absorb()
        lines = [b"HTTP/1.1 %d " % status]
        length: int | None = None
        asks_to_close = False
        for name, value in headers:
            size = len(name)
            if size == 10 and name.lower() == b"connection":
                asks_to_close = True  # nothing but "close" comes this far
                continue
            lines.append(name + b": " + value)
            if size == 14 and name.lower() == b"content-length":
                length = int(value)
        # A client that is answered before it sent its whole body cannot be followed further.
        ends = asks_to_close or self._line.ends or not self.body_read
        if ends and not self._framed.closes:
            lines.append(b"connection: close")
        if length is None and status not in (204, 304):
            self._chunked = True
            lines.append(b"Transfer-Encoding: chunked")
        if self._framed.closes:
            lines.append(b"Connection: close")
        self._closes = self._closes or ends
        self._left = None if self._bodiless else length
        lines.append(b"\r\n")
        self._head = b"\r\n".join(lines)

    async def send(self, chunk: bytes) -> None:
        if self._bodiless:
            chunk = b""
        data, self._head = self._head, b""
        if chunk:
            if self._left is not None:
                self._left -= len(chunk)
            data += b"%x\r\n%b\r\n" % (len(chunk), chunk) if self._chunked else chunk
        if data:
            await self._line.write(data)

    async def finish(self) -> None:
        data, self._head = self._head, b""
        if self._chunked and not self._bodiless:
            data += _LAST_CHUNK
        # Less or more than was announced is no end; the connection's end tells the client so.
        self.finished = self._left in (None, 0)
        if data:
            await self._line.write(data)

    def _absorb(self) -> None:
        """A body that is here but that nobody wanted is not what the client still owes."""
        length = self._framed.length
        if not self.body_read and length is not None and len(self._line.received) >= length:
            self._line.received = self._line.received[length:]
            self.body_read = True
