"""What cannot be said in the other dialect."""

from __future__ import annotations

from typing import Any

from protocol.errors import Problem

Json = dict[str, Any]


class Untranslatable(Exception):
    """The request cannot be served by this upstream; the message names the part and the reason."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(400, message)


def unfit(where: str, reason: str) -> Untranslatable:
    """`where` is a path in the request, e.g. `messages[3].content[0]`."""
    return Untranslatable(f"{where}: {reason}")


def capability_rejected(kind: str) -> Untranslatable:
    """A refusal that Claude Code answers by leaving that part out: the whole message is its token
    (`wire.md` A10, stable tokens)."""
    return Untranslatable(f"capability_rejected: {kind}")


def as_object(value: object, where: str) -> Json:
    """Raises Untranslatable when `value` is not a JSON object."""
    if not isinstance(value, dict):
        raise unfit(where, f"must be an object, not {kind_of(value)}")
    return value


def as_list(value: object, where: str) -> list[Any]:
    """Raises Untranslatable when `value` is not a JSON array."""
    if not isinstance(value, list):
        raise unfit(where, f"must be an array, not {kind_of(value)}")
    return value


def as_text(value: object, where: str) -> str:
    """Raises Untranslatable when `value` is not a JSON string."""
    if not isinstance(value, str):
        raise unfit(where, f"must be a string, not {kind_of(value)}")
    return value


def as_number(value: object, where: str) -> float:
    """Raises Untranslatable when `value` is not a JSON number that a machine can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise unfit(where, f"must be a number, not {kind_of(value)}")
    try:
        return float(value)
    except OverflowError:
        raise unfit(where, "is too large") from None


def kind_of(value: object) -> str:
    """The JSON name of a value's type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"
