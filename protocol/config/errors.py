"""What is wrong with a configuration, said so that its author can repair it.

Nothing here repeats a credential. A secret's value is never described, whatever its type; and any
other text that is quoted passes `scrub` and loses the user, password and query of a URL, because
the most usual mistake with a key is to write it in the wrong place.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable

from msgspec import Struct

from protocol.secrets import MASK, scrub

LONGEST_QUOTE = 80
"""Characters of a wrong value that a message repeats."""
LARGEST_INTEGER = 2**63 - 1
"""TOML's own limit; Python would read on."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_URL_SECRETS = re.compile(r"(?s)(?<=//).*@|(?<=\?).*")


class ConfigError(Struct, frozen=True):
    """One mistake: where it stands, what stands there, and what may stand there."""

    source: str
    """The file, `environment SUPERVISOR_X` or `command line`."""
    path: str
    """`account[1].weight`: the key's full path, array positions from 0; empty for the whole file."""
    found: str
    allowed: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.source}: {self.path}" if self.path else self.source
        text = f"{place}: found {self.found}; allowed: {self.allowed}"
        return f"{text} ({self.hint})" if self.hint else text


class ConfigInvalid(Exception):
    """The configuration cannot be used. Carries every mistake in it, not the first."""

    def __init__(self, errors: tuple[ConfigError, ...]) -> None:
        super().__init__(*(str(error) for error in errors))
        self.errors = errors

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


class Refused(Exception):
    """A single value is not allowed; whoever knows its place makes a `ConfigError` of it."""

    def __init__(self, allowed: str, found: str | None = None, hint: str = "") -> None:
        super().__init__(allowed)
        self.allowed = allowed
        self.found = found
        self.hint = hint


def join(path: str, key: str) -> str:
    """The path of `key` in the table at `path`; a key TOML would quote is quoted."""
    key = key if _BARE_KEY.fullmatch(key) else json.dumps(_shortened(key))
    return scrub(f"{path}.{key}" if path else key)


def quote(text: str) -> str:
    """`text` for a message: on one line, not too long, without anything secret."""
    return json.dumps(_shortened(_URL_SECRETS.sub(MASK, scrub(text))))


def kind_of(value: object) -> str:
    """What sort of TOML value this is, without the value."""
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, list | tuple):
        return "an array"
    if isinstance(value, dict):
        return "a table"
    return "nothing" if value is None else f"a {type(value).__name__}"


def describe(value: object) -> str:
    """What was found, for a message: the kind, and the value where it fits on a line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        return "a number of more than 64 bits"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text {quote(value)}" if value else "an empty text"
    return kind_of(value)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint for a misspelt `word`, or an empty text."""
    close = difflib.get_close_matches(word[:LONGEST_QUOTE], sorted(known), n=1)
    return f"did you mean {close[0]}?" if close else ""


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + "..."
