"""What Claude Code sends, to servers of OpenAI's dialect that are strict."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.translation.quirks import quirks_for
from protocol.translation.schema_demands import completed
from tests.protocol.translation.test_to_openai import sent

Json = dict[str, Any]

OPENAI = quirks_for("https://api.openai.com/v1")
MISTRAL = quirks_for("https://api.mistral.ai/v1")


def parameters(schema: Json) -> Json:
    tools = [{"name": "Bash", "description": "", "input_schema": schema}]
    found: Json = sent(OPENAI, tools=tools)["tools"][0]["function"]["parameters"]
    return found


def test_what_openai_misses_in_a_schema_is_added() -> None:
    """ "object schema missing properties", "array schema missing items": Anthropic takes both."""
    assert parameters({"type": "object"}) == {"type": "object", "properties": {}}
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "array"},
            "b": {"type": ["array", "null"], "description": "d"},
            "c": {"anyOf": [{"type": "array"}, {"type": "null"}]},
            "d": {"type": "object"},
            "e": {"type": "array", "items": {"type": "array"}},
            "items": {"type": "string"},
            "f": {"$ref": "#/$defs/g"},
            "h": {"type": "array", "prefixItems": [{"type": "string"}]},
            "i": {"enum": [{"type": "array"}], "default": {"type": "array"}},
        },
        "$defs": {"g": {"type": "array"}},
    }
    found = parameters(schema)
    properties = found["properties"]
    assert properties["a"] == {"type": "array", "items": {}}
    assert properties["b"] == {"type": ["array", "null"], "description": "d", "items": {}}
    assert properties["c"] == {"anyOf": [{"type": "array", "items": {}}, {"type": "null"}]}
    assert properties["d"] == {"type": "object"}
    assert properties["e"]["items"] == {"type": "array", "items": {}}
    assert properties["i"] == schema["properties"]["i"]  # type: ignore[index]
    assert found["$defs"] == {"g": {"type": "array", "items": {}}}
    assert properties["f"] == {"$ref": "#/$defs/g"}


def test_a_schema_that_lacks_nothing_is_sent_as_it_is() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"type": "string"}, "maxItems": 3}},
        "required": ["a"],
        "additionalProperties": False,
    }
    assert parameters(schema) == schema


_anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["type", "items", "properties", "anyOf", "allOf", "$defs", "a"]),
            st.one_of(inner, st.sampled_from(["object", "array"])),
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["type", "properties", "items", "anyOf"]), _anything))
def test_completing_takes_nothing_away_and_is_done_once(schema: Json) -> None:
    found = completed(schema)
    assert completed(found) == found
    assert {key: found[key] for key in schema if not isinstance(schema[key], dict | list)} == {
        key: value for key, value in schema.items() if not isinstance(value, dict | list)
    }


def test_a_deep_schema_is_no_crash() -> None:
    deep: Json = {}
    for _ in range(5_000):
        deep = {"type": "object", "properties": {"a": deep}}
    assert completed(deep)["type"] == "object"


# --- Mistral


def test_mistrals_ids_have_nine_letters_in_call_and_result_alike() -> None:
    ids = ["toolu_01A", "toolu_01B", "abcdefghi", "x" * 64]
    calls = [{"type": "tool_use", "id": one, "name": "Bash", "input": {}} for one in ids]
    results = [{"type": "tool_result", "tool_use_id": one, "content": one} for one in ids]
    messages = [{"role": "assistant", "content": calls}, {"role": "user", "content": results}]
    said, *told = sent(MISTRAL, messages=messages)["messages"]
    there = [call["id"] for call in said["tool_calls"]]
    assert there == [one["tool_call_id"] for one in told]
    assert all(re.fullmatch("[A-Za-z0-9]{9}", one) for one in there)
    assert (len(set(there)), there[2]) == (4, "abcdefghi")
    plain, *_ = sent(OPENAI, messages=messages)["messages"]
    assert plain["tool_calls"][0]["id"] == "toolu_01A"


def test_between_a_result_and_the_users_words_mistrals_assistant_says_something() -> None:
    """ "Unexpected role 'user' after role 'tool'": once in a conversation, it would be stuck."""
    call = {"type": "tool_use", "id": "a", "name": "Bash", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "a", "content": "x"}
    messages = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result, {"type": "text", "text": "and?"}]},
        {"role": "system", "content": "Mind."},
    ]
    roles = ["user", "assistant", "tool", "assistant", "user"]
    found = sent(MISTRAL, messages=messages)["messages"]
    assert [one["role"] for one in found] == roles
    assert found[3]["content"] == "OK."
    alone = [*messages[:2], {"role": "user", "content": [result]}]
    assert [one["role"] for one in sent(MISTRAL, messages=alone)["messages"]] == roles[:3]
    assert [one["role"] for one in sent(messages=messages)["messages"]] == [*roles[:3], "user"]


# --- small things


def test_an_assistant_that_said_nothing_to_anybody_is_left_out() -> None:
    """Its reasoning is Claude's alone, and strict servers refuse an empty message."""
    thought = {"type": "thinking", "thinking": "x", "signature": "s"}
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": [thought]},
        {"role": "user", "content": "b"},
    ]
    assert sent(messages=messages)["messages"] == [{"role": "user", "content": "a\n\nb"}]


@pytest.mark.parametrize("content", [None, "", [], [{"type": "text", "text": ""}]])
def test_an_empty_result_is_a_result(content: Any) -> None:
    messages = [
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "a", "name": "B", "input": {}}],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "a", "content": content}],
        },
    ]
    *_, told = sent(messages=messages)["messages"]
    assert told == {"role": "tool", "tool_call_id": "a", "content": ""}


def test_empty_texts_beside_others_are_not_said() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}
    content = [{"type": "text", "text": ""}, image, {"type": "text", "text": "see"}]
    (told,) = sent(messages=[{"role": "user", "content": content}])["messages"]
    assert [part["type"] for part in told["content"]] == ["image_url", "text"]
    plain = [{"type": "text", "text": ""}, {"type": "text", "text": "see"}]
    (told,) = sent(messages=[{"role": "user", "content": plain}])["messages"]
    assert told["content"] == "see"


def test_a_tools_name_with_dots_or_without_end_is_the_same_everywhere() -> None:
    name = "mcp__server.with.dots__" + "x" * 80
    tools = [{"name": name, "input_schema": {"type": "object"}}]
    messages = [
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "a", "name": name, "input": {}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "x"}]},
    ]
    request = sent(tools=tools, messages=messages, tool_choice={"type": "tool", "name": name})
    there = request["tools"][0]["function"]["name"]
    assert re.fullmatch("[A-Za-z0-9_-]{1,64}", there)
    assert request["messages"][0]["tool_calls"][0]["function"]["name"] == there
    assert request["tool_choice"]["function"]["name"] == there
