"""OpenAI's dialect in front of answers and requests of the wrong shape: nothing is a crash."""

from __future__ import annotations

import json
from typing import Any

import pytest

from protocol.sse import Event
from protocol.translation.answer_openai import AnswerStream, encode_chunk, whole
from protocol.translation.read_openai import read_request
from protocol.translation.refusal import Untranslatable

STRANGE: list[Any] = [None, 1, 1.5, True, "x", ["x"], {"x": 1}]


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **fields}


EVENTS = [
    ("message_start", "message"),
    ("content_block_start", "index"),
    ("content_block_start", "content_block"),
    ("content_block_delta", "index"),
    ("content_block_delta", "delta"),
    ("message_delta", "usage"),
    ("message_delta", "delta"),
    ("error", "error"),
]


@pytest.mark.parametrize("value", STRANGE, ids=repr)
@pytest.mark.parametrize(("kind", "field"), EVENTS)
def test_an_event_of_the_wrong_shape_breaks_no_stream(kind: str, field: str, value: Any) -> None:
    stream = AnswerStream(1, include_usage=True)
    usage = {"input_tokens": value, "output_tokens": 2}
    events = [
        event("message_start", message={"id": "1", "model": "m", "usage": usage}),
        event(kind, **{field: value}),
        event("message_stop"),
    ]
    chunks = [
        json.loads(encode_chunk(chunk)[len(b"data: ") :])
        for one in events
        for chunk in stream.feed(Event(one["type"], json.dumps(one).encode()))
    ]
    assert stream.ended
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    stream.feed(Event("message_start", b'{"type": "\xb0"}'))


@pytest.mark.parametrize("value", STRANGE, ids=repr)
@pytest.mark.parametrize("field", ["content", "usage", "stop_reason"])
def test_an_answer_of_the_wrong_shape_is_told_as_far_as_it_goes(field: str, value: Any) -> None:
    message = {"type": "message", "id": "1", "model": "m", field: value}
    assert whole(message, 1)["object"] == "chat.completion"
    blocks = [{"type": "text", "text": value}, {"type": "thinking", "thinking": value}, value]
    told = whole({**message, "content": blocks, "usage": {"input_tokens": value}}, 1)
    expected = value if isinstance(value, str) else None
    assert told["choices"][0]["message"]["content"] == expected


@pytest.mark.parametrize("value", STRANGE[1:], ids=repr)
@pytest.mark.parametrize("field", ["temperature", "tool_calls"])
def test_a_request_of_the_wrong_shape_is_refused_by_its_field(field: str, value: Any) -> None:
    message = {"role": "assistant", "content": "x"}
    asked: dict[str, Any] = {"model": "m", "messages": [message]}
    (asked if field == "temperature" else message)[field] = value
    if field == "temperature" and type(value) in (int, float):
        assert read_request(asked)["temperature"] == min(value, 1)
        return
    with pytest.raises(Untranslatable, match=field):
        read_request(asked)
