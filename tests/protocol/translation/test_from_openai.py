"""What OpenAI-compatible servers answer, told as Anthropic would."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from protocol.sse import Event, EventScanner
from protocol.translation.collect import UNPARSED, collect
from protocol.translation.from_openai import OpenAIStream
from protocol.translation.grammar import Grammar
from protocol.translation.provider_error import ProviderError
from protocol.translation.tool_names import ToolNames
from protocol.translation.writer import encode_event

NAMES = ToolNames(["Bash", "Read"])
judge = TypeAdapter[Any](RawMessageStreamEvent)


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> Any:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-x",
        "choices": choices,
        **more,
    }


def call(index: int, arguments: str = "", call_id: str = "", name: str = "") -> dict[str, Any]:
    piece: dict[str, Any] = {"index": index, "function": {"arguments": arguments}}
    if call_id:
        piece |= {"id": call_id, "type": "function"}
    if name:
        piece["function"]["name"] = name
    return {"tool_calls": [piece]}


def told(*chunks: Any, end: bool = True) -> list[dict[str, Any]]:
    """The events, each of which the SDK's own types accept, and all of which obey the grammar."""
    stream = OpenAIStream(NAMES, "msg_1", "asked-for")
    events = [event for each in chunks for event in stream.chunk(each)]
    if end:
        events += stream.finish()
    check(events)
    return events


def check(events: list[dict[str, Any]]) -> None:
    grammar = Grammar()
    for event in events:
        grammar.feed(event)
        if event["type"] != "error":
            judge.validate_python(event)
    grammar.finish()


USAGE = {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107}


def test_words_become_one_block_of_text() -> None:
    events = told(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Hel"}),
        chunk({"content": "lo"}),
        chunk({}, "stop"),
        chunk(usage=USAGE),
    )
    assert [event["type"] for event in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    message = collect(events)
    assert message["content"] == [{"type": "text", "text": "Hello"}]
    assert message["stop_reason"] == "end_turn"
    assert message["model"] == "gpt-x"
    assert message["usage"]["input_tokens"] == 100
    assert message["usage"]["output_tokens"] == 7


def test_the_first_word_goes_out_with_the_chunk_that_brought_it() -> None:
    stream = OpenAIStream(NAMES, "msg_1", "m")
    kinds = [event["type"] for event in stream.chunk(chunk({"content": "Hi"}))]
    assert kinds == ["message_start", "content_block_start", "content_block_delta"]


def test_reasoning_becomes_a_thinking_block_that_nobody_signed() -> None:
    for field in ("reasoning_content", "reasoning"):
        message = collect(told(chunk({field: "hm"}), chunk({"content": "yes"}), chunk({}, "stop")))
        assert message["content"] == [
            {"type": "thinking", "thinking": "hm", "signature": ""},
            {"type": "text", "text": "yes"},
        ]


def test_parallel_calls_with_interleaved_arguments_stay_apart() -> None:
    message = collect(
        told(
            chunk(call(0, "", "call_a", "Bash")),
            chunk(call(0, '{"command":')),
            chunk(call(1, '{"file_', "call_b", "Read")),
            chunk(call(0, '"ls"}')),
            chunk(call(1, 'path":"a"}')),
            chunk({}, "tool_calls"),
        )
    )
    assert message["stop_reason"] == "tool_use"
    assert message["content"] == [
        {"type": "tool_use", "id": "call_a", "name": "Bash", "input": {"command": "ls"}},
        {"type": "tool_use", "id": "call_b", "name": "Read", "input": {"file_path": "a"}},
    ]


def test_a_call_waits_for_its_id_and_its_name() -> None:
    message = collect(
        told(
            chunk(call(0, '{"command"')),
            chunk(call(0, ':"ls"', name="Bash")),
            chunk(call(0, "}", "call_a")),
            chunk({}, "tool_calls"),
        )
    )
    assert message["content"][0]["id"] == "call_a"
    assert message["content"][0]["input"] == {"command": "ls"}


def test_a_call_without_an_id_gets_one_that_no_other_answer_has() -> None:
    message = collect(told(chunk(call(0, "{}", name="Bash")), chunk({}, "tool_calls")))
    assert message["content"][0]["id"] == "msg_1_0"


def test_a_call_without_arguments_has_an_empty_input() -> None:
    message = collect(told(chunk(call(0, "", "call_a", "Bash")), chunk({}, "tool_calls")))
    assert message["content"][0]["input"] == {}


def test_arguments_that_are_no_json_are_passed_on_for_the_client_to_refuse() -> None:
    message = collect(told(chunk(call(0, '{"a":', "call_a", "Bash")), chunk({}, "length")))
    assert message["content"][0]["input"] == {UNPARSED: '{"a":'}
    assert message["stop_reason"] == "max_tokens"


def test_a_server_that_says_stop_after_a_call_means_the_call() -> None:
    message = collect(told(chunk(call(0, "{}", "call_a", "Bash")), chunk({}, "stop")))
    assert message["stop_reason"] == "tool_use"


def test_a_call_that_goes_on_after_its_end_breaks_the_stream_visibly() -> None:
    events = told(
        chunk(call(0, "{}", "call_a", "Bash")),
        chunk(call(1, "{", "call_b", "Bash")),
        chunk(call(0, '{"more":1}')),
        end=False,
    )
    assert events[-1]["type"] == "error"


def test_a_provider_s_state_travels_in_the_block_that_it_belongs_to() -> None:
    piece = call(0, "{}", "call_a", "Bash")
    piece["tool_calls"][0]["extra_content"] = {"google": {"thought_signature": "s"}}
    message = collect(told(chunk(piece), chunk({}, "tool_calls")))
    assert message["content"][0]["extra_content"] == {"google": {"thought_signature": "s"}}


def test_a_refusal_is_told_as_one() -> None:
    message = collect(told(chunk({"refusal": "no"}), chunk({}, "stop")))
    assert message["content"] == [{"type": "text", "text": "no"}]
    assert message["stop_reason"] == "refusal"
    assert collect(told(chunk({"content": "x"}), chunk({}, "content_filter")))["stop_reason"] == (
        "refusal"
    )


def test_cached_input_is_told_apart_and_never_added_twice() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
    }
    events = told(
        chunk({"content": "a"}, usage={"prompt_tokens": 100, "completion_tokens": 1}),
        chunk({}, "stop", usage=usage),
        chunk(usage=usage),
    )
    assert collect(events)["usage"] == {
        "input_tokens": 30,
        "cache_creation_input_tokens": 10,
        "cache_read_input_tokens": 60,
        "output_tokens": 7,
    }


