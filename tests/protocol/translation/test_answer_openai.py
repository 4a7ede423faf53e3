"""OpenAI's dialect in front: Anthropic's answers as its own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from protocol.sse import Event, EventScanner
from protocol.translation import answer_openai
from protocol.translation.answer_openai import DONE, AnswerStream, whole
from tests.kit import corpus

MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-5-5",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "text", "text": "Hello"},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
    ],
    "stop_reason": "tool_use",
    "usage": {
        "input_tokens": 10,
        "cache_read_input_tokens": 5,
        "cache_creation_input_tokens": 1,
        "output_tokens": 3,
    },
}


def test_a_whole_answer_is_one_that_the_sdk_accepts() -> None:
    completion = ChatCompletion.model_validate(whole(MESSAGE, 1), strict=True)
    choice = completion.choices[0]
    assert choice.message.content == "Hello"
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == 16
    assert completion.usage.total_tokens == 19


def streamed(wire: bytes, *, include_usage: bool = True) -> list[ChatCompletionChunk]:
    scanner, stream = EventScanner(), AnswerStream(1, include_usage=include_usage)
    chunks = [chunk for event in scanner.feed(wire) for chunk in stream.feed(event)]
    return [ChatCompletionChunk.model_validate(chunk, strict=True) for chunk in chunks]


def recorded(name: str) -> bytes:
    response = corpus.load(name)["exchanges"][0]["response"]
    return "".join(response["sse"]).encode()


def test_a_recorded_stream_becomes_chunks_that_the_sdk_accepts() -> None:
    chunks = streamed(recorded("claude-code/tool_turn"))
    arguments = "".join(
        call.function.arguments or ""
        for chunk in chunks
        for choice in chunk.choices
        for call in choice.delta.tool_calls or ()
        if call.function
    )
    assert json.loads(arguments)
    assert chunks[-1].usage is not None
    assert chunks[-1].choices == []
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "tool_calls"


def test_usage_is_told_only_when_it_was_asked_for() -> None:
    chunks = streamed(recorded("claude-code/tool_turn"), include_usage=False)
    assert all(chunk.usage is None for chunk in chunks)


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("end_turn", "stop"), ("stop_sequence", "stop"), ("pause_turn", "stop"), (None, "stop"),
        ("unheard_of", "stop"), ("max_tokens", "length"), ("tool_use", "tool_calls"),
        ("model_context_window_exceeded", "length"), ("refusal", "content_filter"),
    ],
)  # fmt: skip
def test_a_reason_to_stop_has_its_word(reason: str | None, told: str) -> None:
    words = MESSAGE["content"][:2]  # with calls an end is theirs, whatever it is called
    content = MESSAGE["content"] if told == "tool_calls" else words
    message = {**MESSAGE, "content": content, "stop_reason": reason}
    assert whole(message, 1)["choices"][0]["finish_reason"] == told


def test_a_whole_answer_word_for_word() -> None:
    assert whole(MESSAGE, 17) == {
        "id": "msg_1",
        "object": "chat.completion",
        "created": 17,
        "model": "claude-opus-5-5",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Hello",
                    "refusal": None,
                    "reasoning_content": "hm",
                    "tool_calls": [
                        {
                            "id": "toolu_1",
                            "type": "function",
                            "function": {"name": "f", "arguments": '{"a":1}'},
                        }
                    ],
                },
                "logprobs": None,
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {
            "prompt_tokens": 16,
            "completion_tokens": 3,
            "total_tokens": 19,
            "prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 1},
        },
    }


def test_a_stream_chunk_by_chunk() -> None:
    usage = {"input_tokens": 10, "output_tokens": 1}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": usage}},
        {"type": "ping"},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s"}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_start", "index": 2,
         "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}}},
        {"type": "content_block_delta", "index": 2,
         "delta": {"type": "input_json_delta", "partial_json": "{}"}},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"},
         "usage": {"input_tokens": None, "output_tokens": 7}},
        {"type": "message_stop"},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "late"}},
    ]  # fmt: skip

    def told(include_usage: bool) -> list[dict[str, Any]]:
        stream = AnswerStream(17, include_usage=include_usage)
        sent = [Event(one["type"], json.dumps(one).encode()) for one in events]
        return [chunk for event in sent for chunk in stream.feed(event)]

    call = {"index": 0, "id": "t", "type": "function", "function": {"name": "f", "arguments": ""}}
    deltas: list[tuple[dict[str, Any], str | None]] = [
        ({"role": "assistant", "content": ""}, None),
        ({"reasoning_content": "hm"}, None),
        ({"content": "Hi"}, None),
        ({"tool_calls": [call]}, None),
        ({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}, None),
        ({}, "tool_calls"),
    ]
    head = {"id": "msg_1", "object": "chat.completion.chunk", "created": 17, "model": "m"}
    chunks = [
        {
            **head,
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
        }
        for delta, finish in deltas
    ]
    assert told(False) == chunks
    details = {"cached_tokens": 0, "cache_write_tokens": 0}
    usage_told = {"prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 17}
    last = {**head, "choices": [], "usage": {**usage_told, "prompt_tokens_details": details}}
    assert told(True) == [*({**chunk, "usage": None} for chunk in chunks), last]


@pytest.mark.parametrize("pieces", [(), ("",), ("", "")])
@pytest.mark.parametrize("stopped", [True, False])
def test_a_streamed_call_without_arguments_has_an_empty_object(
    pieces: tuple[str, ...], stopped: bool
) -> None:
    """Clients parse what they have gathered, and "" is no JSON; in one piece it is {} too."""
    block = {"type": "tool_use", "id": "t", "name": "now", "input": {}}
    stream = AnswerStream(1, include_usage=False)
    events: list[dict[str, Any]] = [
        {"type": "content_block_start", "index": 0, "content_block": block},
        *(
            {"type": "content_block_delta", "index": 0,
             "delta": {"type": "input_json_delta", "partial_json": piece}}
            for piece in pieces
        ),
        *([{"type": "content_block_stop", "index": 0}] if stopped else []),
        {"type": "content_block_start", "index": 1,
         "content_block": {**block, "id": "u", "input": {"a": 1}}},
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
        {"type": "message_stop"},
    ]  # fmt: skip
    gathered = ["", ""]
    for chunk in (chunk for event in events for chunk in stream.event(event)):
        for call in chunk["choices"][0]["delta"].get("tool_calls", ()):
            gathered[call["index"]] += call["function"]["arguments"]
    assert gathered == ["{}", '{"a":1}']


def test_a_call_without_arguments_is_complete_as_soon_as_its_block_is() -> None:
    """So that a client which runs calls as they come need not wait for the end of the answer."""
    stream = AnswerStream(1, include_usage=False)
    for index in (1, 2):
        block = {"type": "tool_use", "id": f"t{index}", "name": "now", "input": {}}
        stream.event({"type": "content_block_start", "index": index, "content_block": block})
    (chunk,) = stream.event({"type": "content_block_stop", "index": 2})
    assert chunk["choices"][0]["delta"] == {
        "tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]
    }
    assert stream.event({"type": "content_block_stop", "index": 2}) == []


def test_an_error_in_mid_stream_is_in_openai_s_shape() -> None:
    stream = AnswerStream(1, include_usage=False)
    data = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
    assert stream.feed(Event("error", json.dumps(data).encode())) == [
        {
            "error": {
                "message": "busy",
                "type": "overloaded_error",
                "param": None,
                "code": "overloaded_error",
            }
        }
    ]


def test_an_error_answer_keeps_its_words() -> None:
    body = b'{"type":"error","error":{"type":"not_found_error","message":"no model"}}'
    assert json.loads(answer_openai.error_body(400, body)) == {
        "error": {
            "message": "no model",
            "type": "not_found_error",
            "param": None,
            "code": "not_found_error",
        }
    }
    theirs = b'{"error":{"message":"m","param":null}}'
    assert answer_openai.error_body(400, theirs) == theirs


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>", "the provider answered 502 without a reason"),
        (b"", "the provider answered 502 without a reason"),
        (b"no healthy upstream", "no healthy upstream"),
        (b'{"error":"m"}', "m"),
        (b'{"error":{"message":"m"}}', "m"),
        (b'{"detail":"m"}', "m"),
        (b"[]", "the provider gave no reason"),
    ],
)
def test_an_error_answer_of_no_known_shape_gets_one(body: bytes, words: str) -> None:
    """It goes out as JSON, and clients read it as that."""
    assert json.loads(answer_openai.error_body(502, body)) == {
        "error": {"message": words, "type": "api_error", "param": None, "code": "api_error"}
    }


def test_an_error_event_that_has_the_shape_already_is_told_once() -> None:
    """An answer of ours, inside of a stream that was opened before."""
    error = {"message": "m", "type": "rate_limit_error", "param": None, "code": None}
    stream = AnswerStream(1, include_usage=False)
    assert stream.feed(Event("error", json.dumps({"error": error}).encode())) == [{"error": error}]
    assert stream.ended


@given(st.binary(max_size=100))
def test_no_bytes_of_an_upstream_make_it_fail(junk: bytes) -> None:
    AnswerStream(1, include_usage=True).feed(Event("x", junk))
    answer_openai.error_body(400, junk)


def told(*events: dict[str, Any], include_usage: bool = False) -> list[dict[str, Any]]:
    """The chunks of a stream of these events."""
    stream = AnswerStream(17, include_usage=include_usage)
    sent = [Event(one["type"], json.dumps(one).encode()) for one in events]
    return [chunk for event in sent for chunk in stream.feed(event)]


def begun(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def more(index: int, words: str) -> dict[str, Any]:
    delta = {"type": "input_json_delta", "partial_json": words}
    return {"type": "content_block_delta", "index": index, "delta": delta}


def deltas(*events: dict[str, Any]) -> list[dict[str, Any]]:
    return [chunk["choices"][0]["delta"] for chunk in told(*events)]


def test_calls_are_counted_by_themselves_whatever_stands_between_them() -> None:
    first, second = (
        {
            "index": place,
            "id": name,
            "type": "function",
            "function": {"name": name, "arguments": ""},
        }
        for place, name in enumerate("fg")
    )
    assert deltas(
        begun(1, type="tool_use", id="f", name="f", input={}),
        begun(3, type="tool_use", id="g", name="g"),
        more(3, "{}"),
        more(1, "[]"),
        more(2, "lost"),
    ) == [
        {"tool_calls": [first]},
        {"tool_calls": [second]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "[]"}}]},
    ]


def test_after_an_error_nothing_more_is_told() -> None:
    (only,) = told(
        {"type": "error", "error": {"type": "api_error"}}, begun(0, type="text", text="Hi")
    )
    assert "error" in only


def test_what_a_block_brings_at_its_begin_is_not_lost() -> None:
    """Some upstreams send no deltas after it."""
    words, called = deltas(
        begun(0, type="text", text="Hi"),
        begun(1, type="tool_use", id="t", name="f", input={"a": 1}),
    )
    assert words == {"content": "Hi"}
    assert called["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a":1}'}


def test_an_answer_without_reasoning_has_no_word_of_it_and_empty_reasoning_hides_no_other() -> None:
    def reasoning(*thoughts: str) -> str | None:
        blocks = [{"type": "thinking", "thinking": thought} for thought in thoughts]
        found = whole({**MESSAGE, "content": blocks}, 1)["choices"][0]["message"]
        return found.get("reasoning_content")

    assert reasoning() is None
    assert reasoning("") is None
    assert reasoning("", "hm") == "hm"


def test_an_answer_without_calls_lists_none() -> None:
    message = whole({**MESSAGE, "content": [{"type": "text", "text": "Hi"}]}, 1)["choices"][0][
        "message"
    ]
    assert message == {"role": "assistant", "content": "Hi", "refusal": None}


def test_the_stream_ends_with_the_word_that_every_client_waits_for() -> None:
    assert DONE == b"data: [DONE]\n\n"
