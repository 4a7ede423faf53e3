"""Builders for what a model answers: whole messages and event streams of the Anthropic API."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from server.scripted.answers import Answer, Headers, paced
from server.scripted.errors import REQUEST_ID

Block: TypeAlias = Mapping[str, object]
"""A content block as in a message: `{"type": "text", "text": "Hello"}`."""

MODEL = "claude-sonnet-5-5"
MESSAGE_ID = "msg_scripted"
TOOL_USE_ID = "toolu_scripted"
DELTAS = 3
"""Into how many events a block is cut when nobody says otherwise: enough to be a stream."""


def text_block(text: str) -> Block:
    """A text block."""
    return {"type": "text", "text": text}


def tool_use_block(
    name: str, tool_input: Mapping[str, object], tool_id: str = TOOL_USE_ID
) -> Block:
    """A call of a tool."""
    return {"type": "tool_use", "id": tool_id, "name": name, "input": dict(tool_input)}


def thinking_block(thinking: str, signature: str = "c2NyaXB0ZWQ=") -> Block:
    """A block of thinking with its opaque signature."""
    return {"type": "thinking", "thinking": thinking, "signature": signature}


def usage_of(
    input_tokens: int, output_tokens: int, cache_read_tokens: int = 0
) -> dict[str, object]:
    """The usage object of a message."""
    return {
        "input_tokens": input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cache_read_tokens,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }


def tokens_in(text: str) -> int:
    """A stand-in for a count of tokens: four characters each, at least one."""
    return max(1, len(text) // 4)


def _output_tokens(blocks: Sequence[Block]) -> int:
    return sum(tokens_in(json.dumps(block)) for block in blocks)


def _stop_reason(blocks: Sequence[Block]) -> str:
    return "tool_use" if any(block["type"] == "tool_use" for block in blocks) else "end_turn"


def event(name: str, data: Mapping[str, object]) -> bytes:
    """One server-sent event."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def error_event(kind: str, message: str = "scripted error", request_id: str = REQUEST_ID) -> bytes:
    """The `error` event that ends a stream early."""
    data = {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}
    return event("error", data)


