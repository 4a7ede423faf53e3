"""An HTTP/1.1 client that knows the two kinds of answers the benchmark's upstream gives."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable

import recorded
from wire import Line

QUESTION_BYTES = 1_024
STREAM_END = b"\r\n0\r\n\r\n"

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def request(
    port: int,
    mode: str,
    *,
    prefix: str = "",
    headers: Iterable[tuple[str, str]] = (),
    size: int = QUESTION_BYTES,
) -> bytes:
    """A request like those of the vendors' client libraries, with a body of that many bytes."""
    stream = mode not in ("json", "late-json", "limited") and not mode.endswith(".json")
    body = recorded.question(size, stream=stream)
    lines = [
        f"POST {prefix}/v1/messages?answer={mode} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Accept: application/json",
        "Accept-Encoding: gzip, deflate",
        "Connection: keep-alive",
        "User-Agent: bench/1.0",
        "Content-Type: application/json",
        "X-Stainless-Lang: python",
        "X-Stainless-Runtime: CPython",
        "X-Stainless-Retry-Count: 0",
        "X-Stainless-Timeout: 600",
        "anthropic-version: 2023-06-01",
        "anthropic-beta: interleaved-thinking-2025-05-14",
        "X-Api-Key: made-up",
        *(f"{name}: {value}" for name, value in headers),
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Unexpected(Exception):
    """An answer that is not 200, or not whole."""


class Client:
    """One kept connection that asks the same thing again and again."""

    def __init__(self, line: Line, asked: bytes) -> None:
        self._line = line
        self._asked = asked

    @classmethod
    async def to(cls, port: int, mode: str) -> Client:
        """Connects."""
        return cls(await Line.to(port), request(port, mode))

    async def ask(self) -> float:
        """One request and its whole answer; the moment of the first byte of its body."""
        await self._line.send(self._asked)
        received, body_at = await self._head()
        first = time.perf_counter()
        length = LENGTH.search(received, 0, body_at)
        while not whole(received, body_at, length):
            received += await self._more(received)
        return first

    async def open(self) -> bytes:
        """Begins a stream; what has come once its first event is there."""
        await self._line.send(self._asked)
        received, body_at = await self._head()
        while b"\n\n" not in received[body_at:]:
            received += await self._more(received)
        return received[body_at:]

    async def more(self) -> bytes:
        """The next piece of a stream."""
        return await self._more(b"the stream")

    def close(self) -> None:
        """Hangs up."""
        self._line.close()

    async def _head(self) -> tuple[bytes, int]:
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0 or len(received) == end + 4:
            received += await self._more(received)
        if not received.startswith(b"HTTP/1.1 200"):
            raise Unexpected(received[:500].decode("latin-1"))
        return received, end + 4

    async def _more(self, so_far: bytes) -> bytes:
        data = await self._line.receive()
        if not data:
            raise Unexpected(f"closed after {so_far[-200:].decode('latin-1')!r}")
        return data


def whole(received: bytes, body_at: int, length: re.Match[bytes] | None) -> bool:
    """Whether an answer is all there, that has that length, or is chunked."""
    if length is not None:
        return len(received) >= body_at + int(length[1])
    return received.endswith(STREAM_END)