def test_deepseek_s_word_for_cached_input_is_known() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 1, "prompt_cache_hit_tokens": 4}
    message = collect(told(chunk({"content": "a"}, "stop"), chunk(usage=usage)))
    assert message["usage"]["cache_read_input_tokens"] == 4
    assert message["usage"]["input_tokens"] == 6


def test_a_stream_that_begins_with_an_error_is_a_failure_that_nobody_saw() -> None:
    with pytest.raises(ProviderError) as failure:
        told({"error": {"message": "slow down", "code": 429}})
    assert (failure.value.status, failure.value.type) == (429, "rate_limit_error")
    assert failure.value.message == "slow down"


def test_an_error_in_mid_stream_is_told_as_an_error_event() -> None:
    events = told(chunk({"content": "a"}), {"error": {"message": "gone", "code": 502}}, end=False)
    assert events[-1] == {"type": "error", "error": {"type": "api_error", "message": "gone"}}


def test_openrouter_s_error_inside_of_a_choice_is_one_too() -> None:
    broken = chunk({"content": ""}, "error")
    broken["choices"][0]["error"] = {"message": "provider died", "code": 503}
    events = told(chunk({"content": "a"}), broken, end=False)
    assert events[-1]["error"] == {"type": "overloaded_error", "message": "provider died"}


def test_an_end_without_a_finish_reason_is_a_cut() -> None:
    events = told(chunk({"content": "a"}))
    assert events[-1]["type"] == "error"
    assert "ended before its answer did" in events[-1]["error"]["message"]


def test_done_is_the_end_and_nothing_to_be_read() -> None:
    stream = OpenAIStream(NAMES, "msg_1", "m")
    stream.chunk(chunk({"content": "a"}, "stop"))
    assert stream.feed(Event("", b" [DONE] "))[-1] == {"type": "message_stop"}
    assert stream.ended


def test_words_that_come_as_parts_are_words() -> None:
    parts = [
        {"type": "text", "text": "Hel"},
        {"type": "image"},
        "x",
        {"type": "text", "text": "lo"},
    ]
    message = collect(told(chunk({"content": parts}), chunk({}, "stop")))
    assert message["content"] == [{"type": "text", "text": "Hello"}]


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("stop", "end_turn"), ("length", "max_tokens"), ("content_filter", "refusal"),
     ("tool_calls", "end_turn"), ("eos", "end_turn")],
)  # fmt: skip
def test_words_alone_end_as_the_finish_reason_says(finish: str, reason: str) -> None:
    assert collect(told(chunk({"content": "a"}, finish)))["stop_reason"] == reason


@pytest.mark.parametrize("finish", ["stop", "tool_calls", "function_call", "eos"])
def test_whatever_the_reason_is_called_a_call_is_to_be_run(finish: str) -> None:
    message = collect(told(chunk(call(0, "{}", "call_a", "Bash")), chunk({}, finish)))
    assert message["stop_reason"] == "tool_use"


def test_a_call_that_never_got_a_name_is_an_error_of_the_provider() -> None:
    events = told(chunk({"content": "a"}), chunk(call(0, "{}", "call_a")), chunk({}, "tool_calls"))
    assert events[-1]["error"]["type"] == "api_error"
    assert "without a name" in events[-1]["error"]["message"]


