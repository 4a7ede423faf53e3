"""Marking the signatures in an Anthropic-compatible provider's answer as its own.

Everything else passes byte for byte; what cannot be read passes as it is.
"""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.peek import read_json
from protocol.translation.foreign_state import signed

Json = dict[str, Any]

LINE_BYTES_MAX = 1024 * 1024
"""A longer line holds no signature that anybody wants back; it is not waited for."""

_FIELDS = {"thinking": "signature", "redacted_thinking": "data", "signature_delta": "signature"}
"""Where a block or a delta has what only its maker can read."""

_document = msgspec.json.Decoder(dict[str, Any])


class StreamMarks:
    """Feed it the chunks of an event stream; lines that have a signature wait for their end."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._rest = b""
        self._passing = False

    def feed(self, chunk: bytes) -> bytes:
        """What can go on now."""
        *complete, rest = (self._rest + chunk).split(b"\n")
        pieces: list[bytes] = []
        for line in complete:
            pieces += [line if self._passing else self._line(line), b"\n"]
            self._passing = False
        self._rest = rest
        if self._passing or len(rest) > LINE_BYTES_MAX:
            self._passing, self._rest = True, b""
            pieces.append(rest)
        return b"".join(pieces)

    def finish(self) -> bytes:
        """What was waiting for its end."""
        rest, self._rest = self._rest, b""
        return rest if self._passing else self._line(rest)

    def _line(self, line: bytes) -> bytes:
        if not line.startswith(b"data:") or not _may_sign(line):
            return line
        data = read_json(_document, line[len(b"data:") :])
        if data is None:
            return line
        for field in ("content_block", "delta"):
            part = data.get(field)
            if isinstance(part, dict) and _mark(part, self._provider):
                end = b"\r" if line.endswith(b"\r") else b""
                return b"data: " + msgspec.json.encode(data) + end
        return line


def marked_message(body: bytes, provider: str) -> bytes:
    """A whole answer with its signatures marked; `body` itself when there are none."""
    message = read_json(_document, body) if _may_sign(body) else None
    content = message.get("content") if message is not None else None
    if message is None or not isinstance(content, list):
        return body
    found = [isinstance(block, dict) and _mark(block, provider) for block in content]
    return msgspec.json.encode(message) if any(found) else body


def _may_sign(text: bytes) -> bool:
    return b"thinking" in text or b"signature" in text


def _mark(part: Json, provider: str) -> bool:
    field = _FIELDS.get(str(part.get("type")))
    if field is None:
        return False
    given = part.get(field)
    part[field] = signed(given if isinstance(given, str) else "", provider)
    return True
