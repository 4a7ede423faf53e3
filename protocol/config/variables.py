"""`${VAR}` and `${VAR:-default}` in texts; `$${` stands for `${` itself.

As in a shell, `:-` also replaces a variable that is set but empty. A default is plain text up to
the next `}`, without references of its own. Other dollar signs mean nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from protocol.config.errors import Refused
from protocol.config.forms import is_utf8

_REFERENCE = re.compile(
    r"(?P<escaped>\$\$\{)|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(:-(?P<default>((?!\$\{)[^}])*))?\}|(?P<broken>\$\{)"
)


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`text` with its references replaced. The values found are not searched for more.

    Raises `Refused` for a variable that is not set and has no default, for one whose value is not
    UTF-8, and for a `${` that starts no reference.
    """

    def replacement(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "${"
        if match["broken"]:
            raise Refused(
                "${NAME} or ${NAME:-default}; $${ for a literal ${",
                found="a ${ that starts no reference to a variable",
            )
        return _value(match["name"], match["default"], variables)

    return _REFERENCE.sub(replacement, text)


def refers(text: str) -> bool:
    """Whether `text` takes anything from a variable."""
    return any(match["name"] for match in _REFERENCE.finditer(text))


def literal(value: object) -> object:
    """`value` with every text in it written so that `expand` gives it back unchanged."""
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, dict):
        return {key: literal(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [literal(item) for item in value]
    return value


def _value(name: str, default: str | None, variables: Mapping[str, str]) -> str:
    value = variables.get(name)
    if default is not None and not value:
        return default
    if value is None:
        raise Refused(
            f"a variable that is set, or ${{{name}:-default}}",
            found=f"the environment variable {name}, which is not set",
        )
    if not is_utf8(value):
        raise Refused(
            "a variable with UTF-8 text in it",
            found=f"the environment variable {name}, which is not UTF-8",
        )
    return value
