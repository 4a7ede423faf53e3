"""Tool schemas in the subset that Gemini takes."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocol.translation.schema import cleaned
from tests.kit import corpus

KNOWN = {
    "type",
    "format",
    "title",
    "description",
    "nullable",
    "enum",
    "maxItems",
    "minItems",
    "properties",
    "required",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "anyOf",
    "default",
    "items",
    "minimum",
    "maximum",
}
"""The fields of the API's own Schema (google-genai's types.Schema)."""


def strict(schema: Any) -> None:
    """Refuses what the API refuses."""
    assert isinstance(schema, dict)
    assert set(schema) <= KNOWN
    assert ("anyOf" in schema) != ("type" in schema)
    if "type" in schema:
        assert schema["type"] in ("string", "number", "integer", "boolean", "array", "object")
    assert ("items" in schema) == (schema.get("type") == "array")
    assert set(schema.get("required", ())) <= set(schema.get("properties", ()))
    assert schema.get("enum") != []
    for value in schema.get("enum", ()):
        assert isinstance(value, str)
        assert value
        assert schema["type"] == "string"
    for inner in schema.get("properties", {}).values():
        strict(inner)
    for inner in [*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else ())]:
        strict(inner)


def of(schema: dict[str, Any]) -> dict[str, Any]:
    """The cleaned schema of one property."""
    found = cleaned({"type": "object", "properties": {"a": schema}})
    strict(found)
    inner: dict[str, Any] = found["properties"]["a"]
    return inner


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "minLength": 1}, {"type": "string", "minLength": 1}),
        ({"type": ["string", "null"]}, {"type": "string", "nullable": True}),
        (
            {"type": ["string", "integer"]},
            {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        ),
        ({"const": "x"}, {"type": "string", "enum": ["x"]}),
        ({"type": "integer", "enum": [1, 2]}, {"type": "string", "enum": ["1", "2"]}),
        ({"enum": [True, False]}, {"type": "string", "enum": ["true", "false"]}),
        ({"enum": ["a", None]}, {"type": "string", "enum": ["a"]}),
        ({"type": "integer", "exclusiveMinimum": 0}, {"type": "integer", "minimum": 1}),
        ({"type": "number", "exclusiveMaximum": 2}, {"type": "number", "maximum": 2}),
        ({"type": "array"}, {"type": "array", "items": {"type": "string"}}),
        ({"type": "string", "format": "uri"}, {"type": "string"}),
        (
            {"type": "string", "format": "date-time"},
            {"type": "string", "format": "date-time"},
        ),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "string", "nullable": True}),
        (
            {"oneOf": [{"type": "string"}, {"type": "integer"}]},
            {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        ),
        (
            {"allOf": [{"properties": {"b": {"type": "string"}}}, {"required": ["b"]}]},
            {"type": "object", "properties": {"b": {"type": "string"}}, "required": ["b"]},
        ),
        ({"type": "object", "required": ["gone"]}, {"type": "object"}),
        ({"type": "boolean"}, {"type": "boolean"}),
        ({"type": "number"}, {"type": "number"}),
        ({"type": "string", "nullable": True}, {"type": "string", "nullable": True}),
        ({"type": "integer", "exclusiveMaximum": 5}, {"type": "integer", "maximum": 4}),
        (
            {"type": "array", "items": {"type": "number"}},
            {"type": "array", "items": {"type": "number"}},
        ),
        ({"items": {"type": "integer"}}, {"type": "array", "items": {"type": "integer"}}),
        ({"additionalProperties": {"type": "string"}}, {"type": "object"}),
        ({"additionalProperties": True, "enum": ["a"]}, {"type": "string", "enum": ["a"]}),
        ({"additionalProperties": True, "const": "a"}, {"type": "string", "enum": ["a"]}),
        ({"type": "object", "enum": [{}]}, {"type": "object"}),
        ({"type": "array", "enum": [[]]}, {"type": "array", "items": {"type": "string"}}),
        (
            {"type": "integer", "enum": [1], "minimum": 0, "maximum": 3, "default": 1},
            {"type": "string", "enum": ["1"]},
        ),
        (
            {"type": ["string", "integer"], "description": "d", "title": "t", "maximum": 3},
            {
                "title": "t",
                "description": "d",
                "maximum": 3,
                "anyOf": [{"type": "string", "maximum": 3}, {"type": "integer", "maximum": 3}],
            },
        ),
        ({"anyOf": [{"type": "null"}]}, {"type": "string", "nullable": True}),
        ({"anyOf": [], "type": "integer"}, {"type": "integer"}),
        ({"anyOf": {"a": 1}, "type": "integer"}, {"type": "integer"}),
        ({}, {"type": "string"}),
    ],
)
def test_a_keyword_has_its_counterpart(schema: Any, expected: Any) -> None:
    assert of(schema) == expected


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("string", {"title": "T", "description": "d", "minLength": 1, "maxLength": 9, "pattern": "a*"}),
        ("string", {"default": "x"}),
        ("array", {"minItems": 1, "maxItems": 3, "items": {"type": "string"}}),
        ("object", {"minProperties": 1, "maxProperties": 2}),
        ("integer", {"minimum": 1, "maximum": 2, "format": "int32"}),
        ("integer", {"format": "int64"}),
        ("number", {"format": "float"}),
        ("number", {"format": "double"}),
        ("string", {"format": "enum"}),
    ],
)  # fmt: skip
def test_what_the_target_knows_is_said_as_it_is(kind: str, said: dict[str, Any]) -> None:
    schema = {"type": kind, **said}
    assert of(schema) == schema


def test_the_whole_input_is_an_object_and_never_null() -> None:
    text = {"type": "string"}
    schema = {"type": ["object", "null"], "properties": {"a": text}}
    assert cleaned(schema) == {"type": "object", "properties": {"a": text}}
    either = {"anyOf": [{"type": "object", "description": "d", "properties": {"a": text}}] * 2}
    assert cleaned(either) == {"type": "object", "description": "d", "properties": {"a": text}}
    assert cleaned({"type": "string"}) == {"type": "object"}


def test_what_lies_too_deep_is_any_object() -> None:
    def nested(depth: int) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "integer"}
        for _ in range(depth):
            schema = {"type": "array", "items": schema}
        return schema

    assert of(nested(31)) == nested(31)
    found = of(nested(32))
    for _ in range(32):
        found = found["items"]
    assert found == {"type": "object"}


def test_what_comes_after_too_many_schemas_is_any_object() -> None:
    names = [f"p{number}" for number in range(6000)]
    found = cleaned({"type": "object", "properties": {name: {"type": "string"} for name in names}})
    kinds = [found["properties"][name]["type"] for name in names]
    assert kinds == ["string"] * 4999 + ["object"] * 1001


def test_in_all_of_the_last_word_holds_and_demands_come_together_once() -> None:
    text = {"type": "string"}
    definitions = {"p/q~r": {"description": "there", "properties": {"a": text}, "required": ["a"]}}
    schema = {
        "allOf": [
            {"$ref": "#/$defs/p~1q~0r", "description": "beside"},
            {"properties": {"b": text}, "required": ["b", "a"]},
        ],
        "required": ["b"],
        "description": "own",
    }
    expected = {
        "type": "object",
        "description": "own",
        "properties": {"a": text, "b": text},
        "required": ["a", "b"],
    }
    assert cleaned({**schema, "$defs": definitions}) == expected
    del schema["description"]
    expected["description"] = "beside"
    assert cleaned({**schema, "$defs": definitions}) == expected


def test_a_reference_to_the_document_itself_is_the_document() -> None:
    root = {"type": "object", "description": "all", "properties": {"a": {"$ref": "#"}}}
    found = cleaned(root)
    assert found["properties"]["a"]["description"] == "all"
    within = found["properties"]["a"]["properties"]["a"]
    assert within == {"type": "object"}, "inside of itself it is any object"


def test_what_is_not_known_is_left_out() -> None:
    schema = {"type": "object", "$schema": "x", "additionalProperties": False, "x-mine": 1}
    assert cleaned(schema) == {"type": "object"}


def test_a_reference_is_written_out() -> None:
    found = cleaned(
        {
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/p", "description": "here"}},
            "$defs": {"p": {"type": "string", "description": "there"}},
        }
    )
    assert found["properties"]["a"] == {"type": "string", "description": "here"}


def test_a_reference_to_itself_ends_somewhere() -> None:
    tree = {"type": "object", "properties": {"next": {"$ref": "#"}}}
    strict(cleaned(tree))


@pytest.mark.parametrize("reference", ["#/nowhere", "http://elsewhere/x", "#/properties/a"])
def test_a_reference_that_leads_nowhere_is_no_failure(reference: str) -> None:
    strict(cleaned({"type": "object", "properties": {"a": {"$ref": reference}}}))


def test_every_tool_of_claude_code_passes_the_strict_reader() -> None:
    seen: set[str] = set()
    for name in corpus.names("claude-code"):
        fixture = corpus.load(name)
        for exchange in range(len(fixture["exchanges"])):
            body = json.loads(corpus.request_body(fixture, exchange) or b"{}")
            for tool in body.get("tools", ()):
                if "input_schema" in tool:
                    strict(cleaned(tool["input_schema"]))
                    seen.add(tool["name"])
    assert {"Bash", "Edit", "Read", "Write", "Agent", "ReportFindings"} <= seen


_keywords = {
    "type": st.sampled_from(["string", "number", "integer", "boolean", "array", "object", "null"])
    | st.lists(st.sampled_from(["string", "integer", "null", "object", "strange"]), max_size=3)
    | st.integers(),
    "enum": st.lists(st.none() | st.booleans() | st.integers() | st.text(max_size=3), max_size=3),
    "const": st.integers() | st.text(max_size=3),
    "required": st.lists(st.sampled_from(["a", "b", "c"]), max_size=2) | st.just("a"),
    "exclusiveMinimum": st.integers() | st.booleans(),
    "format": st.sampled_from(["int32", "email", "date-time"]),
    "$ref": st.sampled_from(["#", "#/properties/a", "#/$defs/x", "x"]),
    "additionalProperties": st.booleans(),
}
_schemas = st.recursive(
    st.fixed_dictionaries({}, optional=_keywords),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            **_keywords,
            "properties": st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
            "items": inner,
            "anyOf": st.lists(inner, max_size=2),
            "oneOf": st.lists(inner, max_size=2),
            "allOf": st.lists(inner, max_size=2),
            "$defs": st.dictionaries(st.just("x"), inner, max_size=1),
        },
    ),
    max_leaves=12,
)


@given(_schemas)
def test_every_schema_becomes_one_that_is_taken(schema: dict[str, Any]) -> None:
    found = cleaned(schema)
    strict(found)
    assert found["type"] == "object"


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=3,
)
_words = (*_keywords, "properties", "items", "anyOf", "oneOf", "allOf", "$defs", "nullable")


@given(
    st.recursive(
        _anything,
        lambda inner: (
            st.dictionaries(st.sampled_from(_words), inner, max_size=5)
            | st.lists(inner, max_size=2)
        ),
        max_leaves=8,
    )
)
@example({"properties": {"a": {"type": "string", "format": {}}}})
@example({"properties": {"a": {}}, "required": [{}]})
@example({"allOf": [{"properties": 1}, {"properties": {"a": {}}}]})
@example({"allOf": [{"required": 1}, {"required": ["a"]}]})
@example({"allOf": [{"required": [{}]}]})
def test_a_keyword_that_has_nonsense_for_a_value_is_no_failure(schema: Any) -> None:
    assert cleaned(schema)["type"] == "object"


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [{"properties": "x"}, {"properties": {"b": {"type": "string"}}}]},
        {"allOf": [{"required": 5}, {"required": ["b"], "properties": {"b": {}}}]},
        {"allOf": [{"required": [{}], "properties": {"b": {}}}]},
        {"type": "object", "properties": {"b": {}}, "required": [{}, [], None, "b"]},
        {"type": "string", "format": []},
        {"type": [{}, "string"]},
        {"type": "object", "properties": []},
        {"allOf": ["x", {"properties": {"b": {}}}]},
        {"anyOf": {"a": 1}, "type": "string"},
        {"enum": {"a": 1}, "type": "string"},
        {"$ref": 5, "type": "string"},
        {"exclusiveMinimum": [], "type": "integer"},
    ],
)
def test_a_schema_that_is_none_makes_nothing_raise(schema: dict[str, Any]) -> None:
    of(schema)
    strict(cleaned(schema))


def test_of_alternatives_for_the_whole_input_only_what_all_demand_is_demanded() -> None:
    """Else the model would have to give the arguments of both."""
    text = {"type": "string"}
    found = cleaned({
        "anyOf": [
            {"type": "object", "properties": {"a": text, "c": text}, "required": ["a", "c"]},
            {"type": "object", "properties": {"b": text, "c": text}, "required": ["c", "b"]},
        ]
    })  # fmt: skip
    assert found == {
        "type": "object",
        "properties": {"a": text, "b": text, "c": text},
        "required": ["c"],
    }


@pytest.mark.parametrize("word", ["anyOf", "oneOf"])
def test_alternatives_beside_properties_leave_the_properties_there(word: str) -> None:
    """As "a url or a path" is often written: which of them go together, the client checks."""
    text = {"type": "string"}
    schema = {
        "type": "object",
        "properties": {"url": text, "path": text, "depth": {"type": "integer"}},
        "required": ["depth"],
        word: [{"required": ["url"]}, {"$ref": "#/$defs/other"}, "x"],
        "$defs": {"other": {"required": ["more"], "properties": {"more": text, "url": {}}}},
    }
    expected = {
        "type": "object",
        "properties": {"more": text, "url": text, "path": text, "depth": {"type": "integer"}},
        "required": ["depth"],
    }
    assert cleaned(schema) == expected


def test_all_of_inside_of_all_of_is_merged_too() -> None:
    """As inheritance over two steps is written."""
    text = {"type": "string"}
    definitions = {
        "base": {"properties": {"a": text}, "required": ["a"]},
        "middle": {"allOf": [{"$ref": "#/$defs/base"}, {"properties": {"b": text}}]},
    }
    own = {"type": "object", "properties": {"c": text}, "required": ["c"]}
    found = cleaned({"allOf": [{"$ref": "#/$defs/middle"}, own], "$defs": definitions})
    assert found == {
        "type": "object",
        "properties": {"a": text, "b": text, "c": text},
        "required": ["a", "c"],
    }


def test_all_of_that_holds_itself_ends_somewhere() -> None:
    loop = {"allOf": [{"$ref": "#/$defs/loop"}, {"properties": {"a": {"$ref": "#/$defs/loop"}}}]}
    strict(cleaned({"$ref": "#/$defs/loop", "$defs": {"loop": loop}}))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([None], {"type": "string"}),
        ([""], {"type": "string"}),
        (["", "asc", None, "asc", "desc"], {"type": "string", "enum": ["asc", "desc"]}),
        ([1, "1", 1.5], {"type": "string", "enum": ["1", "1.5"]}),
    ],
)
def test_an_enumeration_has_no_empty_word_and_none_twice(values: list[Any], expected: Any) -> None:
    """Gemini refuses the whole request for an empty one."""
    assert of({"enum": values}) == expected


def test_references_that_multiply_are_followed_within_bounds() -> None:
    """A tree of two branches, thirty deep, would be a thousand million schemas."""
    branch = {"$ref": "#/$defs/node"}
    node = {"type": "object", "properties": {"left": branch, "right": branch}}
    found = cleaned({**node, "$defs": {"node": node}})
    strict(found)
    inner = found["properties"]["left"]["properties"]["left"]
    assert inner == {"type": "object"}, "a schema inside of itself is any object"


def test_definitions_that_double_each_other_are_followed_within_bounds() -> None:
    names = [f"d{number}" for number in range(30)]
    definitions: dict[str, Any] = {
        name: {"anyOf": [{"$ref": f"#/$defs/{after}"}, {"$ref": f"#/$defs/{after}"}]}
        for name, after in itertools.pairwise(names)
    }
    definitions[names[-1]] = {"type": "string"}
    root = {"type": "object", "properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": definitions}
    found = cleaned(root)
    strict(found)
    assert len(json.dumps(found)) < 1_000_000
