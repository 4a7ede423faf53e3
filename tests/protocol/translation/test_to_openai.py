"""What OpenAI-compatible servers are asked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.chat import completion_create_params
from pydantic import TypeAdapter

from protocol.translation.quirks import PLAIN, Quirks, quirks_for
from protocol.translation.read_anthropic import read_request
from protocol.translation.refusal import Untranslatable
from protocol.translation.to_openai import write_request
from tests.kit import corpus

OPENAI = quirks_for("https://api.openai.com/v1")

judge = TypeAdapter[Any](completion_create_params.CompletionCreateParamsStreaming)


def sent(quirks: Quirks = PLAIN, model: str = "gpt-x", **fields: Any) -> dict[str, Any]:
    request = {
        "model": "claude-opus-5-5",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "hi"}],
        **fields,
    }
    return write_request(read_request(request), model, quirks)


CALL = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}}
BASH = {"name": "Bash", "description": "runs", "input_schema": {"type": "object"}}
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}
PDF = {
    "type": "document",
    "title": "a.pdf",
    "source": {"type": "base64", "media_type": "application/pdf", "data": "BB"},
}


def turn(result: dict[str, Any], call: dict[str, Any] = CALL) -> list[dict[str, Any]]:
    answer = {"type": "tool_result", "tool_use_id": call["id"], **result}
    return [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [answer]},
    ]


def test_the_least_request_says_model_messages_and_limit() -> None:
    assert sent() == {
        "model": "gpt-x",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 100,
    }


def test_a_stream_asks_for_its_usage() -> None:
    asked = sent(stream=True)
    assert asked["stream"] is True
    assert asked["stream_options"] == {"include_usage": True}
    assert "stream" not in sent(stream=False)


def test_a_tool_is_a_function_with_its_schema() -> None:
    assert sent(tools=[BASH])["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "Bash",
                "description": "runs",
                "parameters": {"type": "object", "properties": {}},
            },
        }
    ]


def test_several_images_and_words_of_a_user_are_parts_in_their_order() -> None:
    elsewhere = {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}
    said = [{"role": "user", "content": [PNG, {"type": "text", "text": "a"}, elsewhere]}]
    assert sent(messages=said)["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
                {"type": "text", "text": "a"},
                {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
            ],
        }
    ]


def test_what_an_assistant_said_is_one_text_and_nothing_is_left_out() -> None:
    words = [{"type": "text", "text": "So"}, {"type": "text", "text": " on"}]
    said = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": words},
        {"role": "user", "content": []},
        {"role": "assistant", "content": []},
        {"role": "user", "content": "b"},
    ]
    assert [message["content"] for message in sent(messages=said)["messages"]] == [
        "a",
        "So on",
        "b",
    ]


def test_a_call_and_its_result_follow_each_other() -> None:
    messages = sent(messages=turn({"content": "a.txt"}), tools=[BASH])["messages"]
    function = {"name": "Bash", "arguments": '{"command":"ls"}'}
    assert messages[1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "toolu_1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "toolu_1", "content": "a.txt"},
    ]


def test_a_failed_tool_says_so_in_words() -> None:
    messages = sent(messages=turn({"content": "no such file", "is_error": True}))["messages"]
    assert messages[2]["content"] == "Error: no such file"
    pieces = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    messages = sent(messages=turn({"content": pieces}))["messages"]
    assert messages[2]["content"] == "one\n\ntwo"


def test_an_image_from_a_tool_moves_to_the_user_s_message() -> None:
    messages = sent(messages=turn({"content": [PNG]}))["messages"]
    assert messages[2] == {
        "role": "tool",
        "tool_call_id": "toolu_1",
        "content": "(see the next message)",
    }
    assert messages[3] == {
        "role": "user",
        "content": [
            {"type": "text", "text": "From the tool Bash (toolu_1):"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
        ],
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([{"type": "text", "text": "see"}, PNG], "see"),
        ([{"type": "text", "text": ""}, PNG], "(see the next message)"),
        ([], ""),
    ],
)
def test_the_words_of_a_tool_stay_with_its_result(content: list[Any], words: str) -> None:
    assert sent(messages=turn({"content": content}))["messages"][2]["content"] == words


def test_a_system_message_in_mid_conversation_is_folded_where_only_the_first_may_be_one() -> None:
    said = [{"role": "user", "content": "hi"}, {"role": "system", "content": "be brief"}]
    assert sent(messages=said, system="first")["messages"] == [
        {"role": "system", "content": "first"},
        {
            "role": "user",
            "content": "hi\n\n<system-reminder>\nbe brief\n</system-reminder>",
        },
    ]
    assert sent(OPENAI, messages=said)["messages"][-1] == {"role": "system", "content": "be brief"}


def test_a_document_goes_where_files_are_taken_and_else_is_refused_by_its_token() -> None:
    said = [{"role": "user", "content": [PDF]}]
    part = sent(OPENAI, messages=said)["messages"][0]["content"][0]
    assert part["file"] == {
        "filename": "a.pdf",
        "file_data": "data:application/pdf;base64,BB",
    }
    with pytest.raises(Untranslatable, match=r"^capability_rejected: document_block$"):
        sent(messages=said)
    nameless = [{"role": "user", "content": [{**PDF, "title": None}]}]
    part = sent(OPENAI, messages=nameless)["messages"][0]["content"][0]
    assert (part["type"], part["file"]["filename"]) == ("file", "document.pdf")
    elsewhere = {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}}
    with pytest.raises(Untranslatable, match=r"^capability_rejected: document_block$"):
        sent(OPENAI, messages=[{"role": "user", "content": [elsewhere]}])


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "Bash"}, {"type": "function", "function": {"name": "Bash"}}),
    ],
)
def test_a_choice_of_tools_has_its_word(choice: Any, told: Any) -> None:
    assert sent(tools=[BASH], tool_choice=choice)["tool_choice"] == told


def test_a_choice_of_a_tool_that_is_not_there_is_refused() -> None:
    assert sent(tools=[BASH, {"name": "Read"}], tool_choice={"type": "tool", "name": "Read"})
    with pytest.raises(Untranslatable, match=r"^tool_choice\.name: there is no tool 'Read'"):
        sent(tools=[BASH], tool_choice={"type": "tool", "name": "Read"})


def test_one_call_at_a_time_is_asked_for_only_with_tools() -> None:
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    assert sent(tools=[BASH], tool_choice=choice)["parallel_tool_calls"] is False
    assert "parallel_tool_calls" not in sent(tool_choice=choice)


def test_a_long_tool_name_is_shortened_the_same_way_in_tools_and_calls() -> None:
    name = "mcp__" + "very_long_server_name__" * 4
    call = {**CALL, "name": name}
    request = sent(messages=turn({"content": "x"}, call), tools=[{**BASH, "name": name}])
    short = request["tools"][0]["function"]["name"]
    assert len(short) == 64
    assert request["messages"][1]["tool_calls"][0]["function"]["name"] == short


def test_a_long_call_id_is_shortened_the_same_way_in_call_and_result() -> None:
    call = {**CALL, "id": "x" * 320}
    messages = sent(messages=turn({"content": "x"}, call))["messages"]
    assert len(messages[2]["tool_call_id"]) == 40
    assert messages[1]["tool_calls"][0]["id"] == messages[2]["tool_call_id"]


def test_an_answer_s_limit_is_lowered_to_what_the_model_takes() -> None:
    assert sent(OPENAI, "gpt-4o-mini", max_tokens=128_000)["max_completion_tokens"] == 16_384
    assert sent(OPENAI, "gpt-4o-mini", max_tokens=10)["max_completion_tokens"] == 10
    assert sent(max_tokens=128_000)["max_tokens"] == 128_000


def test_effort_is_told_only_to_models_that_know_the_word_or_its_nearest() -> None:
    effort = {"output_config": {"effort": "max"}}
    assert sent(OPENAI, "gpt-5", **effort)["reasoning_effort"] == "high"
    assert sent(OPENAI, "gpt-5", thinking={"type": "disabled"})["reasoning_effort"] == "minimal"
    assert "reasoning_effort" not in sent(OPENAI, "gpt-4o", **effort)
    assert "reasoning_effort" not in sent(**effort)


def test_models_with_a_fixed_sampling_are_not_told_a_temperature() -> None:
    assert "temperature" not in sent(OPENAI, "gpt-5", temperature=0.5)
    assert sent(OPENAI, "gpt-4o", temperature=0.5)["temperature"] == 0.5
    groq = quirks_for("https://api.groq.com/openai/v1")
    assert sent(groq, temperature=0)["temperature"] == 1e-8
    assert sent(groq, temperature=0.5)["temperature"] == 0.5
    assert "top_p" not in sent(OPENAI, "gpt-5", top_p=0.5)
    assert sent(temperature=0, top_p=0.25)["top_p"] == 0.25


def test_more_stop_sequences_than_the_dialect_takes_are_refused() -> None:
    assert sent(stop_sequences=list("abcd"))["stop"] == ["a", "b", "c", "d"]
    assert "stop" not in sent(stop_sequences=[])
    with pytest.raises(Untranslatable, match=r"^stop_sequences: this provider takes at most 4"):
        sent(stop_sequences=list("abcde"))


def test_a_schema_for_the_answer_is_a_response_format() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    format_ = {"format": {"type": "json_schema", "schema": schema}}
    assert sent(output_config=format_)["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema},
    }


def test_deepseek_gets_its_own_reasoning_back_on_turns_with_calls_and_never_claude_s() -> None:
    deepseek = quirks_for("https://api.deepseek.com")
    said = turn({"content": "x"})
    said[1] = {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "mine", "signature": ""},
            {"type": "thinking", "thinking": "claude's", "signature": "sig"},
            CALL,
        ],
    }
    message = sent(deepseek, "deepseek-chat", messages=said)["messages"][1]
    assert message["reasoning_content"] == "mine"
    said[1] = {"role": "assistant", "content": [CALL]}
    message = sent(deepseek, "deepseek-chat", messages=said)["messages"][1]
    assert message["reasoning_content"] == ""
    assert "reasoning_content" not in sent(messages=said)["messages"][1]


def test_a_provider_s_own_state_goes_back_where_it_was() -> None:
    state = {"google": {"thought_signature": "s"}, "reasoning_details": [{"id": 1}]}
    messages = sent(messages=turn({"content": "x"}, {**CALL, "extra_content": state}))["messages"]
    call = messages[1]["tool_calls"][0]
    assert call["extra_content"] == {"google": {"thought_signature": "s"}}
    assert messages[1]["reasoning_details"] == [{"id": 1}]


def test_nothing_that_names_the_user_or_the_client_is_passed_on() -> None:
    request = sent(
        metadata={"user_id": "device-7"},
        system=[{"type": "text", "text": "x-anthropic-billing-header: cc_version=2;"}],
        context_management={"edits": []},
    )
    assert set(request) == {"model", "messages", "max_tokens"}
    assert "device-7" not in json.dumps(request)


@pytest.mark.parametrize("base_url", ["https://api.openai.com/v1", "http://localhost:11434/v1"])
@pytest.mark.parametrize("name", corpus.names("claude-code"))
def test_the_openai_sdk_s_own_types_accept_what_claude_code_s_requests_become(
    name: str, base_url: str
) -> None:
    fixture = corpus.load(name)
    for exchange in range(len(fixture["exchanges"])):
        body = json.loads(corpus.request_body(fixture, exchange) or b"{}")
        body.pop("safeguards", None)
        if "max_tokens" in body:
            body["stream"] = True
            written = write_request(read_request(body), "gpt-5", quirks_for(base_url))
            judge.validate_python(written)
