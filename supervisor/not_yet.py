"""What may be written in the configuration but has no effect in this version.

One table, to be shortened as the program grows. A key stands here with the value at which the
program already does what that value says: writing that one deserves no warning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Final

from protocol.config import Config, ConfigError, leaves

_NOTHING: Final = object()
"""No value of this key describes what this version does."""

NOT_YET: Mapping[str, object] = {
    "provider.*": _NOTHING,
    "fallback.*": _NOTHING,
    "route.*": _NOTHING,
    "redirect.*": "",
    "models.aliases": {},
    "models.long_context": (),
}
"""Key path (`*`: every key of the section; the first that fits counts) -> the value that is so."""

_POSITION = re.compile(r"\[\d+\]")
_ARRAYS_OF_TABLES = ("provider", "fallback", "route")


def ignored_keys(config: Config, origins: Mapping[str, str]) -> tuple[str, ...]:
    """Key paths that were written but that this version does not act on.

    An entry of an array of tables that is ignored as a whole is named once, as `provider[0]`.
    """
    found: dict[str, None] = {}
    for path, value in leaves(config):
        if origins.get(path, "default") == "default" or not _is_ignored(path, value):
            continue
        entry = path.partition(".")[0]
        found.setdefault(entry if entry.partition("[")[0] in _ARRAYS_OF_TABLES else path)
    return tuple(found)


def refused_keys(config: Config, source: str) -> Iterator[ConfigError]:
    """Keys that would leave the user in front of a closed door, were they merely ignored."""
    if config.access.keys:
        yield ConfigError(
            source,
            "access.keys",
            found="true",
            allowed="false",
            hint="this version has no `supervisor keys` yet, so nobody could get in; "
            "use access.token",
        )


def _is_ignored(path: str, value: object) -> bool:
    plain = _POSITION.sub("", path)
    for pattern, same in NOT_YET.items():
        if fnmatchcase(plain, pattern):
            return same is _NOTHING or value != same
    return False
