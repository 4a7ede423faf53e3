"""The head of a request for the express lane: strictly framed, or none of its business.

This lane reads a subset of HTTP/1.1 about which no two readers differ. Whatever is not in it (old
versions, odd methods, doubtful framing, malformed lines, heads past a limit) is left, byte for byte,
to the reference lane, which serves or refuses it as it always did. So no request can mean one thing
here and another there.
"""

from __future__ import annotations

import re

import httptools
import msgspec

from protocol.gate import HEADER_BYTES_MAX, HEADER_COUNT_MAX, TARGET_BYTES_MAX
from protocol.request import Peer, RequestHead

# What can still become a head for this lane, as far as it has come.
_BEGUN = re.compile(rb"[A-Z]{1,7}(?:\Z| (?:\Z|/))")
_FIRST_LINE = re.compile(rb"(GET|POST|HEAD|PUT|DELETE|PATCH|OPTIONS) (/[\x21-\x7e]*) HTTP/1\.1\r\n")
_LENGTH_DIGITS_MAX = 18


class Framed(msgspec.Struct, frozen=True):
    """A request head and how its body ends. `length` None: in chunks.

    `expects`: the client waits to be told to go on. `closes`: it wants no further request.
    """

    head: RequestHead
    length: int | None
    expects: bool
    closes: bool


def can_begin(received: bytes) -> bool:
    """Whether `received`, which is no whole head yet, may become one that this lane reads."""
    if received.count(b"\n") != received.count(b"\r\n"):
        return False
    return _BEGUN.match(received) is not None


# The usual way to write it; whatever else the head holds, another number here changes nothing else.
_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ([0-9]{1,18})\r\n")


class Heads:
    """Reads the heads of one connection's requests.

    A client says the same again and again, but for the length of its body. Then what was found out
    about its last head holds for this one, and everything that others remember with it.
    """

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._block = b""
        self._around: tuple[bytes, bytes] | None = None
        self._framed: Framed | None = None

    def read(self, block: bytes) -> Framed | None:
        """As `read_request`."""
        if block == self._block:
            return self._framed
        found = _LENGTH.search(block)
        around = None if found is None else (block[: found.start(1)], block[found.end(1) :])
        before = self._framed
        if found is not None and before is not None and around == self._around:
            self._framed = _with_length(before, found[1])
        else:
            self._framed = read_request(block, self._peer)
        self._block, self._around = block, around
        return self._framed


def _with_length(framed: Framed, digits: bytes) -> Framed:
    headers = framed.head.headers
    place = next(
        place for place, (name, _) in enumerate(headers) if name.lower() == b"content-length"
    )
    head = framed.head.with_length(place, digits)
    return Framed(head, int(digits), framed.expects, framed.closes)


class _Collected:
    """What httptools calls back."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value.rstrip(b" \t")))


def read_request(block: bytes, peer: Peer) -> Framed | None:
    """The request of which `block` is the head, its empty line included; None: not for this lane."""
    first = _FIRST_LINE.match(block)
    if first is None or len(first[2]) > TARGET_BYTES_MAX or len(block) > HEADER_BYTES_MAX:
        return None
    collected = _Collected()
    try:
        httptools.HttpRequestParser(collected).feed_data(block)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return None
    headers = tuple(collected.headers)
    hosts, length, closes, expects = 0, 0, False, False
    chunked = False
    for name, value in headers:
        size = len(name)  # most names are told apart by it, at less cost than by their letters
        if size == 4 and name.lower() == b"host":
            hosts += 1
        elif size == 14 and name.lower() == b"content-length":
            if not value.isdigit() or len(value) > _LENGTH_DIGITS_MAX:
                return None
            length = int(value)
        elif size == 17 and name.lower() == b"transfer-encoding":
            if value.lower() != b"chunked":
                return None
            chunked = True
        elif size == 10 and name.lower() == b"connection":
            closes = closes or b"close" in [one.strip() for one in value.lower().split(b",")]
        elif size == 6 and name.lower() == b"expect":
            if value.lower() != b"100-continue":
                return None
            expects = True
    if hosts != 1 or len(headers) > HEADER_COUNT_MAX:
        return None
    head = RequestHead(first[1].decode("ascii"), first[2], headers, peer)
    return Framed(head, None if chunked else length, expects, closes)
