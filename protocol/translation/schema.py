"""A tool's JSON schema in the subset that Gemini takes (`wire.md` D1, `peers.md` P17).

By allow-list: a keyword that is not known to be taken is left out. The result never demands what
the original did not know, so a call that the model makes may still break the original's finer rules;
the client checks those, as it does anyway.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

DEPTH_MAX = 32
"""References and nesting are followed so deep; what lies deeper is any object."""
NODES_MAX = 5000
"""Schemas in the result. References multiply: a few lines can stand for more than any memory holds.
What comes after so many is any object, as is a schema inside of itself."""

_SAID = ("title", "description")
_COPIED = (
    *_SAID,
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "minProperties",
    "maxProperties",
    "pattern",
    "minimum",
    "maximum",
    "default",
)
_FORMATS = {
    "string": {"date-time", "enum"},
    "integer": {"int32", "int64"},
    "number": {"float", "double"},
}
_TYPES = ("string", "number", "integer", "boolean", "array", "object")


class _Place:
    """Where a schema stands: in which document, how deep, and inside of which references."""

    def __init__(self, root: Json) -> None:
        self.root = root
        self.depth = 0
        self.inside: frozenset[str] = frozenset()
        self.room = [NODES_MAX]

    def below(self, reference: str | None = None) -> _Place:
        """One step down, through a reference or into a part."""
        place = _Place(self.root)
        place.depth, place.room = self.depth + 1, self.room
        place.inside = self.inside if reference is None else self.inside | {reference}
        return place

    def ends_here(self) -> bool:
        """Takes room for one schema more; true where there is none, or it is too deep."""
        self.room[0] -= 1
        return self.depth > DEPTH_MAX or self.room[0] < 0


def cleaned(schema: Json) -> Json:
    """The schema of a tool's input: always of type object."""
    found = _clean(schema, _Place(schema))
    found.pop("nullable", None)
    if found.get("type") != "object":
        # `anyOf` at the top, or no object at all: no target takes a call without named arguments.
        merged = _merged(found.get("anyOf", ()))
        kept = ("description", "properties", "required")
        found = {"type": "object", **{key: merged[key] for key in kept if key in merged}}
    return found


def _clean(schema: Any, at: _Place) -> Json:
    if not isinstance(schema, dict) or at.ends_here():
        return {"type": "object"}
    reference = schema.get("$ref")
    if isinstance(reference, str):
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        if reference in at.inside:
            return {"type": "object", **{key: rest[key] for key in _SAID if key in rest}}
        return _clean({**_resolve(reference, at.root), **rest}, at.below(reference))
    if isinstance(schema.get("allOf"), list):
        schema = _all_of(schema, at)
    found: Json = {key: schema[key] for key in _COPIED if key in schema}
    branches = schema.get("anyOf") or schema.get("oneOf")
    kinds = schema.get("type")
    kinds = list(kinds) if isinstance(kinds, list) else [kinds]
    nullable = "null" in kinds or schema.get("nullable") is True
    kinds = [kind for kind in kinds if kind in _TYPES]
    if isinstance(branches, list) and branches:
        nullable = _any_of(found, branches, at) or nullable
    elif len(kinds) > 1:
        found["anyOf"] = [_clean({**_bare(schema), "type": kind}, at.below()) for kind in kinds]
    else:
        _of_kind(found, schema, kinds[0] if kinds else _guess(schema), at)
    if nullable:
        found["nullable"] = True
    return found


def _any_of(found: Json, branches: list[Any], at: _Place) -> bool:
    """Fills `found`; gives whether null was one of the branches."""
    real = [b for b in branches if not (isinstance(b, dict) and b.get("type") == "null")]
    clean = [_clean(branch, at.below()) for branch in real]
    if len(clean) == 1:
        found.update({**clean[0], **found})
    elif clean:
        found["anyOf"] = clean
    return len(real) < len(branches)


def _of_kind(found: Json, schema: Json, kind: str, at: _Place) -> None:
    found["type"] = kind
    form = schema.get("format")
    if isinstance(form, str) and form in _FORMATS.get(kind, ()):
        found["format"] = form
    _limits(found, schema, kind)
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(values, list) and values and kind not in ("object", "array"):
        # Enumerations are strings there; a client that wanted a number reads it from the string.
        found["enum"] = [_word(value) for value in values if value is not None]
        found["type"] = "string"
        for key in ("minimum", "maximum", "default"):
            found.pop(key, None)
    if kind == "array":
        found["items"] = _clean(schema.get("items") or {"type": "string"}, at.below())
    if kind == "object":
        properties = schema.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        if properties:
            found["properties"] = {
                name: _clean(value, at.below()) for name, value in properties.items()
            }
        known = [name for name in _names(schema.get("required")) if name in properties]
        if known:
            found["required"] = known


def _limits(found: Json, schema: Json, kind: str) -> None:
    """Exclusive bounds have no word there; for whole numbers the next one inside says the same."""
    step = 1 if kind == "integer" else 0
    low, high = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if isinstance(low, int | float) and not isinstance(low, bool):
        found.setdefault("minimum", low + step)
    if isinstance(high, int | float) and not isinstance(high, bool):
        found.setdefault("maximum", high - step)


def _all_of(schema: Json, at: _Place) -> Json:
    parts = [part for part in schema["allOf"] if isinstance(part, dict)]
    resolved = [_resolved(part, at) for part in parts]
    own = {key: value for key, value in schema.items() if key != "allOf"}
    return _merged([*resolved, own])


def _resolved(part: Json, at: _Place) -> Json:
    for _ in range(DEPTH_MAX - min(at.depth, DEPTH_MAX)):
        if not isinstance(part.get("$ref"), str):
            break
        part = {**_resolve(part["$ref"], at.root), **{k: v for k, v in part.items() if k != "$ref"}}
    return part


def _merged(parts: Any) -> Json:
    """All of `parts` at once: properties and demands together, else the last word holds."""
    merged: Json = {}
    for part in parts:
        properties = {**_mapping(merged.get("properties")), **_mapping(part.get("properties"))}
        required = [*_names(merged.get("required")), *_names(part.get("required"))]
        merged.update(part)
        if properties:
            merged["properties"] = properties
        if required:
            merged["required"] = list(dict.fromkeys(required))
    return merged


def _mapping(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _sequence(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _names(value: Any) -> list[str]:
    return [name for name in _sequence(value) if isinstance(name, str)]


def _bare(schema: Json) -> Json:
    return {key: value for key, value in schema.items() if key not in ("description", "title")}


def _guess(schema: Json) -> str:
    """The type of a schema that names none."""
    if "properties" in schema:
        return "object"
    if "items" in schema:
        return "array"
    values = [schema["const"]] if "const" in schema else _sequence(schema.get("enum"))
    if values and all(isinstance(value, bool) for value in values):
        return "boolean"
    return "string" if values or not schema.get("additionalProperties") else "object"


def _resolve(reference: str, root: Json) -> Json:
    """A reference inside of the document; nothing for one that leads nowhere."""
    place: Any = root
    if reference == "#":
        return root
    if not reference.startswith("#/"):
        return {}
    for step in reference[2:].split("/"):
        step = step.replace("~1", "/").replace("~0", "~")
        place = place.get(step) if isinstance(place, dict) else None
    return place if isinstance(place, dict) else {}


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