def test_more_cached_than_asked_is_no_negative_number() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 1, "prompt_cache_hit_tokens": 40}
    message = collect(told(chunk({"content": "a"}, "stop"), chunk(usage=usage)))
    assert message["usage"]["input_tokens"] == 0


def test_an_end_without_done_is_an_end_when_the_reason_was_told() -> None:
    assert told(chunk({"content": "a"}, "stop"))[-1] == {"type": "message_stop"}


def test_nothing_is_said_after_the_end() -> None:
    stream = OpenAIStream(NAMES, "msg_1", "m")
    stream.chunk(chunk({"content": "a"}, "stop"))
    assert stream.finish()
    assert stream.feed(Event("", b'{"choices":[]}')) == []
    assert stream.finish() == []


def test_bytes_that_are_no_json_break_the_stream_visibly() -> None:
    stream = OpenAIStream(NAMES, "msg_1", "m")
    with pytest.raises(ProviderError):
        stream.feed(Event("", b"<html>"))
    stream.chunk(chunk({"content": "a"}))
    assert stream.feed(Event("", b"<html>"))[-1]["type"] == "error"


def test_a_whole_answer_is_a_message_that_the_sdk_accepts() -> None:
    answer = {
        "id": "chatcmpl-1",
        "model": "gpt-x",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "done",
                    "reasoning_content": "hm",
                    "tool_calls": [
                        {
                            "id": "call_a",
                            "type": "function",
                            "function": {"name": "Bash", "arguments": '{"command":"ls"}'},
                        }
                    ],
                },
                "finish_reason": "tool_calls",
            }
        ],
        "usage": USAGE,
    }
    message = OpenAIStream(NAMES, "msg_1", "asked-for").whole(answer)
    assert [block["type"] for block in message["content"]] == ["thinking", "text", "tool_use"]
    Message.model_validate(message)


def test_an_answer_without_choices_is_a_failure() -> None:
    with pytest.raises(ProviderError, match="ended before"):
        OpenAIStream(NAMES, "msg_1", "m").whole({"id": "x", "model": "m"})


# ------------------------------------------------------------------------------- any order, any cut

_call_pieces = st.tuples(
    st.just("call"), st.integers(0, 3), st.sampled_from(["{", "}", '"a"', ":", "1", "", " ", "{}"])
)
_pieces = st.one_of(
    st.tuples(st.sampled_from(["content", "reasoning_content", "refusal"]), st.text(max_size=5)),
    _call_pieces,
    st.tuples(st.just("usage"), st.integers(0, 1000)),
    st.tuples(st.just("empty"), st.none()),
)


def _as_chunk(piece: Any, begun: set[int]) -> Any:
    kind = piece[0]
    if kind == "call":
        index = piece[1]
        new = index not in begun
        begun.add(index)
        return chunk(call(index, piece[2], f"call_{index}" if new else "", "Bash" if new else ""))
    if kind == "usage":
        return chunk(usage={"prompt_tokens": piece[1], "completion_tokens": piece[1]})
    if kind == "empty":
        return chunk({})
    return chunk({kind: piece[1]})


@given(
    st.lists(_pieces, max_size=25),
    st.sampled_from(["stop", "length", "tool_calls", None]),
    st.data(),
)
def test_whatever_comes_in_whatever_pieces_the_grammar_holds(
    pieces: list[Any], finish: str | None, data: st.DataObject
) -> None:
    begun: set[int] = set()
    chunks = [_as_chunk(piece, begun) for piece in pieces] + [chunk({}, finish)]
    wire = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in chunks)
    wire += b"data: [DONE]\n\n"
    scanner, stream = EventScanner(), OpenAIStream(NAMES, "msg_1", "m")
    events: list[dict[str, Any]] = []
    while wire:
        size = data.draw(st.integers(1, max(len(wire), 1)))
        for event in scanner.feed(wire[:size]):
            events += stream.feed(event)
        wire = wire[size:]
    events += stream.finish()
    check(events)
    assert stream.ended
    if events[-1]["type"] == "message_stop":
        _same_words(collect(events), pieces)


def _same_words(message: dict[str, Any], pieces: list[Any]) -> None:
    """Nothing is lost and nothing invented: the words of each kind are those that came."""
    said = "".join(block["text"] for block in message["content"] if block["type"] == "text")
    assert sorted(said) == sorted("".join(p[1] for p in pieces if p[0] in ("content", "refusal")))
    thought = [b["thinking"] for b in message["content"] if b["type"] == "thinking"]
    assert "".join(thought) == "".join(p[1] for p in pieces if p[0] == "reasoning_content")
    called = {b["id"] for b in message["content"] if b["type"] == "tool_use"}
    assert called == {f"call_{p[1]}" for p in pieces if p[0] == "call"}


def test_every_event_has_its_name_on_the_wire() -> None:
    assert encode_event({"type": "message_stop"}) == (
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )
