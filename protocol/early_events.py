"""When a stream is worth showing: judged from its first events, which are held back until then.

Upstreams answer 200 and then, as the first event, an error (overload above all). While nothing
has reached the client, another account can still serve.
"""

from __future__ import annotations

import re

import msgspec

from protocol.peek import ErrorInfo, error_info
from protocol.sse import Event, EventScanner

HOLD_SECONDS = 1.0
"""After the head: a client must not wait for our curiosity."""
HOLD_BYTES_MAX = 64 * 1024
PIECE_BYTES = 1024

# What comes before the first content in every healthy stream (`wire.md` B4, A17).
_PREFACE = frozenset({"message_start", "ping"})


# How a healthy stream of Anthropic's begins, to its first content. Its events need not be taken apart.
_USUAL = re.compile(
    rb"event: message_start\ndata: [^\n]*\n\n(?:event: ping\ndata: [^\n]*\n\n)*"
    rb"event: content_block_start\ndata: [^\n]*\n\n"
)


class EarlyEvents:
    """Feed it the first chunks; `settled` says that it has seen enough.

    `error` is set when an error event came before any content.
    """

    def __init__(self) -> None:
        self._scanner = EventScanner()
        self._room = HOLD_BYTES_MAX
        self.settled = False
        self._begun = False
        self.error: ErrorInfo | None = None

    def feed(self, chunk: bytes) -> None:
        """Looks at one more chunk; once settled, nothing changes any more."""
        if self.settled:
            return
        if not self._begun:
            self._begun = True
            if _USUAL.match(chunk) is not None:
                self.settled = True
                return
        # Never past the bound, so that the decision does not depend on how the bytes arrived; and
        # piece by piece, because one chunk may bring a thousand events after the one that decides.
        for start in range(0, min(len(chunk), self._room), PIECE_BYTES):
            for event in self._scanner.feed(chunk[start : min(start + PIECE_BYTES, self._room)]):
                kind = _kind(event)
                if kind == "error":
                    self.error = error_info(event.data)
                if kind not in _PREFACE:
                    self.settled = True
                    return
        self._room -= len(chunk)
        self.settled = self._room < 0


class _Data(msgspec.Struct):
    type: object = None
    error: object = None


_decoder = msgspec.json.Decoder(_Data)


def _kind(event: Event) -> str:
    """The event's name; of one without, what its data says (the OpenAI dialect has no names)."""
    if event.name:
        return event.name
    try:
        data = _decoder.decode(event.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    if data.error is not None:
        return "error"
    return data.type if isinstance(data.type, str) else ""
