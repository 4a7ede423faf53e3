"""Secrets whose variable this shell has not got: for commands that look, and need none of them.

An instance has its variables from where it was started. A second terminal has not, and `supervisor
logs` there wants to know where the logs are, not what a key is.
"""

from __future__ import annotations

from collections.abc import Mapping

from protocol.config.errors import Refused
from protocol.config.variables import expand

STAND_IN = "not-set-here"

SECRET_KEYS = {
    "account": ("api_key", "token"),
    "provider": ("api_key",),
    "probe": ("api_key",),
    "access": ("token",),
}
"""Where the configuration has secrets, by table; and `provider.headers`, all of them."""


def with_stand_ins(
    document: Mapping[str, object], variables: Mapping[str, str]
) -> tuple[dict[str, object], tuple[str, ...]]:
    """`document` with `STAND_IN` for each secret that names a variable that is not set, and their
    places (`account[0].api_key`). Everything else stays, and so do other mistakes."""
    unset: list[str] = []

    def table(name: str, place: str, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        changed = dict(value)
        for key in SECRET_KEYS[name]:
            if _is_unset(value.get(key), variables):
                changed[key] = STAND_IN
                unset.append(f"{place}.{key}")
        headers = value.get("headers")
        if name == "provider" and isinstance(headers, Mapping):
            names = [key for key, text in headers.items() if _is_unset(text, variables)]
            changed["headers"] = {**headers, **dict.fromkeys(names, STAND_IN)}
            unset.extend(f"{place}.headers.{key}" for key in names)
        return changed

    found = dict(document)
    for name in SECRET_KEYS.keys() & document.keys():
        value = document[name]
        found[name] = (
            [table(name, f"{name}[{number}]", item) for number, item in enumerate(value)]
            if isinstance(value, list)
            else table(name, name, value)
        )
    return found, tuple(unset)


def _is_unset(raw: object, variables: Mapping[str, str]) -> bool:
    """Whether `raw` fails for a variable that is not set, and would not with one that is."""
    if not isinstance(raw, str):
        return False
    try:
        expand(raw, variables)
    except Refused:
        try:
            expand(raw, _AllSet(variables))
        except Refused:
            return False
        return True
    return False


class _AllSet(dict[str, str]):
    """Variables, of which each that is asked for is there."""

    def get(self, name: str, default: object = None) -> str:
        return super().get(name, STAND_IN)
