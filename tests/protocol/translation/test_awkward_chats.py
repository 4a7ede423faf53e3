"""What clients of OpenAI's dialect are known to send, told so that Anthropic takes it."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from anthropic.types import message_create_params
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from protocol.translation.collect import UNPARSED
from protocol.translation.quirks import PLAIN
from protocol.translation.read_anthropic import read_request as read_anthropic
from protocol.translation.read_openai import read_request
from protocol.translation.refusal import Untranslatable
from protocol.translation.to_openai import write_request

Json = dict[str, Any]

judge = TypeAdapter[Any](message_create_params.MessageCreateParamsNonStreaming)

HI = {"role": "user", "content": "hi"}
BASH = {"type": "function", "function": {"name": "Bash", "parameters": {"type": "object"}}}


def asked(*messages: Json, **fields: Any) -> Json:
    found = read_request({"model": "m", "messages": list(messages) or [HI], **fields})
    typed = {key: value for key, value in found.items() if key not in ("temperature", "top_p")}
    judge.validate_python(typed)
    return found


def call(call_id: str = "call_a", arguments: Any = "{}", name: str = "Bash") -> Json:
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def turn(*calls: Json, results: Any = "x") -> list[Json]:
    told = [{"role": "tool", "tool_call_id": one["id"], "content": results} for one in calls]
    return [HI, {"role": "assistant", "content": None, "tool_calls": list(calls)}, *told]


# --- messages


@pytest.mark.parametrize("empty", ["", " ", "\n", [], [{"type": "text", "text": " \n"}]])
def test_words_of_nothing_but_space_are_left_out(empty: Any) -> None:
    """Anthropic refuses them: "text content blocks must contain non-whitespace text"."""
    found = asked(HI, {"role": "assistant", "content": empty}, {"role": "user", "content": empty})
    assert found["messages"] == [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    refusal = {"role": "assistant", "content": None, "refusal": " "}
    assert asked(HI, refusal)["messages"] == found["messages"]
    image = {"type": "image_url", "image_url": {"url": "https://x.test/y.png"}}
    (told,) = asked({"role": "user", "content": [{"type": "text", "text": ""}, image]})["messages"]
    assert [block["type"] for block in told["content"]] == ["image"]


def test_a_chat_of_system_words_alone_is_answered() -> None:
    """OpenAI takes it; Anthropic wants a user, who says them then."""
    system = {"role": "system", "content": "Say hi."}
    found = asked(system, {"role": "developer", "content": "Be brief."})
    assert "system" not in found
    assert [block["text"] for block in found["messages"][0]["content"]] == ["Say hi.\n\nBe brief."]
    json_mode = asked(system, response_format={"type": "json_object"})
    assert "JSON" in json_mode["messages"][0]["content"][0]["text"]


def test_an_assistants_last_words_do_not_end_in_space() -> None:
    """ "final assistant content cannot end with trailing whitespace"."""
    found = asked(HI, {"role": "assistant", "content": "Well: \n"})
    assert found["messages"][-1]["content"] == [{"type": "text", "text": "Well:"}]


def test_a_tools_result_may_be_null_or_parts_or_an_image() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    for content, types in (
        (None, []),
        ("", []),
        ([image, {"type": "text", "text": "a"}], ["image", "text"]),
    ):
        *_, told = asked(*turn(call(), results=content), tools=[BASH])["messages"]
        (result,) = told["content"]
        assert [block["type"] for block in result["content"]] == types


def test_fields_that_other_servers_put_into_messages_are_left_alone() -> None:
    messages = turn(call())
    messages[1] |= {"reasoning_content": "hm", "reasoning": "hm", "refusal": None, "audio": None,
                    "annotations": [], "function_call": None, "name": "bot"}  # fmt: skip
    found = asked(*messages, tools=[BASH])
    assert [block["type"] for block in found["messages"][1]["content"]] == ["tool_use"]


# --- calls


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ("{}", {}),
        ("", {}),
        (None, {}),
        ("null", {}),
        ({"a": 1}, {"a": 1}),
        ('{"a":1}', {"a": 1}),
        ('"{\\"a\\":1}"', {"a": 1}),
        ('{"a":', {UNPARSED: '{"a":'}),
        ("[1]", {UNPARSED: "[1]"}),
    ],
)
def test_arguments_of_an_earlier_turn_never_wedge_a_conversation(
    arguments: Any, given: Json
) -> None:
    """A model made them, perhaps badly: the client sends them with each request from then on."""
    found = asked(*turn(call(arguments=arguments)), tools=[BASH])
    assert found["messages"][1]["content"][0]["input"] == given


def test_ids_of_other_providers_are_made_fit_in_call_and_result_alike() -> None:
    ids = ["functions.Bash:0", "call 1", "toolu_fine", "functions.Bash_0"]
    found = asked(*turn(*(call(one) for one in ids)), tools=[BASH])
    said, told = (message["content"] for message in found["messages"][1:])
    there = [block["id"] for block in said]
    assert there == [block["tool_use_id"] for block in told]
    assert len(set(there)) == len(ids)
    assert all(re.fullmatch("[A-Za-z0-9_-]+", one) for one in there)
    assert there[2] == "toolu_fine"


def test_an_id_that_is_there_again_is_another_one_the_second_time() -> None:
    """ "`tool_use` ids must be unique": servers that number the calls of each answer repeat theirs."""
    messages = [*turn(call("call_0"), call("call_0")), *turn(call("call_0"))]
    turns = asked(*messages, tools=[BASH])["messages"]
    found = [
        [block.get("id") for block in one["content"]] for one in turns if one["role"] == "assistant"
    ]
    assert found == [["call_0", "call_0_2"], ["call_0_3"]]
    results = [block["tool_use_id"] for one in turns for block in one["content"]
               if block["type"] == "tool_result"]  # fmt: skip
    assert results == ["call_0", "call_0_2", "call_0_3"]


def test_calls_without_any_tools_bring_the_tools_that_they_called() -> None:
    """Anthropic refuses calls where there are no tools; none of these is to be called again."""
    found = asked(*turn(call(), call("call_b", name="Read"), call("call_c")))
    assert [tool["name"] for tool in found["tools"]] == ["Bash", "Read"]
    assert found["tool_choice"] == {"type": "none"}
    assert "tools" not in asked(HI)


@pytest.mark.parametrize("parameters", [None, {}, {"properties": {}}, {"type": None}])
def test_a_schema_says_that_it_is_an_object(parameters: Any) -> None:
    function: Json = {"name": "Bash", "parameters": parameters, "strict": True}
    (tool,) = asked(tools=[{"type": "function", "function": function}])["tools"]
    assert tool["input_schema"]["type"] == "object"


def test_the_tools_that_may_be_called_are_those_that_are_told() -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in ("A", "B", "C")]
    refs = [{"type": "function", "function": {"name": name}} for name in ("A", "C")]
    for mode, kind in (("auto", "auto"), ("required", "any")):
        choice = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": refs}}
        found = asked(tools=tools, tool_choice=choice, parallel_tool_calls=False)
        assert [tool["name"] for tool in found["tools"]] == ["A", "C"]
        assert found["tool_choice"] == {"type": kind, "disable_parallel_tool_use": True}
    with pytest.raises(Untranslatable, match="tool_choice"):
        asked(tools=tools, tool_choice={"type": "allowed_tools"})


# --- sampling and the like


def test_temperature_and_top_p_do_not_go_together() -> None:
    """ "cannot both be specified for this model": many clients send both, one at its default."""
    assert asked(temperature=0.2, top_p=1)["temperature"] == 0.2
    assert "top_p" not in asked(temperature=0.2, top_p=1)
    assert "top_p" not in asked(temperature=0.2, top_p=0.9)
    assert asked(top_p=0.9)["top_p"] == 0.9
    assert asked(temperature=None, top_p=0.9)["top_p"] == 0.9


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_a_limit_may_be_written_as_a_float(field: str) -> None:
    limit = asked(**{field: 100.0})["max_tokens"]
    assert (limit, type(limit)) == (100, int)
    with pytest.raises(Untranslatable, match=field):
        asked(**{field: 1.5})


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 1, "logprobs": False, "top_logprobs": 0, "functions": [], "audio": None},
        {"stream": False, "stream_options": None, "store": False, "modalities": ["text"]},
        {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True},
        {"tools": None, "tool_choice": None, "stop": None, "response_format": {"type": "text"}},
        {"reasoning_effort": None, "verbosity": "low", "prediction": None, "seed": 1},
        {"extra_body": {}, "num_ctx": 4096, "keep_alive": "5m", "think": False},
    ],
)
def test_fields_at_their_defaults_and_unknown_ones_change_nothing(fields: Json) -> None:
    assert asked(**fields) == asked()


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 2},
        {"logprobs": True},
        {"functions": [{"name": "a"}]},
        {"web_search_options": {}},
        {"audio": {"voice": "x"}},
        {"tools": [{"type": "custom", "custom": {"name": "a"}}]},
        {"response_format": {"type": "grammar"}},
        {"tool_choice": {"type": "custom"}, "tools": [BASH]},
    ],
)
def test_what_cannot_be_had_is_refused_by_its_name(fields: Json) -> None:
    name = next(iter(fields))
    with pytest.raises(Untranslatable, match=name):
        asked(**fields)


def test_a_schema_of_the_answer_forbids_other_fields_where_it_says_nothing_of_them() -> None:
    """Anthropic demands that each object says so."""
    inner = {"type": "object", "properties": {"b": {"type": "string"}}}
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "array", "items": inner},
            "c": {"anyOf": [{"type": ["object", "null"]}, {"$ref": "#/$defs/d"}]},
        },
        "$defs": {"d": {"type": "object", "additionalProperties": False}},
    }
    format_ = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    found = asked(response_format=format_)["output_config"]["format"]["schema"]
    assert found["additionalProperties"] is False
    assert found["properties"]["a"]["items"] == {**inner, "additionalProperties": False}
    assert found["properties"]["c"]["anyOf"][0]["additionalProperties"] is False
    assert found["$defs"] == schema["$defs"]
    assert "additionalProperties" not in schema


# --- for any chat


@st.composite
def chats(draw: st.DrawFn) -> list[Json]:
    """Any that OpenAI's API takes, and some that only careless servers take."""
    words = st.sampled_from(["", " ", "a", "b\n"])
    ids = st.sampled_from(["call_a", "call_b", "functions.f:0", "functions.f:1", "x y", "toolu_1"])
    found: list[Json] = []
    for _ in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(["user", "system", "developer", "assistant", "calls"]))
        if kind != "calls":
            found.append({"role": kind, "content": draw(words)})
            continue
        calls = [call(one, draw(words)) for one in draw(st.lists(ids, min_size=1, unique=True))]
        found.append({"role": "assistant", "content": draw(words), "tool_calls": calls})
        for one in draw(st.permutations(calls)):
            found.append({"role": "tool", "tool_call_id": one["id"], "content": draw(words)})
            if draw(st.integers(0, 5)) == 0:
                found.append({"role": "system", "content": draw(words)})
    return found


@given(chats())
def test_any_chat_is_one_that_anthropic_takes(messages: list[Json]) -> None:
    found = asked(*messages)
    turns = found["messages"]
    roles = [one["role"] for one in turns]
    assert all(one != other for one, other in itertools.pairwise(roles))
    seen: set[str] = set()
    for place, message in enumerate(turns):
        content = message["content"]
        assert content
        assert all(block["text"].strip() for block in content if block["type"] == "text")
        calls = [block["id"] for block in content if block["type"] == "tool_use"]
        assert all(re.fullmatch("[A-Za-z0-9_-]+", one) for one in calls)
        assert not seen.intersection(calls)
        assert len(set(calls)) == len(calls)
        seen.update(calls)
        if calls:
            behind = turns[place + 1]["content"]
            assert {block.get("tool_use_id") for block in behind[: len(calls)]} == set(calls)
        kinds = [block["type"] == "tool_result" for block in content]
        assert kinds == sorted(kinds, reverse=True)
    asks = any(block["type"] == "tool_use" for one in turns for block in one["content"])
    assert ("tools" in found) is asks
    write_request(read_anthropic(found), "m", PLAIN)
