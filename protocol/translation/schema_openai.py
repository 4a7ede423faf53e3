"""A tool's JSON schema as OpenAI takes it: with the two keywords that only it demands.

"object schema missing properties" and "array schema missing items" are its words for schemas that
Anthropic accepts, and one such tool fails the whole request.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

DEPTH_MAX = 64
"""What lies deeper is sent as it is."""

_ONE = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_SEVERAL = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")


def completed(schema: Json) -> Json:
    """The schema of a tool's input, nothing taken away from it."""
    found = _completed(schema, 0)
    if found.get("type") == "object" and not isinstance(found.get("properties"), dict):
        found["properties"] = {}
    return found


def _completed(schema: Any, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > DEPTH_MAX:
        return schema
    found = dict(schema)
    for key in _ONE:
        if key in found:
            found[key] = _completed(found[key], depth + 1)
    for key in _SEVERAL:
        if isinstance(found.get(key), list):
            found[key] = [_completed(part, depth + 1) for part in found[key]]
    for key in _NAMED:
        if isinstance(found.get(key), dict):
            found[key] = {name: _completed(part, depth + 1) for name, part in found[key].items()}
    kinds = found.get("type")
    if kinds == "array" or (isinstance(kinds, list) and "array" in kinds):
        found.setdefault("items", {})
    return found
