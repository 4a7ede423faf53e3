"""The fields that are seldom there, each by itself: nothing else would notice one that is lost."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from protocol.sse import Event
from protocol.translation.answer_openai import AnswerStream, whole
from protocol.translation.collect import collect
from protocol.translation.from_gemini import GeminiStream
from protocol.translation.from_openai import OpenAIStream
from protocol.translation.provider_error import MESSAGE_MAX, failure
from protocol.translation.quirks import PLAIN, quirks_for
from protocol.translation.read_anthropic import read_request
from protocol.translation.read_openai import read_request as read_openai
from protocol.translation.refusal import Untranslatable
from protocol.translation.returning import without_foreign_state
from protocol.translation.tool_names import ToolNames
from tests.protocol.translation.test_from_openai import call, chunk, told
from tests.protocol.translation.test_to_gemini import sent as sent_to_gemini
from tests.protocol.translation.test_to_openai import PNG, turn
from tests.protocol.translation.test_to_openai import sent as sent_to_openai

LONG = "mcp__" + "a_server_with_a_long_name__" * 3 + "search"


@pytest.mark.parametrize("stream", [OpenAIStream, GeminiStream])
def test_a_name_that_was_shortened_is_the_clients_own_again(
    stream: type[OpenAIStream | GeminiStream],
) -> None:
    names = ToolNames([LONG])
    short = names.there(LONG)
    assert len(short) <= 64
    if stream is OpenAIStream:
        answer: Any = {"choices": [chunk(call(0, "{}", "a", short), "stop")["choices"][0]]}
    else:
        parts = [{"functionCall": {"name": short}}]
        answer = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}
    assert stream(names, "msg_1", "m").whole(answer)["content"][0]["name"] == LONG


def test_openrouters_reasoning_details_travel_in_the_call() -> None:
    details = [{"type": "reasoning.encrypted", "data": "x"}]
    delta = {**call(0, "{}", "a", "Bash"), "reasoning_details": details}
    (block,) = collect(told(chunk(delta), chunk({}, "tool_calls")))["content"]
    assert block["extra_content"] == {"reasoning_details": details}


def test_what_gemini_read_of_its_tools_is_input() -> None:
    usage = {"promptTokenCount": 50, "toolUsePromptTokenCount": 7, "candidatesTokenCount": 1}
    candidate = {"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}
    answer = {"candidates": [candidate], "usageMetadata": usage}
    message = GeminiStream(ToolNames([]), "msg_1", "m").whole(answer)
    assert message["usage"]["input_tokens"] == 57


@pytest.mark.parametrize("kind", ["server_tool_use", "web_search_tool_result"])
def test_a_block_of_a_server_tool_is_refused_with_what_to_do_about_it(kind: str) -> None:
    turns = [{"role": "assistant", "content": [{"type": kind}]}]
    with pytest.raises(Untranslatable, match="start a new conversation, or use a Claude model"):
        read_request({"model": "m", "messages": turns})


def test_a_field_that_a_provider_refuses_is_not_sent() -> None:
    strict = msgspec.structs.replace(PLAIN, refused=frozenset({"top_p"}))
    assert "top_p" in sent_to_openai(top_p=0.5)
    assert "top_p" not in sent_to_openai(strict, top_p=0.5)


def test_the_limits_of_deepseek_and_gemini_are_kept() -> None:
    deepseek = quirks_for("https://api.deepseek.com")
    assert sent_to_openai(deepseek, "deepseek-chat", max_tokens=128_000)["max_tokens"] == 8_192
    reasoner = sent_to_openai(deepseek, "deepseek-reasoner", max_tokens=128_000)
    assert reasoner["max_tokens"] == 65_536
    gemini = sent_to_gemini(max_tokens=128_000, top_k=5, top_p=0.5)["generationConfig"]
    assert gemini == {"maxOutputTokens": 65_536, "topK": 5, "topP": 0.5}


def test_a_tools_image_follows_its_result_to_gemini() -> None:
    content = [{"type": "text", "text": "see"}, PNG]
    _, _, answered = sent_to_gemini(messages=turn({"content": content}))["contents"]
    assert answered["parts"][0]["functionResponse"]["response"] == {"output": "see"}
    assert answered["parts"][1] == {"inlineData": {"mimeType": "image/png", "data": "AA"}}


def test_a_providers_words_are_kept_to_a_length() -> None:
    assert len(failure(500, {"error": {"message": "x" * 10**6}}).message) == MESSAGE_MAX


def test_a_refusal_is_openais_content_filter_in_both_ways() -> None:
    message = {"content": [{"type": "text", "text": "no"}], "stop_reason": "refusal"}
    assert whole(message, 1)["choices"][0]["finish_reason"] == "content_filter"
    (ended,) = fed({"type": "message_delta", "delta": {"stop_reason": "refusal"}})
    assert ended["choices"][0]["finish_reason"] == "content_filter"


def fed(*events: dict[str, Any]) -> list[dict[str, Any]]:
    stream = AnswerStream(1, include_usage=False)
    sent = [Event(event["type"], json.dumps(event).encode()) for event in events]
    return [chunk for event in sent for chunk in stream.feed(event)]


def test_calls_are_numbered_from_nought_whatever_stands_before_them() -> None:
    def starts(index: int, block: dict[str, Any]) -> dict[str, Any]:
        return {"type": "content_block_start", "index": index, "content_block": block}

    def more(index: int, text: str) -> dict[str, Any]:
        delta = {"type": "input_json_delta", "partial_json": text}
        return {"type": "content_block_delta", "index": index, "delta": delta}

    bash = {"type": "tool_use", "id": "a", "name": "Bash", "input": {}}
    chunks = fed(
        starts(0, {"type": "text", "text": "Look:"}),
        starts(1, bash),
        more(1, '{"x":1}'),
        starts(2, {**bash, "id": "b", "input": {"y": 2}}),  # whole at its start (`wire.md` A17)
        more(0, "of no call"),
    )
    deltas = [one["choices"][0]["delta"] for one in chunks]
    pieces = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    assert [(piece["index"], piece["function"]["arguments"]) for piece in pieces] == [
        (0, ""),
        (0, '{"x":1}'),
        (1, '{"y":2}'),
    ]
    assert deltas[0] == {"content": "Look:"}


def test_a_system_message_that_comes_later_is_folded_into_the_users_words() -> None:
    turns = [
        {"role": "system", "content": "First."},
        {"role": "user", "content": "hi"},
        {"role": "developer", "content": "Later."},
    ]
    request = read_openai({"model": "m", "messages": turns})
    assert request["system"] == "First."
    words = [block["text"] for block in request["messages"][0]["content"]]
    assert words == ["hi", "<system-reminder>\nLater.\n</system-reminder>"]


def test_only_what_an_assistant_said_is_looked_through_for_foreign_state() -> None:
    block = {"type": "tool_use", "id": "a", "name": "b", "input": {}, "extra_content": {"c": 1}}
    body = json.dumps({"messages": [{"role": "user", "content": [block]}]}).encode()
    assert without_foreign_state(body) is body
