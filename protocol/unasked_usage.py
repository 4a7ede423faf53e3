"""Usage that a client of OpenAI's dialect did not ask for.

Providers tell what a stream has used only to who asks for it. A key with a limit of tokens or dollars
would never spend any by not asking. So for such a key it is always asked for (`body_edit`), and the
chunk that tells it goes to the client only where that wanted it: some fail at one without choices.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from protocol.peek import read_json

KEPT_BYTES_MAX = 256 * 1024
"""Of one event; a longer one passes as it comes, and so does what follows it."""

_END = re.compile(rb"\r?\n\r?\n")
_document = msgspec.json.Decoder(dict[str, Any])


class UsageLeftOut:
    """A stream without the chunks that have nothing but usage; all else byte for byte."""

    def __init__(self) -> None:
        self._kept = b""
        self._passing = False

    def feed(self, chunk: bytes) -> bytes:
        """What can go on now: whole events."""
        if self._passing:
            return chunk
        kept, place, pieces = self._kept + chunk, 0, list[bytes]()
        for end in _END.finditer(kept, max(len(self._kept) - 3, 0)):  # an end may lie between two
            event = kept[place : end.end()]
            place = end.end()
            if not _is_usage_alone(event):
                pieces.append(event)
        self._kept = kept[place:]
        if len(self._kept) > KEPT_BYTES_MAX:
            pieces.append(self._kept)
            self._kept, self._passing = b"", True
        return b"".join(pieces)

    def finish(self) -> bytes:
        """What was waiting for its end."""
        rest, self._kept = self._kept, b""
        return b"" if _is_usage_alone(rest) else rest


def _is_usage_alone(event: bytes) -> bool:
    if b'"usage"' not in event:
        return False
    _, found, data = event.strip().partition(b"data:")
    chunk = read_json(_document, data) if found else None
    return chunk is not None and chunk.get("choices") == [] and isinstance(chunk.get("usage"), dict)
