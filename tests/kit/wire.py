"""HTTP/1.1 by hand over a TCP connection: every byte sent and received is the test's own.

A library would tidy up what a test is about: header names, their order, how a body ends.
"""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import trio

from tests.kit import canaries

READ_BYTES = 65536
RECEIVE_SECONDS = 40.0
"""Longest wait for anything; only a failing test waits so long."""

Headers = list[tuple[str, str]]


@dataclass
class Answered:
    """A response. `complete`: it ended as its framing says; `closing`: by the connection's end."""

    status: int
    headers: Headers
    body: bytes = field(default=b"", repr=False)
    complete: bool = False
    closing: bool = False

    def header(self, name: str) -> str | None:
        """The first header of that name, in whatever case."""
        found = self.all(name)
        return found[0] if found else None

    def all(self, name: str) -> list[str]:
        """The values of all headers of that name, in whatever case."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Wire:
    """One connection."""

    def __init__(self, stream: trio.SocketStream, host: str) -> None:
        self.stream = stream
        self.host = host
        self._received = b""

    @classmethod
    async def to(cls, url: str) -> Wire:
        """Connects to the server of `url`."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        return cls(await trio.open_tcp_stream(parts.hostname, parts.port), parts.netloc)

    async def __aenter__(self) -> Wire:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await trio.aclose_forcefully(self.stream)

    # -- sending ---------------------------------------------------------------------------------

    def head(
        self, method: str, target: str, headers: Headers | None = None, http: str = "1.1"
    ) -> bytes:
        """A request head with these headers after Host, and nothing added."""
        lines = [f"{method} {target} HTTP/{http}", f"Host: {self.host}"]
        lines += [f"{name}: {value}" for name, value in headers or []]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    async def send(
        self, method: str, target: str, headers: Headers | None = None, body: bytes | None = None
    ) -> None:
        """A whole request; with a body its length is told."""
        sent = list(headers or [])
        if body is not None:
            sent.append(("Content-Length", str(len(body))))
        await self.stream.send_all(self.head(method, target, sent) + (body or b""))

    async def ask(
        self, method: str, target: str, headers: Headers | None = None, body: bytes | None = None
    ) -> Answered:
        """A whole request and its whole answer."""
        await self.send(method, target, headers, body)
        answered = await self.answer(to_head=method == "HEAD")
        canaries.used_among(headers or [])
        canaries.answered(target, answered.body)
        return answered

    async def leave(self, *, reset: bool = False) -> None:
        """Closes the connection, or resets it as Claude Code does."""
        if reset:
            linger = struct.pack("ii", 1, 0)
            self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        await self.stream.aclose()

    # -- receiving -------------------------------------------------------------------------------

    async def answer(self, *, to_head: bool = False) -> Answered:
        """The next response, as far as it comes."""
        answered = await self.answer_head()
        await self.body_of(answered, to_head=to_head)
        return answered

    async def answer_head(self) -> Answered:
        """The head of the next response, 100 included; the body stays unread."""
        head = await self._until(b"\r\n\r\n")
        assert head is not None, f"no response head but {self._received[:200]!r}"
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        fields = [line.partition(":") for line in lines]
        return Answered(
            int(first.split(" ")[1]), [(name, value.strip()) for name, _, value in fields]
        )

    async def read_until(self, wanted: bytes) -> bytes:
        """Everything up to and with `wanted`."""
        found = await self._until(wanted)
        assert found is not None, f"{wanted!r} never came, but {self._received[-200:]!r}"
        return found

    async def ended(self) -> bytes:
        """Waits until the other side has closed; what came before."""
        while await self._more():
            pass
        rest, self._received = self._received, b""
        return rest

    async def body_of(self, answered: Answered, *, to_head: bool = False) -> None:
        """Reads the body of that head."""
        if to_head or answered.status in (204, 304) or answered.status < 200:
            answered.complete = True
        elif (answered.header("transfer-encoding") or "").lower() == "chunked":
            await self._chunks(answered)
        elif (length := answered.header("content-length")) is not None:
            answered.body = await self._exactly(int(length))
            answered.complete = len(answered.body) == int(length)
        else:
            answered.body, answered.closing = await self.ended(), True
            answered.complete = True

    async def _chunks(self, answered: Answered) -> None:
        pieces: list[bytes] = []
        while (line := await self._until(b"\r\n")) is not None:
            size = int(line, 16)
            data = await self._exactly(size + 2)
            pieces.append(data[:size])
            if size == 0 or len(data) < size + 2:
                answered.complete = size == 0 and data == b"\r\n"
                break
        answered.body = b"".join(pieces)

    async def _until(self, end: bytes) -> bytes | None:
        while (place := self._received.find(end)) < 0:
            if not await self._more():
                return None
        found, self._received = (
            self._received[: place + len(end)],
            self._received[place + len(end) :],
        )
        return found

    async def _exactly(self, size: int) -> bytes:
        pieces = [self._received[:size]]
        missing = size - len(pieces[0])
        self._received = self._received[size:]
        while missing and await self._more():
            pieces.append(self._received[:missing])
            self._received = self._received[missing:]
            missing -= len(pieces[-1])
        return b"".join(pieces)

    async def _more(self) -> bool:
        try:
            with trio.fail_after(RECEIVE_SECONDS):
                data = await self.stream.receive_some(READ_BYTES)
        except trio.BrokenResourceError:
            return False
        self._received += data
        return bool(data)
