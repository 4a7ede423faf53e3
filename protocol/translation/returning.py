"""A conversation that comes back to Anthropic after another provider served some of it.

What such a provider left in it (its state in tool calls, reasoning that nobody signed) would be
refused there, and the client would not know why. Only the messages that have some of it are written
anew; every other byte stays as the client sent it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.translation.read_content import FOREIGN_STATE

Json = dict[str, Any]

_MARKS = (f'"{FOREIGN_STATE}"'.encode(), b'"signature":""', b'"signature": ""')


def without_foreign_state(body: bytes) -> bytes:
    """`body` itself when there is nothing to take out, or when it cannot be read."""
    if not any(mark in body for mark in _MARKS):
        return body
    try:
        request = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        messages = msgspec.json.decode(request["messages"], type=list[msgspec.Raw])
        cleaned = [_cleaned(message) for message in messages]
    except (msgspec.MsgspecError, RecursionError, KeyError, UnicodeDecodeError):
        return body
    if all(new is old for new, old in zip(cleaned, messages, strict=True)):
        return body
    request["messages"] = msgspec.Raw(msgspec.json.encode(cleaned))
    return msgspec.json.encode(request)


def _cleaned(raw: msgspec.Raw) -> msgspec.Raw:
    if not any(mark in bytes(raw) for mark in _MARKS):
        return raw
    message = msgspec.json.decode(raw)
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list) or message.get("role") != "assistant":
        return raw
    kept = [_block(block) for block in content if not _unsigned(block)]
    if kept == content:
        return raw
    if not kept:
        # A turn of nothing but reasoning: an empty one is refused, and so is its absence.
        kept = [{"type": "text", "text": "(reasoning left out)"}]
    return msgspec.Raw(msgspec.json.encode({**message, "content": kept}))


def _unsigned(block: Any) -> bool:
    return (
        isinstance(block, dict) and block.get("type") == "thinking" and not block.get("signature")
    )


def _block(block: Any) -> Any:
    if not isinstance(block, dict) or block.get("type") != "tool_use" or FOREIGN_STATE not in block:
        return block
    return {key: value for key, value in block.items() if key != FOREIGN_STATE}
