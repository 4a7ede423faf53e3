"""The streams and messages have the grammar of the Anthropic API."""

from __future__ import annotations

import json
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from server.scripted import (
    Pause,
    Send,
    message,
    message_events,
    stream_with_early_error,
    stream_with_late_error,
    text_block,
    text_message,
    text_stream,
    thinking_block,
    tool_use_block,
    tool_use_stream,
)
from server.scripted.messages import Block
from tests.server.scripted.conversation import events_of

names = st.text("abcdefgh_", min_size=1, max_size=8)
inputs = st.dictionaries(names, st.text(max_size=20) | st.integers() | st.booleans(), max_size=4)
blocks = st.lists(
    st.one_of(
        st.text(max_size=60).map(text_block),
        st.text(max_size=60).map(thinking_block),
        st.builds(tool_use_block, names, inputs, names),
    ),
    max_size=4,
)


def assembled(events: list[dict[str, Any]]) -> tuple[list[Block], dict[str, Any]]:
    """What a client makes of a stream; fails where an event is not allowed."""
    assert events[0]["type"] == "message_start"
    assert events[0]["message"]["content"] == []
    assert events[-1]["type"] == "message_stop"
    ending = events[-2]
    assert ending["type"] == "message_delta"
    content: list[dict[str, Any]] = []
    unparsed = ""
    is_open = False
    for event in events[1:-2]:
        kind = event["type"]
        if kind == "ping":
            continue
        if kind == "content_block_start":
            assert not is_open
            assert event["index"] == len(content)
            is_open, unparsed = True, ""
            content.append(dict(event["content_block"]))
        elif kind == "content_block_stop":
            assert is_open
            assert event["index"] == len(content) - 1
            is_open = False
            if content[-1]["type"] == "tool_use":
                content[-1]["input"] = json.loads(unparsed)
        else:
            assert kind == "content_block_delta"
            assert is_open
            delta = dict(event["delta"])
            field = {"input_json_delta": "partial_json"}.get(
                delta["type"], delta["type"].removesuffix("_delta")
            )
            if field == "partial_json":
                unparsed += delta[field]
            else:
                content[-1][field] += delta[field]
    assert not is_open
    return cast("list[Block]", content), ending


@given(blocks, st.integers(1, 6))
def test_any_blocks_streamed_in_any_number_of_deltas_come_back_whole(
    said: list[Block], deltas: int
) -> None:
    content, _ = assembled(events_of(b"".join(message_events(said, deltas=deltas))))
    assert content == said


def test_the_stop_reason_says_whether_a_tool_is_called() -> None:
    _, spoken = assembled(events_of(b"".join(message_events([text_block("a")]))))
    _, called = assembled(events_of(tool_use_stream("Bash", {"command": "ls"}).whole_body()))
    assert spoken["delta"]["stop_reason"] == "end_turn"
    assert called["delta"]["stop_reason"] == "tool_use"


def test_the_usage_at_the_end_of_a_stream_is_the_one_asked_for() -> None:
    answer = text_stream("Hello", input_tokens=1000, output_tokens=77)
    start, *_ = events = events_of(answer.whole_body())
    assert cast("Any", start)["message"]["usage"]["input_tokens"] == 1000
    _, ending = assembled(events)
    assert ending["usage"]["input_tokens"] == 1000
    assert ending["usage"]["output_tokens"] == 77


def test_a_paced_stream_pauses_between_its_events_and_not_before_or_after() -> None:
    parts = text_stream("Hello world", events=2, pause=0.5).steps()
    assert isinstance(parts[0], Send)
    assert isinstance(parts[-1], Send)
    assert [type(step) for step in parts[1::2]] == [Pause] * (len(parts) // 2)


def test_the_number_of_text_events_is_the_one_asked_for() -> None:
    events = events_of(text_stream("x" * 100, events=10).whole_body())
    assert sum(event["type"] == "content_block_delta" for event in events) == 10


def test_an_early_error_is_the_only_event() -> None:
    events = events_of(stream_with_early_error("overloaded_error").whole_body())
    assert [event["type"] for event in events] == ["error"]
    assert cast("Any", events[0])["error"]["type"] == "overloaded_error"


def test_a_late_error_comes_after_all_of_the_text_and_ends_the_stream() -> None:
    events = cast("list[Any]", events_of(stream_with_late_error("Hello", "api_error").whole_body()))
    assert "".join(e["delta"]["text"] for e in events if "delta" in e) == "Hello"
    assert events[-1]["error"]["type"] == "api_error"
    assert "content_block_stop" not in [event["type"] for event in events]


def test_a_whole_message_carries_the_same_as_a_stream() -> None:
    said = [text_block("Hello"), tool_use_block("Bash", {"command": "ls"})]
    whole = json.loads(message(said, model="m", output_tokens=5).whole_body())
    content, ending = assembled(events_of(b"".join(message_events(said, output_tokens=5))))
    assert whole["content"] == content
    assert whole["stop_reason"] == ending["delta"]["stop_reason"]
    assert whole["usage"]["output_tokens"] == ending["usage"]["output_tokens"]
    assert whole["model"] == "m"


def test_a_text_message_is_json_of_the_text() -> None:
    answer = text_message("Hello")
    assert answer.header("Content-Type") == "application/json"
    assert json.loads(answer.body)["content"] == [{"type": "text", "text": "Hello"}]
