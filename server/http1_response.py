"""The head of an upstream's response, and how its body is framed (RFC 9112 section 6.3).

httptools parses whatever it is fed, so a head is framed first and fed alone; bodies are counted or
taken out of their chunks here. Framing that two readers could understand differently is a fault.
"""

from __future__ import annotations

import math
import re

import httptools
import msgspec

from protocol.chunked import ChunkedBody, MalformedChunks
from protocol.request import Headers

HEAD_BYTES_MAX = 64 * 1024
HEADERS_MAX = 200

_STATUS_LINE = re.compile(rb"HTTP/(1\.[01]) ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?\r\n")
_HEAD_END = re.compile(rb"\r?\n\r?\n")


class Malformed(Exception):
    """The upstream does not speak HTTP/1.1, or frames its answer in a way nobody can trust."""


class ResponseHead(msgspec.Struct, frozen=True):
    """`length`: bytes of the body; math.inf: until the connection ends; None: in chunks.

    `keeps`: the connection may be used again after the body.
    """

    status: int
    headers: Headers
    length: float | None
    keeps: bool


class _Collected:
    """What httptools calls back."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value.rstrip(b" \t")))


def head_end(received: bytes) -> int:
    """Where the head at the beginning of `received` ends; 0: not in there. Raises Malformed."""
    end = received.find(b"\r\n\r\n")
    if end >= 0:
        if end > HEAD_BYTES_MAX:
            raise Malformed("the response head is too large")
        return end + 4
    # A bare line feed can never become a head that is accepted: nothing to wait for.
    found = _HEAD_END.search(received)
    if found is not None:
        return found.end()
    if len(received) > HEAD_BYTES_MAX:
        raise Malformed("the response head is too large")
    return 0


def read_head(block: bytes, method: str) -> ResponseHead:
    """The head in `block`, its empty line included. Raises Malformed."""
    first = _STATUS_LINE.match(block)
    if first is None:
        raise Malformed("the response does not begin with a status line of HTTP/1.1")
    collected = _Collected()
    try:
        httptools.HttpResponseParser(collected).feed_data(block)
    except httptools.HttpParserUpgrade:
        raise Malformed("the upstream changed the protocol unasked") from None
    except httptools.HttpParserError as error:
        raise Malformed(f"the response head is not valid HTTP/1.1: {error}") from None
    version, status, headers = first[1], int(first[2]), tuple(collected.headers)
    if len(headers) > HEADERS_MAX:
        raise Malformed(f"the response has more than {HEADERS_MAX} headers")
    keeps = version == b"1.1"
    codings: list[bytes] = []
    lengths: list[bytes] = []
    for name, value in headers:
        size = len(name)  # most names are told apart by it, at less cost than by their letters
        if size == 10 and name.lower() == b"connection":
            keeps = keeps and b"close" not in [one.strip() for one in value.lower().split(b",")]
        elif size == 17 and name.lower() == b"transfer-encoding":
            codings.append(value.lower())
        elif size == 14 and name.lower() == b"content-length":
            lengths.append(value)
    length = _length(status, method, version, codings, lengths)
    return ResponseHead(status, headers, length, keeps and length != math.inf)


def _length(
    status: int, method: str, version: bytes, codings: list[bytes], lengths: list[bytes]
) -> float | None:
    if codings and (codings != [b"chunked"] or lengths or version != b"1.1"):
        raise Malformed("a response with a transfer coding that is not understood")
    if lengths and (len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > 18):
        raise Malformed("a response with more than one length, or with none that is a number")
    if method == "HEAD" or status < 200 or status in (204, 304):
        return 0
    if codings:
        return None
    return int(lengths[0]) if lengths else math.inf


class ResponseBody:
    """Takes the framing away. `ended`: the body is whole; `exact`: nothing came behind it."""

    def __init__(self, length: float | None) -> None:
        self._chunks = ChunkedBody() if length is None else None
        self._left = 0 if length is None else length
        self._until_closed = length == math.inf
        self.ended = length == 0
        self.exact = True

    def feed(self, data: bytes) -> bytes:
        """The body's bytes in what came. Raises Malformed."""
        if self._chunks is not None:
            try:
                piece = self._chunks.feed(data)
            except MalformedChunks as error:
                raise Malformed(f"the chunks of the response are not valid: {error}") from None
            if self._chunks.ended:
                self.ended, self.exact = True, not self._chunks.rest
            return piece
        if len(data) < self._left:
            self._left -= len(data)
            return data
        self.ended, self.exact = True, len(data) == self._left
        return data if self.exact else data[: int(self._left)]

    def close(self) -> bool:
        """The connection has ended; whether the body is whole."""
        self.ended = self.ended or self._until_closed
        return self.ended
