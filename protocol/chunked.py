"""The chunked transfer coding, taken away while the bytes pass (RFC 9112 section 7.1).

Strict, because two readers that differ over where a body ends is how requests are smuggled: lines
end with CRLF, sizes are hexadecimal digits and nothing else, data is followed by CRLF. Extensions
and trailers are checked for their form and dropped.
"""

from __future__ import annotations

import re

LINE_BYTES_MAX = 64 * 1024
"""Of one size line with its extensions."""
TRAILER_BYTES_MAX = 64 * 1024
TRAILERS_MAX = 100

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,20})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_PLAIN_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")


class MalformedChunks(Exception):
    """The body is not validly framed."""


class ChunkedBody:
    """Feed it what comes after the head; gives back the body's own bytes.

    `ended` turns true with the last line; `rest` is what was fed past it.
    """

    def __init__(self) -> None:
        self.ended = False
        self.rest = b""
        self._left = 0  # bytes of the current chunk that are still to come
        self._line_end_due = False  # after the data of a chunk
        self._in_trailers = False
        self._trailer_bytes = 0
        self._trailers = 0
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """The bytes of the body in `data`; raises MalformedChunks."""
        if not (self._left or self._line_end_due or self._held or self._in_trailers):
            # One chunk, whole and alone, as an event of a stream comes: no need to step through it.
            plain = _PLAIN_SIZE.match(data)
            if plain is not None:
                begin, end = plain.end(), len(data) - 2
                if end - begin == int(plain[1], 16) > 0 and data.endswith(b"\r\n"):
                    return data[begin:end]
        if self._held:
            data, self._held = self._held + data, b""
        found: list[bytes] = []
        place, size = 0, len(data)
        while place < size:
            if self._left:
                piece = data[place : place + self._left]
                found.append(piece)
                place += len(piece)
                self._left -= len(piece)
                self._line_end_due = not self._left
            elif self._line_end_due:
                if size - place < 2 and data[place] == 13:
                    self._held = data[place:]
                    break
                if data[place : place + 2] != b"\r\n":
                    raise MalformedChunks("no line end after the data of a chunk")
                self._line_end_due = False
                place += 2
            else:
                end = data.find(b"\r\n", place)
                if end < 0:
                    self._hold(data[place:])
                    break
                self._take_line(data[place:end])
                place = end + 2
                if self.ended:
                    self.rest = data[place:]
                    break
        return found[0] if len(found) == 1 else b"".join(found)

    def _hold(self, part: bytes) -> None:
        """An unfinished line; one that cannot become valid any more is not waited for."""
        if len(part) > LINE_BYTES_MAX:
            raise MalformedChunks("a line without end")
        form = _TRAILER_BEGUN if self._in_trailers else _SIZE_BEGUN
        if form.fullmatch(part) is None:
            raise MalformedChunks("what stands where a size or a trailer is due is neither")
        self._held = part

    def _take_line(self, line: bytes) -> None:
        if self._in_trailers:
            self._take_trailer(line)
            return
        found = _SIZE.fullmatch(line)
        if found is None or len(line) > LINE_BYTES_MAX:
            raise MalformedChunks("a chunk without a size")
        self._left = int(found[1], 16)
        self._in_trailers = not self._left

    def _take_trailer(self, line: bytes) -> None:
        if not line:
            self.ended = True
            return
        self._trailers += 1
        self._trailer_bytes += len(line)
        if self._trailers > TRAILERS_MAX or self._trailer_bytes > TRAILER_BYTES_MAX:
            raise MalformedChunks("too many trailers")
        if _TRAILER.fullmatch(line) is None:
            raise MalformedChunks("a trailer that is none")


_SIZE_BEGUN = re.compile(rb"(?:[0-9A-Fa-f]{1,20}[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?)?\r?")
_TRAILER_BEGUN = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?::[\t\x20-\x7e\x80-\xff]*)?)?\r?")
