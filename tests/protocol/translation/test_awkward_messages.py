"""What Anthropic and the servers compatible with it answer, told to clients of OpenAI's dialect."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from protocol.sse import Event
from protocol.translation.answer_openai import AnswerStream, error_body, whole

Json = dict[str, Any]


def streamed(*events: Json) -> list[Json]:
    stream = AnswerStream(1, include_usage=True)
    begun = {"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": {}}}
    chunks = [
        chunk
        for event in (begun, *events)
        for chunk in stream.feed(Event(event["type"], json.dumps(event).encode()))
    ]
    for chunk in chunks:
        if "error" not in chunk:
            ChatCompletionChunk.model_validate(chunk)
    return chunks


def block(index: int, **fields: Any) -> Json:
    return {"type": "content_block_start", "index": index, "content_block": fields}


def delta(index: int, **fields: Any) -> Json:
    return {"type": "content_block_delta", "index": index, "delta": fields}


def over(reason: str | None = "end_turn", **usage: int) -> Json:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}


STOP = {"type": "message_stop"}


def finishes(chunks: list[Json]) -> list[str]:
    found = [chunk["choices"][0]["finish_reason"] for chunk in chunks if chunk.get("choices")]
    return [reason for reason in found if reason]


def said(chunks: list[Json]) -> str:
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk.get("choices")]
    return "".join(one.get("content") or "" for one in deltas)


def test_a_reason_is_told_once_however_many_deltas_there_are() -> None:
    """Some tell the usage in several, of which only one has the reason."""
    chunks = streamed(
        over(None, input_tokens=5), over("max_tokens", output_tokens=2), over(None), STOP
    )
    assert finishes(chunks) == ["length"]
    assert chunks[-1]["usage"]["total_tokens"] == 7
    assert finishes(streamed(over("end_turn"), over("end_turn"), STOP)) == ["stop"]


def test_an_end_without_any_reason_has_one_all_the_same() -> None:
    for events in ((STOP,), (over(None), STOP)):
        chunks = streamed(delta(0, type="text_delta", text="a"), *events)
        assert (said(chunks), finishes(chunks)) == ("a", ["stop"])


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("stop_sequence", "stop"), ("pause_turn", "stop"), ("refusal", "content_filter"),
     ("model_context_window_exceeded", "length"), ("something_new", "stop")],
)  # fmt: skip
def test_every_reason_has_its_word(reason: str, finish: str) -> None:
    assert finishes(streamed(over(reason), STOP)) == [finish]
    told = whole({"id": "1", "model": "m", "content": [], "stop_reason": reason}, 1)
    assert told["choices"][0]["finish_reason"] == finish


def test_what_has_no_place_in_a_chat_is_left_out_and_the_rest_is_there() -> None:
    chunks = streamed(
        {"type": "ping"},
        block(0, type="thinking", thinking="Hm", signature=""),
        delta(0, type="thinking_delta", thinking="."),
        delta(0, type="signature_delta", signature="s"),
        block(1, type="redacted_thinking", data="x"),
        block(2, type="server_tool_use", id="srv", name="web_search", input={}),
        delta(2, type="input_json_delta", partial_json='{"q":1}'),
        block(3, type="web_search_tool_result", tool_use_id="srv", content=[]),
        block(4, type="text", text="", citations=[]),
        delta(4, type="citations_delta", citation={}),
        delta(4, type="text_delta", text="Yes."),
        delta(4, type="something_new", x=1),
        block(5, type="something_new"),
        {"type": "something_new"},
        over("end_turn"),
        STOP,
    )
    thoughts = [c["choices"][0]["delta"].get("reasoning_content") for c in chunks if c["choices"]]
    assert "".join(one or "" for one in thoughts) == "Hm."
    assert (said(chunks), finishes(chunks)) == ("Yes.", ["stop"])
    assert not any("tool_calls" in c["choices"][0]["delta"] for c in chunks if c["choices"])


def test_calls_at_once_are_numbered_and_say_that_they_are_calls() -> None:
    chunks = streamed(
        block(0, type="tool_use", id="a", name="A", input={}),
        delta(0, type="input_json_delta", partial_json=""),
        delta(0, type="input_json_delta", partial_json='{"x":1}'),
        {"type": "content_block_stop", "index": 0},
        block(1, type="tool_use", id="b", name="B", input={}),
        {"type": "content_block_stop", "index": 1},
        over("end_turn"),  # several servers say so after a call
        STOP,
    )
    pieces = [
        p for c in chunks if c["choices"] for p in c["choices"][0]["delta"].get("tool_calls", ())
    ]
    arguments = {0: "", 1: ""}
    for piece in pieces:
        arguments[piece["index"]] += piece["function"]["arguments"]
    assert arguments == {0: '{"x":1}', 1: "{}"}
    assert finishes(chunks) == ["tool_calls"]
    blocks = [{"type": "tool_use", "id": "a", "name": "A", "input": {}}]
    told = whole({"id": "1", "model": "m", "content": blocks, "stop_reason": "end_turn"}, 1)
    assert told["choices"][0]["finish_reason"] == "tool_calls"
    ChatCompletion.model_validate(told)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("prompt is too long: 210000 tokens > 200000 maximum", "context_length_exceeded"),
        (
            "input length and `max_tokens` exceed context limit: 1 + 2 > 3",
            "context_length_exceeded",
        ),
        ("max_tokens: 5 > 4", "invalid_request_error"),
    ],
)
def test_a_prompt_that_is_too_long_has_the_code_that_clients_look_for(
    message: str, code: str
) -> None:
    error = {"type": "invalid_request_error", "message": message}
    told = json.loads(error_body(400, json.dumps({"type": "error", "error": error}).encode()))
    assert told["error"] == {**error, "param": None, "code": code}
    assert streamed({"type": "error", "error": error})[-1] == told


def test_a_model_that_is_not_there_has_its_code_too() -> None:
    error = {"type": "not_found_error", "message": "model: claude-none"}
    told = json.loads(error_body(404, json.dumps({"type": "error", "error": error}).encode()))
    assert told["error"]["code"] == "model_not_found"
