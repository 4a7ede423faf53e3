"""What Gemini's API is known to send and to refuse, and what clients send that has no place there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from protocol.sse import Event
from protocol.translation.collect import collect
from protocol.translation.from_gemini import GeminiStream
from protocol.translation.provider_error import ProviderError
from tests.protocol.translation.test_from_openai import NAMES, check
from tests.protocol.translation.test_to_gemini import sent

Json = dict[str, Any]


def chunk(*parts: Json, finish: str | None = None, **more: Any) -> Json:
    candidate: Json = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": "gemini-3-pro", **more}


def streamed(*chunks: Any) -> list[Json]:
    stream = GeminiStream(NAMES, "msg_1", "m")
    events = [out for each in chunks for out in stream.feed(Event("", json.dumps(each).encode()))]
    events += stream.finish()
    check(events)
    return events


def message(*chunks: Any) -> Json:
    return collect(streamed(*chunks))


def test_only_the_first_of_several_candidates_is_told() -> None:
    two = chunk({"text": "a"}, finish="STOP")
    second = {"index": 1, "content": {"parts": [{"text": "other"}]}, "finishReason": "MAX_TOKENS"}
    two["candidates"].insert(0, second)
    alone = {"candidates": [second]}
    found = message(chunk({"text": "b"}), two, alone)
    assert found["content"] == [{"type": "text", "text": "ba"}]
    assert found["stop_reason"] == "end_turn"


@pytest.mark.parametrize(
    "blocked",
    [
        {"promptFeedback": {"blockReason": "SAFETY"}},
        {"candidates": [], "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}},
        {"candidates": None, "promptFeedback": {"blockReason": "OTHER"}, "usageMetadata": {}},
    ],
)
def test_a_blocked_prompt_is_a_refusal(blocked: Json) -> None:
    assert (message(blocked)["stop_reason"], message(blocked)["content"]) == ("refusal", [])


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("SAFETY", "refusal"), ("RECITATION", "refusal"), ("BLOCKLIST", "refusal"),
     ("MAX_TOKENS", "max_tokens"), ("STOP", "end_turn"), ("OTHER", "end_turn")],
)  # fmt: skip
def test_an_end_without_any_content_has_its_reason(finish: str, reason: str) -> None:
    bare = {"candidates": [{"finishReason": finish, "index": 0}]}
    empty = {"candidates": [{"finishReason": finish, "content": {}}]}
    null = {"candidates": [{"finishReason": finish, "content": {"parts": None}}]}
    for last in (bare, empty, null):
        found = message(last, {"usageMetadata": {"promptTokenCount": 3}})
        assert (found["stop_reason"], found["content"]) == (reason, [])
        assert found["usage"]["input_tokens"] == 3


def test_a_call_that_the_model_got_wrong_is_an_error_with_its_words() -> None:
    words = "Malformed function call: call:Bash{"
    broken = {"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": words}]}
    error = streamed(chunk({"text": "a"}), broken)[-1]["error"]
    assert "MALFORMED_FUNCTION_CALL" in error["message"]
    assert words in error["message"]


@pytest.mark.parametrize("call", [{"name": "Bash"}, {"name": "Bash", "args": None}])
def test_a_call_without_arguments_has_none(call: Json) -> None:
    found = message(chunk({"functionCall": call}, finish="STOP"))
    assert found["content"] == [{"type": "tool_use", "id": "msg_1_0", "name": "Bash", "input": {}}]
    assert found["stop_reason"] == "tool_use"


def test_calls_with_the_same_id_and_with_strange_ones_are_told_apart() -> None:
    parts = [{"functionCall": {"name": "Bash", "args": {}, "id": one}} for one in ("a", "a", "b:0")]
    found = message(chunk(*parts, finish="STOP"))
    assert [block["id"] for block in found["content"]] == ["a", "msg_1_1", "msg_1_2"]


def test_thoughts_words_and_calls_keep_their_kind() -> None:
    found = message(
        chunk({"text": "Hm", "thought": True}, {"text": ".", "thought": True}),
        chunk({"text": "Look:"}, {"thoughtSignature": "s"}, {"text": ""}),
        chunk(
            {"functionCall": {"name": "Bash", "args": {"command": "ls"}}, "thoughtSignature": "t"}
        ),
        chunk({"text": "", "thoughtSignature": "u"}, finish="STOP"),
    )
    assert [block["type"] for block in found["content"]] == ["thinking", "text", "tool_use"]
    assert found["content"][0]["thinking"] == "Hm."
    assert found["content"][2]["extra_content"] == {"google": {"thought_signature": "t"}}


def test_usage_has_the_thoughts_and_is_the_last_that_was_told() -> None:
    first = {"promptTokenCount": 10, "thoughtsTokenCount": 5}
    last = {"promptTokenCount": 10, "candidatesTokenCount": 2, "thoughtsTokenCount": 40,
            "cachedContentTokenCount": 4, "totalTokenCount": 52}  # fmt: skip
    found = message(
        chunk({"text": "a"}, usageMetadata=first),
        chunk({"text": "b"}, usageMetadata={}),
        chunk(finish="STOP", usageMetadata=last),
    )["usage"]
    assert (found["input_tokens"], found["output_tokens"]) == (6, 42)
    assert found["cache_read_input_tokens"] == 4


def test_a_stream_that_is_one_array_is_read_too() -> None:
    """So it comes without `alt=sse`, from gateways that drop the query."""
    array = [chunk({"text": "a"}), chunk({"text": "b"}, finish="STOP")]
    assert message(array)["content"] == [{"type": "text", "text": "ab"}]
    error = {"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED"}}
    with pytest.raises(ProviderError, match="quota"):
        streamed([error])
    assert streamed([chunk({"text": "a"}), error, chunk({"text": "b"})])[-1]["type"] == "error"


# --- requests


def test_an_empty_text_is_not_sent_beside_others() -> None:
    """Gemini refuses parts without data."""
    content = [{"type": "text", "text": ""}, {"type": "text", "text": "hi"}]
    messages = [
        {"role": "user", "content": content},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": "s"}]},
        {"role": "user", "content": ""},
        {"role": "user", "content": "go on"},
    ]
    assert sent(messages=messages)["contents"] == [
        {"role": "user", "parts": [{"text": "hi"}, {"text": "go on"}]}
    ]
    assert sent(messages=[{"role": "user", "content": ""}])["contents"] == [
        {"role": "user", "parts": [{"text": ""}]}
    ]


def test_an_empty_result_and_a_bare_error_are_results() -> None:
    calls = [{"type": "tool_use", "id": one, "name": "Bash", "input": {}} for one in "ab"]
    results = [
        {"type": "tool_result", "tool_use_id": "a"},
        {"type": "tool_result", "tool_use_id": "b", "content": [], "is_error": True},
    ]
    messages = [{"role": "assistant", "content": calls}, {"role": "user", "content": results}]
    _, answered = sent(messages=messages)["contents"]
    assert [part["functionResponse"]["response"] for part in answered["parts"]] == [
        {"output": ""},
        {"error": ""},
    ]
