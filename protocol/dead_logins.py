"""`logins.json`: logins in other people's files that only their owner can bring back.

Such a file is not ours to mark, so the state directory remembers a digest of the refresh token that
was refused. Another token in the file is another digest: that lifts it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

KEPT = 200
"""The newest; each stands for a token that will never be seen again."""


class _File(msgspec.Struct, frozen=True):
    version: Literal[1]
    needs_login: tuple[str, ...] = msgspec.field(default=(), name="needsLogin")


def decode(data: bytes) -> frozenset[str]:
    """Raises ValueError for anything that `encode` would not have written."""
    try:
        return frozenset(msgspec.json.decode(data, type=_File).needs_login)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def encode(digests: frozenset[str], newest: str) -> bytes:
    """The file's content, `newest` among them."""
    kept = (newest, *sorted(digests - {newest}))[:KEPT]
    return msgspec.json.encode(_File(1, kept)) + b"\n"
