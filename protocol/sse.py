"""Reading an event stream beside its relaying: the bytes pass on, the events are only looked at.

Total by construction: whatever the bytes are, `feed` returns events or nothing and never raises.
An event larger than the scanner's limit is not kept; it is reported by its name with empty data,
and as cut.
"""

from __future__ import annotations

import msgspec

EVENT_BYTES_MAX = 1024 * 1024
"""Bytes kept of one event: of its data lines together (`reliability.md` U5)."""

SHORT_LINE_BYTES = 1024
"""Kept of every line, also in an event whose data is too large: its name is still to come."""


class Event(msgspec.Struct, frozen=True):
    """One server-sent event: its `event:` name ("" when it has none) and its joined data.

    `cut`: it was too large to be kept, so there is no data.
    """

    name: str
    data: bytes
    cut: bool = False


class EventScanner:
    """Feed it chunks split anywhere; it gives back the events that they complete.

    Lines end in LF, CR or CRLF (WHATWG server-sent events), also when the pair is split between
    two chunks. `bytes_max` is kept of one event.
    """

    def __init__(self, bytes_max: int | None = None) -> None:
        self._bytes_max = EVENT_BYTES_MAX if bytes_max is None else bytes_max
        self._line = bytearray()
        self._name = b""
        self._data: list[bytes] = []
        self._has_data = False
        self._kept = 0
        self._after_cr = False
        self._first_line = True

    def feed(self, chunk: bytes) -> list[Event]:
        """The events completed by `chunk`."""
        if not chunk:
            return []
        if self._after_cr and chunk[:1] == b"\n":
            chunk = chunk[1:]  # the second half of a CRLF
        self._after_cr = chunk[-1:] == b"\r"
        events: list[Event] = []
        normal = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *complete, rest = normal.split(b"\n")
        for part in complete:
            self._extend(part)
            event = self._end_line()
            if event is not None:
                events.append(event)
        self._extend(rest)
        return events

    def _extend(self, part: bytes) -> None:
        room = max(self._bytes_max - self._kept, SHORT_LINE_BYTES) - len(self._line)
        self._line += part[:room]

    def _end_line(self) -> Event | None:
        line = bytes(self._line)
        self._line.clear()
        if self._first_line:
            line = line.removeprefix(b"\xef\xbb\xbf")
            self._first_line = False
        if not line:
            return self._end_event()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            self._name = value[:SHORT_LINE_BYTES]
        elif field == b"data":
            self._add_data(value, len(line) + 1)
        return None

    def _add_data(self, value: bytes, size: int) -> None:
        """`size` counts the line with its end: a line of no data is not free of memory, and one
        that was cut at the limit is past it."""
        self._has_data = True
        self._kept += size
        if self._kept > self._bytes_max:
            self._data.clear()
        else:
            self._data.append(value)

    def _end_event(self) -> Event | None:
        if not self._has_data and not self._name:
            return None
        event = Event(
            name=self._name.decode("utf-8", "replace"),
            data=b"\n".join(self._data),
            cut=self._kept > self._bytes_max,
        )
        self._name, self._data, self._has_data, self._kept = b"", [], False, 0
        return event
