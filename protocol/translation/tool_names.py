"""Tool names that fit a target, and the way back.

Names of MCP tools may be longer than some upstreams take. A name that fits is left alone; another
is shortened to what fits, with a hash of the whole, the same one in every turn.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

NAME_MAX = 64
"""Characters that OpenAI and Gemini take."""
_FITS = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}\Z")
_STRANGE = re.compile(r"[^A-Za-z0-9_-]")
_NINE = re.compile(r"[A-Za-z0-9]{9}")
_HASH = 8

CALL_ID_MAX = 40
"""Characters that OpenAI takes of a tool call's id."""


class ToolNames:
    """The names of one request, both ways. A name that was never sent comes back as it is."""

    def __init__(self, names: Iterable[str]) -> None:
        self._there = {name: _fitting(name) for name in names}
        self._back = {sent: name for name, sent in self._there.items()}

    def there(self, name: str) -> str:
        """What the target is told; also for a tool that only an earlier turn knew."""
        return self._there.get(name) or _fitting(name)

    def back(self, sent: str) -> str:
        """What the client calls it."""
        return self._back.get(sent, sent)


def fitting_id(call: str, *, nine: bool = False) -> str:
    """The same id for a call and for its result, short enough for every target.

    `nine`: for one that takes nine letters and digits, no more, no less and nothing else.
    """
    if nine:
        return call if _NINE.fullmatch(call) else _hash(call, 9)
    if len(call) <= CALL_ID_MAX:
        return call
    return f"{call[: CALL_ID_MAX - _HASH - 1]}_{_hash(call)}"


def plain_id(call: str) -> str:
    """The same id for a call and for its result, in characters that Anthropic takes."""
    return (
        call if call and not _STRANGE.search(call) else f"{_STRANGE.sub('_', call)}_{_hash(call)}"
    )


def _fitting(name: str) -> str:
    if _FITS.match(name):
        return name
    plain = _STRANGE.sub("_", name)
    if not plain or not (plain[0].isalpha() or plain[0] == "_"):
        plain = f"_{plain}"
    return f"{plain[: NAME_MAX - _HASH - 1]}_{_hash(name)}"


def _hash(text: str, digits: int = _HASH) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:digits]
