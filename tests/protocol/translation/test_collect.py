"""The events of a stream, put together again."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.translation.collect import UNPARSED, collect, parsed_input

Json = dict[str, Any]

START: Json = {
    "type": "message_start",
    "message": {"id": "msg_1", "content": [], "usage": {"input_tokens": 3, "output_tokens": 0}},
}
END: Json = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn", "stop_sequence": None},
    "usage": {"output_tokens": 9},
}


def begun(index: int, block: Json) -> Json:
    return {"type": "content_block_start", "index": index, "content_block": block}


def more(index: int, kind: str, **fields: str) -> Json:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def test_every_kind_of_block_is_the_sum_of_its_pieces() -> None:
    call = {"type": "tool_use", "id": "t", "name": "Bash", "input": {}}
    message = collect(
        [
            START,
            begun(0, {"type": "thinking", "thinking": "", "signature": ""}),
            more(0, "thinking_delta", thinking="h"),
            more(0, "thinking_delta", thinking="m"),
            more(0, "signature_delta", signature="s1"),
            more(0, "signature_delta", signature="s2"),
            begun(1, {"type": "text", "text": "a"}),
            more(1, "text_delta", text="b"),
            more(1, "text_delta", text="c"),
            begun(2, call),
            more(2, "input_json_delta", partial_json='{"x"'),
            more(2, "input_json_delta", partial_json=":1}"),
            begun(3, call),
            more(3, "input_json_delta", partial_json='{"y":2}'),
            {"type": "ping"},
            END,
            {"type": "message_stop"},
        ]
    )
    assert message == {
        "id": "msg_1",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s2"},
            {"type": "text", "text": "abc"},
            {**call, "input": {"x": 1}},
            {**call, "input": {"y": 2}},
        ],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 9},
    }


def test_the_events_stay_as_they_were() -> None:
    """They may be on their way to a client."""
    block = {"type": "text", "text": ""}
    collect([START, begun(0, block), more(0, "text_delta", text="b"), END])
    assert block == {"type": "text", "text": ""}
    assert START["message"]["content"] == []


@pytest.mark.parametrize(
    "events",
    [
        [],
        [END],
        [begun(0, {"type": "text", "text": ""})],
        [more(0, "text_delta", text="a")],
        [{"type": "error"}],
    ],
)
def test_a_stream_that_never_began_has_no_message(events: list[Json]) -> None:
    with pytest.raises(ValueError, match="without message_start"):
        collect(events)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        (" \n", {}),
        ('{"a":[1]}', {"a": [1]}),
        ("[1]", {UNPARSED: "[1]"}),
        ("null", {UNPARSED: "null"}),
        ('{"a":', {UNPARSED: '{"a":'}),
        ("[" * 100_000, {UNPARSED: "[" * 100_000}),
    ],
)
def test_an_input_that_is_no_object_is_kept_where_claude_code_keeps_it(
    text: str, value: Json
) -> None:
    assert UNPARSED == "__unparsedToolInput"
    assert parsed_input(text) == value
