"""Events back into the whole message that they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

Json = dict[str, Any]

UNPARSED = "__unparsedToolInput"
"""Where Claude Code itself puts a tool's input that is no JSON (`wire.md` A17)."""


def collect(events: Iterable[Json]) -> Json:
    """The message of a complete stream. Raises ValueError when the stream has none."""
    message: Json | None = None
    arguments: dict[int, list[str]] = {}
    for event in events:
        match event["type"]:
            case "message_start":
                message = {**event["message"], "content": []}
            case "content_block_start" if message is not None:
                message["content"].append(dict(event["content_block"]))
            case "content_block_delta" if message is not None:
                _extend(message["content"][event["index"]], event, arguments)
            case "message_delta" if message is not None:
                message.update(event["delta"])
                message["usage"] = {**message["usage"], **event["usage"]}
    if message is None:
        raise ValueError("a stream without message_start")
    for index, pieces in arguments.items():
        message["content"][index]["input"] = parsed_input("".join(pieces))
    return message


def parsed_input(text: str) -> Json:
    """A tool's input; what is no JSON object is kept as it came, for the client to refuse."""
    if not text.strip():
        return {}
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return {UNPARSED: text}
    return value if isinstance(value, dict) else {UNPARSED: text}


def _extend(block: Json, event: Json, arguments: dict[int, list[str]]) -> None:
    delta = event["delta"]
    match delta["type"]:
        case "text_delta":
            block["text"] += delta["text"]
        case "thinking_delta":
            block["thinking"] += delta["thinking"]
        case "signature_delta":
            block["signature"] = delta["signature"]
        case "input_json_delta":
            arguments.setdefault(event["index"], []).append(delta["partial_json"])
