"""JSON schemas as OpenAI and Anthropic demand them, nothing taken away from them.

OpenAI, of a tool's input: "object schema missing properties" and "array schema missing items" are its
words for schemas that Anthropic accepts, and one such tool fails the whole request. Anthropic, of an
answer: each object has to say that it has no other fields.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Json = dict[str, Any]

DEPTH_MAX = 64
"""What lies deeper is sent as it is."""

_ONE = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_SEVERAL = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")


def completed(schema: Json) -> Json:
    """The schema of a tool's input, for OpenAI."""
    found: Json = _changed(schema, _with_items, 0)
    if found.get("type") == "object" and not isinstance(found.get("properties"), dict):
        found["properties"] = {}
    return found


def closed(schema: Json) -> Json:
    """The schema of an answer, for Anthropic."""
    found: Json = _changed(schema, _without_others, 0)
    return found


def _with_items(schema: Json) -> None:
    if _may_be(schema, "array"):
        schema.setdefault("items", {})


def _without_others(schema: Json) -> None:
    if _may_be(schema, "object") or ("type" not in schema and "properties" in schema):
        schema.setdefault("additionalProperties", False)


def _may_be(schema: Json, kind: str) -> bool:
    kinds = schema.get("type")
    return kinds == kind or (isinstance(kinds, list) and kind in kinds)


def _changed(schema: Any, change: Callable[[Json], None], depth: int) -> Any:
    """A copy in which every schema was given to `change`."""
    if not isinstance(schema, dict) or depth > DEPTH_MAX:
        return schema
    found = dict(schema)
    for key in _ONE:
        if key in found:
            found[key] = _changed(found[key], change, depth + 1)
    for key in _SEVERAL:
        if isinstance(found.get(key), list):
            found[key] = [_changed(part, change, depth + 1) for part in found[key]]
    for key in _NAMED:
        if isinstance(found.get(key), dict):
            parts = found[key].items()
            found[key] = {name: _changed(part, change, depth + 1) for name, part in parts}
    change(found)
    return found
