"""A conversation that comes back to Anthropic after another provider served some of it.

What such a provider left in it (its state in tool calls, reasoning that nobody signed, or that the
provider signed) would be refused there, and the client would not know why. The same holds for an
Anthropic-compatible provider, which gets its own signatures back and nobody else's state. Only the messages that have some of it are written
anew; every other byte stays as the client sent it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.cut_characters import edited
from protocol.translation.foreign_state import SIGNED, signer, unsigned
from protocol.translation.read_content import FOREIGN_STATE

Json = dict[str, Any]

_MARKS = (
    f'"{FOREIGN_STATE}"'.encode(),
    b'"signature":""',
    b'"signature": ""',
    f'"{SIGNED}'.encode(),
)


def without_foreign_state(body: bytes, provider: str = "") -> bytes:
    """`body` with nothing in it that is not for `provider`, "" being Anthropic.

    `body` itself when there is nothing to take out, or when it cannot be read.
    """
    if not any(mark in body for mark in _MARKS):
        return body
    return edited(body, lambda readable: _without_foreign_state(readable, provider))


def _without_foreign_state(body: bytes, provider: str) -> bytes:
    try:
        request = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        messages = msgspec.json.decode(request["messages"], type=list[msgspec.Raw])
        cleaned = [_cleaned(message, provider) for message in messages]
    except (msgspec.MsgspecError, RecursionError, KeyError, UnicodeDecodeError):
        return body
    if all(new is old for new, old in zip(cleaned, messages, strict=True)):
        return body
    request["messages"] = msgspec.Raw(msgspec.json.encode(cleaned))
    return msgspec.json.encode(request)


def _cleaned(raw: msgspec.Raw, provider: str) -> msgspec.Raw:
    if not any(mark in bytes(raw) for mark in _MARKS):
        return raw
    message = msgspec.json.decode(raw)
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list) or message.get("role") != "assistant":
        return raw
    kept = [made for block in content if (made := _block(block, provider)) is not None]
    if kept == content:
        return raw
    if not kept:
        # A turn of nothing but reasoning: an empty one is refused, and so is its absence.
        kept = [{"type": "text", "text": "(reasoning left out)"}]
    return msgspec.Raw(msgspec.json.encode({**message, "content": kept}))


def _block(block: Any, provider: str) -> Any:
    """None for reasoning that nobody signed, or somebody else."""
    match block:
        case {"type": "tool_use"} if FOREIGN_STATE in block:
            return {key: value for key, value in block.items() if key != FOREIGN_STATE}
        case {"type": "thinking"}:
            return _reasoning(block, "signature", provider)
        case {"type": "redacted_thinking"}:
            return _reasoning(block, "data", provider)
    return block


def _reasoning(block: Json, field: str, provider: str) -> Json | None:
    signature = block.get(field)
    if not isinstance(signature, str) or not signature:
        return None
    maker = signer(signature)
    if maker is None:
        return block  # Claude's own
    return {**block, field: unsigned(signature)} if maker == provider else None
