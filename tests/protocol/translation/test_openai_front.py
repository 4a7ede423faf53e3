"""OpenAI's dialect in front: its requests as Anthropic's."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.translation.read_openai import JSON_MODE, read_request
from protocol.translation.refusal import Untranslatable


def asked(**fields: Any) -> dict[str, Any]:
    return read_request(
        {"model": "claude-opus-5-5", "messages": [{"role": "user", "content": "hi"}], **fields}
    )


def test_the_least_request_gets_the_limit_that_anthropic_demands() -> None:
    assert asked() == {
        "model": "claude-opus-5-5",
        "max_tokens": 16_384,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    }


def test_a_conversation_with_calls_is_understood() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    found = asked(
        messages=[
            {"role": "system", "content": "be kind"},
            {"role": "developer", "content": "and brief"},
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "done"},
            {"role": "user", "content": "and?"},
        ]
    )
    assert found["system"] == "be kind\n\nand brief"
    assert found["messages"][1] == {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}}],
    }
    assert found["messages"][2]["content"] == [
        {
            "type": "tool_result",
            "tool_use_id": "c1",
            "content": [{"type": "text", "text": "done"}],
        },
        {"type": "text", "text": "and?"},
    ]


def test_images_come_by_data_or_by_url() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
        {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
    ]
    content = asked(messages=[{"role": "user", "content": parts}])["messages"][0]["content"]
    assert [block["source"] for block in content] == [
        {"type": "base64", "media_type": "image/png", "data": "AA"},
        {"type": "url", "url": "https://x/y.png"},
    ]


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ("auto", {"type": "auto"}),
        ("required", {"type": "any"}),
        ("none", {"type": "none"}),
        ({"type": "function", "function": {"name": "f"}}, {"type": "tool", "name": "f"}),
    ],
)
def test_tools_and_their_choice(choice: Any, told: Any) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    found = asked(tools=[tool], tool_choice=choice)
    assert found["tools"] == [{"name": "f", "input_schema": {"type": "object"}}]
    assert found["tool_choice"] == told


def test_one_call_at_a_time() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    found = asked(tools=[tool], parallel_tool_calls=False)
    assert found["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


def test_sampling_stops_and_effort_have_their_places() -> None:
    found = asked(temperature=1.7, stop="x", reasoning_effort="low", max_tokens=5)
    assert found["temperature"] == 1.0
    assert asked(top_p=0.5)["top_p"] == 0.5
    assert found["stop_sequences"] == ["x"]
    assert found["output_config"] == {"effort": "low"}
    assert found["max_tokens"] == 5


def test_json_mode_is_asked_for_in_words_and_a_schema_in_its_field() -> None:
    assert asked(response_format={"type": "json_object"})["system"] == JSON_MODE
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
    assert asked(response_format=schema)["output_config"] == {
        "format": {
            "type": "json_schema",
            "schema": {"type": "object", "additionalProperties": False},
        }
    }


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"n": 2}, "n: only one answer"),
        ({"logprobs": True}, "logprobs: "),
        ({"functions": [{}]}, "functions: is the old form; use tools"),
        ({"messages": [{"role": "robot"}]}, "messages[0].role: 'robot' is not known"),
        ({"tools": [{"type": "custom"}]}, "tools[0].type: 'custom' is not known"),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            "messages[0].content[0].type: 'input_audio' is not known",
        ),
    ],
)
def test_what_cannot_be_had_is_refused_by_its_place(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(Untranslatable) as refusal:
        asked(**fields)
    assert refusal.value.problem.message.startswith(told)


def test_empty_texts_are_left_out() -> None:
    """Anthropic refuses an empty text block, which clients of OpenAI's kind send without a thought."""
    request = read_request(
        {
            "model": "m",
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": ""}]},
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "hi"}, {"type": "text", "text": ""}],
                },
                {"role": "assistant", "content": ""},
                {"role": "user", "content": "go on"},
            ],
        }
    )
    texts = [{"type": "text", "text": "hi"}, {"type": "text", "text": "go on"}]
    assert request["messages"] == [{"role": "user", "content": texts}]
