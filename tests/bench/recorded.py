"""The answers of the benchmark's upstream: messages of a size, and a stream of recorded events."""

from __future__ import annotations

import functools
import itertools
import json
from pathlib import Path

CORPUS = Path(__file__).parents[1] / "corpus" / "claude-code"
EVENTS = 200
SIZES = {"2KB": 2_048, "200KB": 204_800, "2MB": 2_097_152}


def message(size: int) -> bytes:
    """A Messages answer of that many bytes."""
    whole = {
        "id": "msg_bench",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5-5",
        "content": [{"type": "text", "text": ""}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 12, "output_tokens": 34},
    }
    whole["content"] = [{"type": "text", "text": "x" * (size - len(json.dumps(whole)))}]
    return json.dumps(whole).encode()


def question(size: int, *, stream: bool) -> bytes:
    """A Messages request of that many bytes, or of as few as it takes."""
    whole = {
        "model": "claude-opus-5-5",
        "max_tokens": 1024,
        "stream": stream,
        "messages": [{"role": "user", "content": ""}],
    }
    padding = max(0, size - len(json.dumps(whole)))
    whole["messages"] = [{"role": "user", "content": "x" * padding}]
    return json.dumps(whole).encode()


@functools.cache
def events() -> tuple[bytes, ...]:
    """A stream of `EVENTS` events that were recorded from Claude Code's traffic.

    Its beginning and its end are those of one recorded stream, in its middle are the deltas of all,
    one after the other, around and around, in one text block: their sizes are what counts.
    """
    streams = [
        [event.encode() for event in exchange["response"]["sse"]]
        for file in sorted(CORPUS.glob("*.json"))
        for exchange in json.loads(file.read_text("utf-8"))["exchanges"]
        if isinstance(exchange.get("response"), dict) and exchange["response"].get("sse")
    ]
    whole = [stream for stream in streams if _kind(stream[-1]) == "message_stop"]
    deltas = [
        event
        for stream in whole
        for event in stream
        if _kind(event) == "content_block_delta"
        and b'"text_delta"' in event
        and b'"index": 0' in event
    ]
    first = next(
        stream
        for stream in whole
        if any(_kind(event) == "content_block_delta" and event in deltas for event in stream)
    )
    kinds = [_kind(event) for event in first]
    begin, end = kinds.index("content_block_delta"), kinds.index("content_block_stop")
    head, tail = first[:begin], first[end:]
    middle = itertools.islice(itertools.cycle(deltas), EVENTS - len(head) - len(tail))
    return (*head, *middle, *tail)


def _kind(event: bytes) -> str:
    return event.partition(b"\n")[0].removeprefix(b"event: ").decode().strip()