def _cut_up(text: str, pieces: int) -> list[str]:
    size = max(1, -(-len(text) // max(1, pieces)))
    return [text[at : at + size] for at in range(0, len(text), size)]


def _block_events(index: int, block: Block, deltas: int) -> list[bytes]:
    match block["type"]:
        case "text":
            start: dict[str, object] = {"type": "text", "text": ""}
            pieces = _cut_up(str(block["text"]), deltas)
            changes = [{"type": "text_delta", "text": piece} for piece in pieces]
        case "tool_use":
            start = {**block, "input": {}}
            pieces = ["", *_cut_up(json.dumps(block["input"]), deltas)]
            changes = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        case "thinking":
            start = {"type": "thinking", "thinking": "", "signature": ""}
            pieces = _cut_up(str(block["thinking"]), deltas)
            changes = [{"type": "thinking_delta", "thinking": piece} for piece in pieces]
            changes.append({"type": "signature_delta", "signature": str(block["signature"])})
        case _:
            start, changes = dict(block), []  # comes whole, as redacted_thinking does
    wrapped = [{"type": "content_block_delta", "index": index, "delta": one} for one in changes]
    return [
        event(
            "content_block_start",
            {"type": "content_block_start", "index": index, "content_block": start},
        ),
        *(event("content_block_delta", one) for one in wrapped),
        event("content_block_stop", {"type": "content_block_stop", "index": index}),
    ]


def message_events(
    blocks: Sequence[Block],
    *,
    model: str = MODEL,
    deltas: int = DELTAS,
    input_tokens: int = 12,
    output_tokens: int | None = None,
    cache_read_tokens: int = 0,
    stop_reason: str | None = None,
    message_id: str = MESSAGE_ID,
) -> list[bytes]:
    """All events of a streamed message, from message_start to message_stop, in wire form."""
    produced = _output_tokens(blocks) if output_tokens is None else output_tokens
    message: dict[str, object] = {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage_of(input_tokens, 1, cache_read_tokens),
    }
    events = [event("message_start", {"type": "message_start", "message": message})]
    for index, block in enumerate(blocks):
        start, *rest = _block_events(index, block, deltas)
        events.append(start)
        if index == 0:  # where Anthropic sends its first one
            events.append(event("ping", {"type": "ping"}))
        events += rest
    reason = stop_reason or _stop_reason(blocks)
    return [*events, *_last_events(reason, input_tokens, cache_read_tokens, produced)]


def _last_events(
    stop_reason: str, input_tokens: int, cache_read_tokens: int, output_tokens: int
) -> list[bytes]:
    ending = {
        "type": "message_delta",
        "delta": {"stop_reason": stop_reason, "stop_sequence": None},
        "usage": {
            "input_tokens": input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": cache_read_tokens,
            "output_tokens": output_tokens,
        },
    }
    return [event("message_delta", ending), event("message_stop", {"type": "message_stop"})]


def stream(events: Sequence[bytes], *, pause: float = 0.0, request_id: str = REQUEST_ID) -> Answer:
    """A 200 that sends these events one by one, with `pause` seconds between two of them."""
    headers: Headers = (
        ("content-type", "text/event-stream; charset=utf-8"),
        ("cache-control", "no-cache"),
        ("request-id", request_id),
    )
    return Answer(headers=headers, parts=paced(events, pause))


def text_stream(
    text: str,
    *,
    events: int = DELTAS,
    pause: float = 0.0,
    model: str = MODEL,
    input_tokens: int = 12,
    output_tokens: int | None = None,
) -> Answer:
    """A streamed text, cut into at most `events` deltas, `pause` seconds between two events."""
    sent = message_events(
        [text_block(text)],
        model=model,
        deltas=events,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
    )
    return stream(sent, pause=pause)


def tool_use_stream(
    name: str,
    tool_input: Mapping[str, object],
    *,
    text: str = "",
    tool_id: str = TOOL_USE_ID,
    pause: float = 0.0,
    model: str = MODEL,
) -> Answer:
    """A streamed call of a tool, after some text if there is any."""
    said = [text_block(text)] if text else []
    blocks = [*said, tool_use_block(name, tool_input, tool_id)]
    return stream(message_events(blocks, model=model), pause=pause)


def stream_with_early_error(kind: str = "overloaded_error", message: str = "Overloaded") -> Answer:
    """A 200 whose first and only event is an error."""
    return stream([error_event(kind, message)])


def stream_with_late_error(
    text: str, kind: str = "overloaded_error", message: str = "Overloaded"
) -> Answer:
    """A 200 that streams the whole text and then, before its end, an error."""
    return stream([*message_events([text_block(text)])[:-3], error_event(kind, message)])


def json_answer(value: object, *, request_id: str = REQUEST_ID) -> Answer:
    """A 200 with a JSON body."""
    headers: Headers = (("content-type", "application/json"), ("request-id", request_id))
    return Answer(headers=headers, body=json.dumps(value).encode())


def message(
    blocks: Sequence[Block],
    *,
    model: str = MODEL,
    input_tokens: int = 12,
    output_tokens: int | None = None,
    cache_read_tokens: int = 0,
    stop_reason: str | None = None,
    message_id: str = MESSAGE_ID,
) -> Answer:
    """A whole message, not streamed."""
    produced = _output_tokens(blocks) if output_tokens is None else output_tokens
    return json_answer(
        {
            "id": message_id,
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [dict(block) for block in blocks],
            "stop_reason": stop_reason or _stop_reason(blocks),
            "stop_sequence": None,
            "usage": usage_of(input_tokens, produced, cache_read_tokens),
        }
    )


def text_message(
    text: str, *, model: str = MODEL, input_tokens: int = 12, output_tokens: int | None = None
) -> Answer:
    """A whole message of one text block, not streamed."""
    return message(
        [text_block(text)], model=model, input_tokens=input_tokens, output_tokens=output_tokens
    )
