"""The debug log's line: one per attempt at an upstream, with `interface.md` "Files".

Everything is made fit for a file before it leaves the request: headers that carry credentials are
masked, whatever else looks like one is, and bodies are bounded. The credential of a client is only
known for certain while its request runs.
"""

from __future__ import annotations

import msgspec

from protocol.request import Headers
from protocol.request_line import CONTROL_CHARACTERS
from protocol.secrets import MASK, scrub

BODY_CHARACTERS_MAX = 16 * 1024
"""Kept of a body's beginning; the whole conversation is in it, over and over."""

_EDGE = 512
"""Characters dropped where a text is cut: half of a credential would not be recognized."""

_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})
_SECRET_WORDS = ("key", "token", "secret", "password")
_HARMLESS = ("anthropic-ratelimit-",)


class DebugLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One attempt. `ended`: complete | left (we did, or our client) | or the fault's kind.

    `account` is "" where a `provider` was asked.
    `dropped`: debug lines that found no room before this one.
    """

    at: str
    request_id: str
    attempt: int
    account: str
    method: str
    url: str
    request_headers: tuple[tuple[str, str], ...]
    bytes_sent: int
    provider: str = ""
    status: int | None = None
    response_headers: tuple[tuple[str, str], ...] = ()
    bytes_received: int = 0
    ms_head: float | None = None
    ms_total: float = 0.0
    ended: str = "complete"
    detail: str = ""
    request_body: str | None = None
    response_body: str | None = None
    dropped: int = 0


def shown_headers(headers: Headers) -> tuple[tuple[str, str], ...]:
    """Names and values as text; what carries a credential is masked whole."""
    return tuple(
        (name := raw.decode("latin-1"), MASK if _secret(name.lower()) else shown(value))
        for raw, value in headers
    )


def _secret(name: str) -> bool:
    if name.startswith(_HARMLESS):
        return False
    return name in _SECRET_HEADERS or any(word in name for word in _SECRET_WORDS)


def shown(raw: bytes) -> str:
    """A header's value, a target or a detail, as text without credentials."""
    return scrub(raw.decode("latin-1"))


def shown_body(beginning: bytes, *, whole: bool) -> str:
    """A body's beginning as text without credentials; bytes that are no UTF-8 are replaced."""
    text = beginning.decode("utf-8", "replace")
    if whole and len(text) <= BODY_CHARACTERS_MAX:
        return scrub(text)
    kept = scrub(text[: BODY_CHARACTERS_MAX + _EDGE])
    return f"{kept[:-_EDGE]}..."


def encode_debug_line(line: DebugLine) -> bytes:
    """The line with its newline: one line for every reader, whatever its texts hold."""
    return msgspec.json.encode(line).decode().translate(CONTROL_CHARACTERS).encode() + b"\n"
