"""Single settings from the environment or the command line, laid over the file.

`SUPERVISOR_SERVER_PORT` is `server.port`: every key of a plain table has such a variable; the
arrays of tables (`[[account]]`) have none. The value is read as TOML, and where it is none, or where
the key wants a text and TOML would make something else of it, it is the text itself.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping

from msgspec import Struct

from protocol.config.schema import Rule, settings
from protocol.config.variables import literal

PREFIX = "SUPERVISOR_"
OTHER_VARIABLES = frozenset({"SUPERVISOR_CONFIG", "SUPERVISOR_STATE_DIR"})
"""Read elsewhere; not keys of the configuration."""


class Setting(Struct, frozen=True):
    """One value with the place it came from."""

    path: str
    """`section.key`."""
    value: object = None
    origin: str = ""
    """`environment SUPERVISOR_X` or `command line`."""

    def __repr__(self) -> str:
        return f"Setting({self.path!r}, origin={self.origin!r})"


class EnvironmentOverlay(Struct, frozen=True):
    """What the environment sets, and which of its variables mean nothing to us."""

    settings: tuple[Setting, ...]
    unknown: tuple[str, ...]
    """Names that begin with `SUPERVISOR_` and belong to no key: worth a warning, never an error."""


def variable_name(path: str) -> str:
    """The environment variable of a key: `SUPERVISOR_SERVER_PORT` of `server.port`."""
    return PREFIX + path.replace(".", "_").upper()


def environment_overlay(variables: Mapping[str, str]) -> EnvironmentOverlay:
    """The settings in an environment, in the order of their names."""
    paths = {variable_name(path): path for path in settings()}
    found: list[Setting] = []
    unknown: list[str] = []
    for name in sorted(name for name in variables if name.startswith(PREFIX)):
        if name in paths:
            path = paths[name]
            value = _parsed(variables[name], settings()[path])
            found.append(Setting(path, value, f"environment {name}"))
        elif name not in OTHER_VARIABLES:
            unknown.append(name)
    return EnvironmentOverlay(tuple(found), tuple(unknown))


def merged(document: Mapping[str, object], overlay: Iterable[Setting]) -> dict[str, object]:
    """`document` with the settings in place of its own values; a later setting wins.

    Their texts are kept as they are: `${VAR}` is for the file, a shell has already expanded these.
    A section that is no table stays, so that it is reported.
    """
    result = dict(document)
    for setting in overlay:
        section, _, key = setting.path.partition(".")
        table = result.get(section, {})
        if isinstance(table, dict):
            result[section] = {**table, key: literal(setting.value)}
    return result


def _parsed(text: str, rule: Rule) -> object:
    try:
        document = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    value = document["value"]
    if len(document) > 1 or (rule.is_text and not isinstance(value, str)):
        return text
    return value
