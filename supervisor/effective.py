"""The configuration as it is in effect, as TOML again: what `supervisor check` prints.

The text is a valid configuration file that means the same, except that every secret is `***`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import tomli_w

from protocol.config.variables import literal
from protocol.request_line import escaped
from protocol.secrets import MASK, Secret, scrub

if TYPE_CHECKING:
    from supervisor.configuration import Loaded

_SECRET_NAME = re.compile(r"(?i)key|token|secret|password|authorization|header")
"""Names of variables and metadata whose values are better not shown."""
_INDENT = "    "


def render_effective(loaded: Loaded) -> str:
    """Every key with its value; beside what is not a default, where it came from."""
    lines = [f"# {loaded.path or 'no configuration file: defaults only'}"]
    for field in msgspec.structs.fields(loaded.config):
        value = getattr(loaded.config, field.name)
        if isinstance(value, tuple):
            for position, entry in enumerate(value):
                path = f"{field.encode_name}[{position}]"
                lines += ["", f"[[{field.encode_name}]]", *_keys(entry, path, loaded.origins)]
        else:
            name = field.encode_name
            lines += ["", f"[{name}]", *_keys(value, name, loaded.origins)]
    return escaped("\n".join(lines) + "\n")


def _keys(struct: msgspec.Struct, path: str, origins: Mapping[str, str]) -> list[str]:
    lines = []
    for field in msgspec.structs.fields(struct):
        value = getattr(struct, field.name)
        if value is None and path.startswith("account["):
            continue  # the credentials this account does not have; written, they would be errors
        line = f"{_key(field.encode_name)} = {toml_value(value, hide=field.name != 'headers')}"
        origin = origins.get(f"{path}.{field.encode_name}", "default")
        lines.append(line if origin == "default" else f"{line}  # {origin}")
    return lines


def _key(name: str) -> str:
    return tomli_w.dumps({name: 0}).rpartition(" = ")[0]


def toml_value(value: Any, *, hide: bool = True) -> str:
    """One value on one line; tomli_w would give a mapping a table of its own.

    With `hide`, values of a mapping whose names look like a secret's are masked.
    """
    if value is None:
        return '""'
    if isinstance(value, Secret):
        return f'"{MASK}"'
    if isinstance(value, Mapping):
        items = (
            f"{_key(k)} = {_hidden(k, v) if hide else toml_value(v)}" for k, v in value.items()
        )
        return "{ " + ", ".join(items) + " }" if value else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, str):
        value = literal(scrub(value))
    return tomli_w.dumps({"v": value}).removeprefix("v = ").rstrip("\n")


def _hidden(name: str, value: object) -> str:
    if isinstance(value, str) and value and _SECRET_NAME.search(name):
        return f'"{MASK}"'
    return toml_value(value)
