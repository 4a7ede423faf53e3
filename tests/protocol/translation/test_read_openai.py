"""Chat completions, field by field: what each becomes, what is left out, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.translation.read_openai import DROPPED, read_request
from protocol.translation.refusal import Untranslatable
from tests.protocol.translation.test_openai_front import asked

LEAST = asked()


@pytest.mark.parametrize(
    "field",
    ["user", "metadata", "store", "seed", "frequency_penalty", "presence_penalty", "logit_bias",
     "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
     "prompt_cache_options", "verbosity", "prediction", "moderation"],
)  # fmt: skip
def test_what_anthropic_has_no_word_for_is_left_out(field: str) -> None:
    assert field in DROPPED
    assert asked(**{field: "x"}) == LEAST


@pytest.mark.parametrize("field", ["parallel_tool_calls", "strange"])
def test_what_nobody_knows_or_what_is_about_no_tool_is_left_out(field: str) -> None:
    assert asked(**{field: "x"}) == LEAST


@pytest.mark.parametrize(
    "field",
    ["audio", "functions", "function_call", "logprobs", "top_logprobs", "web_search_options"],
)
def test_what_would_be_missed_is_refused_where_it_is_asked_for(field: str) -> None:
    with pytest.raises(Untranslatable, match=f"^{field}: "):
        asked(**{field: True})
    assert asked(**{field: None}) == LEAST


@pytest.mark.parametrize(
    ("fields", "becomes"),
    [
        ({"n": 1}, {}),
        ({"stream": True}, {"stream": True}),
        ({"stream": False}, {}),
        ({"max_tokens": 5, "max_completion_tokens": 7}, {"max_tokens": 7}),
        ({"temperature": 0}, {"temperature": 0.0}),
        ({"temperature": 1}, {"temperature": 1.0}),
        ({"stop": ["a", "b"]}, {"stop_sequences": ["a", "b"]}),
        ({"stop": []}, {}),
        ({"reasoning_effort": "none"}, {}),
        ({"reasoning_effort": "minimal"}, {}),
        ({"reasoning_effort": "high"}, {"output_config": {"effort": "high"}}),
        ({"reasoning_effort": 5}, {}),
        ({"response_format": {"type": "text"}}, {}),
        ({"tools": []}, {}),
    ],
)
def test_a_field_becomes_what_it_means(fields: dict[str, Any], becomes: dict[str, Any]) -> None:
    assert asked(**fields) == {**LEAST, **becomes}


def test_a_tool_is_its_name_its_description_and_its_parameters() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    tools = [
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": schema}},
        {"type": "function", "function": {"name": "g"}},
    ]
    found = asked(tools=tools)
    assert found["tools"] == [
        {"name": "f", "input_schema": schema, "description": "d"},
        {"name": "g", "input_schema": {"type": "object", "properties": {}}},
    ]
    assert found["tool_choice"] == {"type": "auto"}
    assert asked(tools=tools, tool_choice="none", parallel_tool_calls=False)["tool_choice"] == {
        "type": "none"
    }


def said(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_request({"model": "m", "messages": list(messages)})[
        "messages"
    ]
    return found


def call(arguments: Any) -> dict[str, Any]:
    function = {"name": "f", "arguments": arguments}
    return {"role": "assistant", "tool_calls": [{"id": "c", "function": function}]}


@pytest.mark.parametrize(
    ("arguments", "given"), [('{"a":1}', {"a": 1}), ("", {}), (" ", {}), (None, {})]
)
def test_a_calls_arguments_are_read(arguments: str | None, given: dict[str, Any]) -> None:
    (message,) = said(call(arguments))
    assert message["content"] == [{"type": "tool_use", "id": "c", "name": "f", "input": given}]


def test_neighbours_of_one_role_are_one_message_and_what_is_empty_is_none() -> None:
    assert said(
        {"role": "user", "content": "a"},
        {"role": "user", "content": [{"type": "text", "text": "b"}]},
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": None, "refusal": "no"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "never"}]},
    ) == [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "no"}, {"type": "text", "text": "never"}],
        },
    ]


def test_a_system_prompt_of_no_words_is_none() -> None:
    found = read_request({
        "model": "m",
        "messages": [
            {"role": "system", "content": ""},
            {"role": "system", "content": [{"type": "text", "text": "Be"}, {"type": "text", "text": " kind"}]},
            {"role": "user", "content": "hi"},
        ],
    })  # fmt: skip
    assert found["system"] == "Be kind"


def test_a_system_message_in_the_middle_is_said_where_it_stands() -> None:
    reminder = {"type": "text", "text": "<system-reminder>\nbe brief\n</system-reminder>"}
    found = said(
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "ho"},
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": "and?"},
    )
    assert found[2] == {"role": "user", "content": [reminder, {"type": "text", "text": "and?"}]}


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (
            {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
            {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
        ),
        (
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA"}},
            {"type": "document",
             "source": {"type": "base64", "media_type": "application/pdf", "data": "AA"}},
        ),
        (
            {"type": "file", "file": {"file_data": "https://x/y.pdf"}},
            {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}},
        ),
    ],
)  # fmt: skip
def test_an_image_and_a_document_are_blocks_of_their_own_kind(
    part: dict[str, Any], block: dict[str, Any]
) -> None:
    assert said({"role": "user", "content": [part]}) == [{"role": "user", "content": [block]}]


def image(url: Any) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (image("data:image/png,AA"), "messages[0].content[0]: a data URL must be in"),
        (image("data:;base64,AA"), "messages[0].content[0]: a data URL must have"),
        (image(5), "messages[0].content[0].image_url.url: must be a string, not a number"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "messages[0].content[0].image_url: must be"),
        ({"role": "user", "content": [{"type": "file"}]}, "messages[0].content[0].file: must be"),
        ({"role": "user", "content": [{"type": "file", "file": {}}]},
         "messages[0].content[0].file.file_data: must be"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[0].content[0].text: must be"),
        ({"role": "user", "content": [{"type": "refusal"}]}, "messages[0].content[0].refusal: must be"),
        ({"role": "user", "content": ["x"]}, "messages[0].content[0]: must be an object"),
        ({"role": "user"}, "messages[0].content: must be an array"),
        ({**image("https://x/y.png"), "role": "assistant"}, "messages[0].content: only text"),
        ({**image("https://x/y.png"), "role": "system"}, "messages[0].content: only text"),
        ({"role": "tool", "content": "x"}, "messages[0].tool_call_id: must be a string"),
        (call(5), "messages[0].tool_calls[0].function.arguments: must be a string"),
        ({"role": "assistant", "tool_calls": [5]}, "messages[0].tool_calls[0]: must be an object"),
        ({"role": "assistant", "tool_calls": [{"id": "c"}]},
         "messages[0].tool_calls[0].function: must be"),
        ({"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]},
         "messages[0].tool_calls[0].id: must be"),
        ({"role": "assistant", "tool_calls": [{"id": "c", "function": {}}]},
         "messages[0].tool_calls[0].function.name: must be"),
    ],
)  # fmt: skip
def test_a_message_of_the_wrong_shape_is_refused_by_its_place(
    message: dict[str, Any], told: str
) -> None:
    with pytest.raises(Untranslatable) as refusal:
        said(message)
    assert str(refusal.value).startswith(told)


FUNCTION = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"messages": 5}, "messages: must be an array"),
        ({"messages": [5]}, "messages[0]: must be an object"),
        ({"model": None}, "model: must be a string"),
        ({"n": 0}, "n: only one answer"),
        ({"max_tokens": True}, "max_tokens: must be a whole number, not a boolean"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens: must be a whole number"),
        ({"temperature": "x"}, "temperature: must be a number"),
        ({"top_p": "x"}, "top_p: must be a number"),
        ({"stop": 5}, "stop: must be an array"),
        ({"response_format": 5}, "response_format: must be an object"),
        ({"response_format": {"type": "xml"}}, "response_format.type: 'xml' is not known"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema: must be"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}},
         "response_format.json_schema.schema: must be"),
        ({"tools": 5}, "tools: must be an array"),
        ({"tools": [5]}, "tools[0]: must be an object"),
        ({"tools": [{"type": "function"}]}, "tools[0].function: must be an object"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name: must be"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": "x"}}]},
         "tools[0].function.parameters: must be an object"),
        ({"tools": [FUNCTION], "tool_choice": "some"}, "tool_choice: must be auto"),
        ({"tools": [FUNCTION], "tool_choice": {"type": "function"}}, "tool_choice: must be auto"),
    ],
)  # fmt: skip
def test_a_field_of_the_wrong_shape_is_refused_by_its_name(
    fields: dict[str, Any], told: str
) -> None:
    with pytest.raises(Untranslatable) as refusal:
        asked(**fields)
    assert str(refusal.value).startswith(told)
