"""A few events out of a long stream, at hardly any cost for all the others.

`protocol.sse.EventScanner` gives every event with its data. Here the names that matter are known
beforehand: the data of all other events is skipped line by line, neither copied together nor kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Set

from protocol.sse import Event

PICKED_BYTES_MAX = 256 * 1024
"""Bytes kept of one event; of a larger one only the name is told, with empty data."""
SKIPPED_LINE_BYTES = 1024
"""Kept of an unfinished line that is to be skipped: whether it is a name is still to be seen."""
SMALL_BYTES = 512

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def _skipper(names: Set[bytes]) -> Callable[[bytes, int], int]:
    """Steps over events that are not picked, as long as they are written in the usual way: a name
    and its data. Whatever else comes is left to be read line by line."""
    picked = b"|".join(re.escape(name) for name in sorted(names))
    row = re.compile(rb"(?:event: (?!(?:%b)\n)[^\n]++\ndata:[^\n]*+\n\n)*+" % picked)

    def skip(chunk: bytes, start: int) -> int:
        found = row.match(chunk, start)
        return start if found is None else found.end()

    return skip


class EventPicker:
    """Feed it chunks split anywhere; it gives back the picked events that they complete.

    Picked are the events with one of `names`, and those without any name. Total: no bytes make it
    raise. Of an event that is named twice only the data after the last name counts.
    """

    def __init__(self, names: Set[bytes]) -> None:
        self._names = names
        self._skip = _skipper(names)
        self._name = b""
        self._skipping = False
        self._data: list[bytes] = []
        self._size = 0
        self._too_large = False
        self._rest = bytearray()
        self._after_cr = False
        self._first_line = True

    def feed(self, chunk: bytes) -> list[Event]:
        """The picked events that are completed by `chunk`."""
        if self._after_cr or b"\r" in chunk:
            chunk = self._with_line_feeds(chunk)
        picked: list[Event] = []
        start, size = 0, len(chunk)
        while start < size:
            if self._between_events():
                start = self._skip(chunk, start)
            end = -1
            # Line by line to the end where little is left, and where events have no names.
            if size - start > SMALL_BYTES and not chunk.startswith(b"data", start):
                end = chunk.find(b"\n\n", start)
            end = size if end < 0 else end + 2
            if start < end:
                self._read(chunk[start:end] if end - start < size else chunk, picked)
            start = end
        return picked

    def _between_events(self) -> bool:
        return not (self._first_line or self._rest or self._name or self._data or self._too_large)

    def _read(self, chunk: bytes, picked: list[Event]) -> None:
        lines = chunk.split(b"\n")
        if self._rest or len(lines) == 1:
            self._keep(lines[0])
            if len(lines) == 1:
                return
            lines[0] = bytes(self._rest)
            self._rest.clear()
        rest = lines.pop()
        if self._first_line:
            self._first_line = False
            lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)
        for line in lines:
            if not line:
                event = self._end_event()
                if event is not None:
                    picked.append(event)
            elif line.startswith(b"event"):
                self._take_name(line)
            elif not self._skipping and line.startswith(b"data"):
                self._take_data(line)
        self._keep(rest)

    def _with_line_feeds(self, chunk: bytes) -> bytes:
        if not chunk:
            return chunk
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]  # the second half of a CRLF
            self._after_cr = False
        self._after_cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _keep(self, part: bytes) -> None:
        """The unfinished line grows, up to its bound."""
        most = SKIPPED_LINE_BYTES if self._skipping else PICKED_BYTES_MAX
        room = most - len(self._rest)
        if len(part) > room:
            self._too_large = True
        if part and room > 0:
            self._rest += part[:room]

    def _take_name(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        if field == b"event":
            self._name = value.removeprefix(b" ")
            self._skipping = bool(self._name) and self._name not in self._names

    def _take_data(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        if field != b"data":
            return
        self._size += len(line)
        if self._size > PICKED_BYTES_MAX:
            self._too_large = True
        else:
            self._data.append(value.removeprefix(b" "))

    def _end_event(self) -> Event | None:
        if self._skipping:
            event = None
        elif not self._name and not self._data and not self._too_large:
            return None
        else:
            data = b"" if self._too_large else b"\n".join(self._data)
            event = Event(self._name.decode("utf-8", "replace"), data)
        self._name, self._skipping, self._data = b"", False, []
        self._size, self._too_large = 0, False
        return event
