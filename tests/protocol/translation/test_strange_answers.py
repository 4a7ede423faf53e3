"""Upstreams that answer with valid JSON of the wrong shape, or with bytes that are no text at all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from protocol.sse import Event
from protocol.translation.from_gemini import GeminiStream
from protocol.translation.from_openai import OpenAIStream
from protocol.translation.provider_error import ProviderError
from protocol.translation.tool_names import ToolNames

NAMES = ToolNames(["Bash"])
NO_TEXT = Event("", b'{"choices": "\xb0"}')


@pytest.mark.parametrize("machine", [OpenAIStream, GeminiStream])
def test_a_chunk_that_is_no_text_is_an_error_like_one_that_is_no_json(machine: Any) -> None:
    stream = machine(NAMES, "msg_1", "m")
    with pytest.raises(ProviderError, match="no JSON"):
        stream.feed(NO_TEXT)
    begun = machine(NAMES, "msg_1", "m")
    begun.chunk({})
    (event,) = begun.feed(NO_TEXT)
    assert event["type"] == "error"
    assert begun.ended


@pytest.mark.parametrize("place", [{"index": [0]}, {"index": {}}, {"id": ["a"]}, {"id": {}}])
def test_a_call_that_is_numbered_strangely_is_one_call_all_the_same(place: dict[str, Any]) -> None:
    stream = OpenAIStream(NAMES, "msg_1", "m")
    pieces = [
        {"function": {"name": "Bash", "arguments": '{"a"'}, **place},
        {"function": {"arguments": ":1}"}, **place},
    ]
    events = [
        event
        for piece in pieces
        for event in stream.chunk({"choices": [{"delta": {"tool_calls": [piece]}}]})
    ]
    events += stream.chunk({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]})
    events += stream.finish()
    told = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    assert [block["name"] for block in told] == ["Bash"]
    written = "".join(
        event["delta"].get("partial_json", "")
        for event in events
        if event["type"] == "content_block_delta"
    )
    assert json.loads(written) == {"a": 1}
