"""Pieces in any order, and an answer that keeps Anthropic's grammar."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.translation.collect import collect
from protocol.translation.grammar import Grammar
from protocol.translation.writer import MessageWriter, encode_event, usage_view
from protocol.usage import Usage

Json = dict[str, Any]

NOTHING_USED = {
    "input_tokens": 0,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "output_tokens": 0,
}


def writer(origin: str = "") -> MessageWriter:
    return MessageWriter("msg_1", "gpt-x", origin)


def kinds(events: list[Json]) -> list[str]:
    return [event["type"].removeprefix("content_block_") for event in events]


def test_a_message_begins_once_and_empty() -> None:
    one = writer()
    assert one.begin() == [
        {
            "type": "message_start",
            "message": {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": "gpt-x",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": NOTHING_USED,
            },
        }
    ]
    assert one.begin() == []


def test_whatever_comes_first_begins_the_message() -> None:
    for events in (
        writer().text("a"),
        writer().text(""),
        writer().thinking("a"),
        writer().tool(0, "call", "Bash"),
        writer().end("end_turn", Usage()),
    ):
        assert events[0]["type"] == "message_start"
        assert kinds(events).count("message_start") == 1


def test_the_events_of_words_of_thoughts_and_of_a_call_in_full() -> None:
    one = writer()
    one.begin()
    assert one.thinking("hm") == [
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "thinking", "thinking": "", "signature": ""},
        },
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "thinking_delta", "thinking": "hm"},
        },
    ]
    assert one.text("yes") == [
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "yes"}},
    ]
    assert one.tool("k", "call_a", "Bash") == [
        {"type": "content_block_stop", "index": 1},
        {
            "type": "content_block_start",
            "index": 2,
            "content_block": {"type": "tool_use", "id": "call_a", "name": "Bash", "input": {}},
        },
    ]
    assert one.arguments("k", '{"a"') == [
        {
            "type": "content_block_delta",
            "index": 2,
            "delta": {"type": "input_json_delta", "partial_json": '{"a"'},
        },
    ]
    assert not one.ended
    used = Usage(input_tokens=3, output_tokens=4, cache_read_tokens=5, cache_write_tokens=6)
    assert one.end("stop_sequence", used, "END") == [
        {"type": "content_block_stop", "index": 2},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "stop_sequence", "stop_sequence": "END"},
            "usage": {
                "input_tokens": 3,
                "cache_creation_input_tokens": 6,
                "cache_read_input_tokens": 5,
                "output_tokens": 4,
            },
        },
        {"type": "message_stop"},
    ]
    assert one.ended


def test_words_of_one_kind_are_one_block_and_no_words_are_none() -> None:
    one = writer()
    events = one.text("a") + one.text("") + one.text("b") + one.thinking("")
    assert kinds(events) == ["message_start", "start", "delta", "delta"]
    assert kinds(one.text("c")) == ["delta"]


def test_what_comes_while_a_call_is_unfinished_waits_for_its_turn() -> None:
    one = writer()
    one.tool(0, "call_a", "Bash")
    assert kinds(one.arguments(0, '{"a":')) == ["delta"]
    assert one.text("x") == []
    assert one.tool(1, "call_b", "Read") == []
    assert one.arguments(1, '{"b"') == []
    assert one.arguments(1, ":2}") == []
    went_on = one.arguments(0, "1}")
    assert kinds(went_on) == ["delta", "stop", "start", "delta", "stop", "start", "delta"]
    assert went_on[-1]["delta"]["partial_json"] == '{"b":2}', "what waited goes out at once"
    events = one.end("tool_use", Usage())
    assert kinds(events) == ["stop", "message_delta", "message_stop"]


def test_the_end_lets_out_whatever_still_waits() -> None:
    one = writer()
    events = one.tool(0, "call_a", "Bash") + one.arguments(0, '{"a":')
    events += one.tool(1, "call_b", "Read") + one.text("bye")
    events += one.end("max_tokens", Usage())
    grammar = Grammar()
    for event in events:
        grammar.feed(event)
    grammar.finish()
    blocks = collect(events)["content"]
    assert [block["type"] for block in blocks] == ["tool_use", "tool_use", "text"]
    assert blocks[2]["text"] == "bye"


def test_a_call_is_found_by_its_key_among_words_without_one() -> None:
    one = writer()
    events = one.tool(0, "call_a", "Bash") + one.text("x") + one.tool(None, "call_b", "Read")
    assert one.arguments(None, '{"b":1}') == []
    events += one.arguments(0, "{}") + one.end("tool_use", Usage())
    blocks = collect(events)["content"]
    assert [block.get("text", block.get("input")) for block in blocks] == [{}, "x", {"b": 1}]


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_nothing_more_for_a_call_that_is_over_is_no_matter(text: str) -> None:
    one = writer()
    one.tool(0, "call_a", "Bash")
    one.arguments(0, "{}")
    one.text("x")
    assert one.arguments(0, text) == []
    assert not one.ended
    assert kinds(one.arguments(0, "y")) == ["error"]
    assert one.ended


def test_more_for_a_call_that_is_over_fails_the_stream_with_a_reason() -> None:
    one = writer()
    assert one.arguments("unknown", "{") == [
        {
            "type": "error",
            "error": {
                "type": "api_error",
                "message": "the provider went on with a tool call that it had ended",
            },
        }
    ]


@pytest.mark.parametrize("failed", [True, False])
def test_after_the_end_nothing_is_said(failed: bool) -> None:
    one = writer()
    one.text("a")
    last = one.fail("overloaded_error", "busy") if failed else one.end("end_turn", Usage())
    if failed:
        error = {"type": "overloaded_error", "message": "busy"}
        assert last == [{"type": "error", "error": error}]
    assert one.ended
    assert one.text("b") == one.thinking("b") == one.tool(1, "c", "Bash") == []
    assert one.arguments(1, "{") == []
    assert one.end("end_turn", Usage()) == one.fail("api_error", "x") == []


def test_a_provider_s_state_travels_in_the_call_under_its_name() -> None:
    def state(origin: str, foreign: Json | None) -> object:
        (_, start) = writer(origin).tool(0, "call_a", "Bash", foreign)
        return start["content_block"].get("extra_content")

    signature = {"google": {"thought_signature": "s"}}
    assert state("gem", signature) == {**signature, "origin": "gem"}
    assert state("", signature) == signature
    assert state("gem", {}) is state("gem", None) is None


def test_what_nobody_counted_is_zero_where_anthropic_has_a_number() -> None:
    assert usage_view(Usage()) == NOTHING_USED


def test_an_event_on_the_wire_begins_with_its_name() -> None:
    assert encode_event({"type": "ping", "n": 1}) == b'event: ping\ndata: {"type":"ping","n":1}\n\n'
