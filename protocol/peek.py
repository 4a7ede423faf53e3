"""The two facts of a request body that decide where it goes, read without changing a byte.

The body itself is forwarded as the client sent it. What cannot be read (malformed JSON, bytes that
are no UTF-8, thousands of nested brackets) is forwarded unread: the upstream's own error is the one
that a client understands.
"""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

T = TypeVar("T")


class Peek(msgspec.Struct, frozen=True):
    """The model asked for and whether an event stream is wanted."""

    model: str | None = None
    stream: bool = False


class _Body(msgspec.Struct):
    model: object = None
    stream: object = False


_decoder = msgspec.json.Decoder(_Body)

# UnicodeDecodeError: what msgspec raises for a text that is no UTF-8.
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

# JavaScript writes half an emoji (a tool's output cut in the middle) as such an escape, and
# upstreams take it; msgspec does not.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


def peek(body: bytes) -> Peek:
    """What `body` asks for; an empty `Peek` when it cannot be read."""
    found = read_json(_decoder, body)
    if found is None:
        return Peek()
    return Peek(
        model=found.model if isinstance(found.model, str) else None,
        stream=found.stream is True,
    )


def read_json(decoder: msgspec.json.Decoder[T], text: bytes) -> T | None:
    """What `decoder` makes of `text`, halves of characters allowed; None when it cannot be read."""
    try:
        return decoder.decode(text)
    except _UNREADABLE:
        if _SURROGATE.search(text) is None:
            return None
    try:
        return decoder.decode(_SURROGATE.sub(rb"\\ufffd", text))
    except _UNREADABLE:
        return None


class ErrorInfo(msgspec.Struct, frozen=True):
    """Type and message of an upstream's error body; empty where there is none."""

    type: str = ""
    message: str = ""


def error_info(body: bytes) -> ErrorInfo:
    """Reads `{"error": {"type", "message"}}`, the shape both dialects share."""
    try:
        document = msgspec.json.decode(body)
    except _UNREADABLE:
        return ErrorInfo()
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict):
        return ErrorInfo()
    kind, message = error.get("type"), error.get("message")
    return ErrorInfo(
        type=kind if isinstance(kind, str) else "",
        message=message if isinstance(message, str) else "",
    )
