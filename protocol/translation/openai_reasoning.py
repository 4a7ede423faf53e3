"""Reasoning in a chat completion: in fields that differ by server, and in what OpenRouter wants back."""

from __future__ import annotations

from typing import Any

from protocol.translation.openai_call import text_of

Json = dict[str, Any]

DETAILS = "reasoning_details"
"""OpenRouter's structured reasoning (`wire.md` D3): pieces that share an index are one."""

_GROWING = ("text", "summary", "data")
_THINKING = "thinking"


def thought_of(delta: Json) -> str:
    """What a delta thinks aloud, said once however often it is there."""
    for field in ("reasoning_content", "reasoning"):
        words = delta.get(field)
        if isinstance(words, str) and words:
            return words
    content = delta.get("content")
    found = [
        text_of(part.get(_THINKING))  # Mistral's
        for part in (content if isinstance(content, list) else ())
        if isinstance(part, dict) and part.get("type") == _THINKING
    ]
    details = delta.get(DETAILS)
    found += [
        text_of(piece.get("text")) or text_of(piece.get("summary"))
        for piece in (details if isinstance(details, list) else ())
        if isinstance(piece, dict)
    ]
    return "".join(found)


def joined_details(details: list[Any]) -> list[Json]:
    """The pieces of a stream as the entries that they make up, in their order.

    A provider refuses a signature that stands apart from its text.
    """
    whole: list[Json] = []
    for piece in details:
        if not isinstance(piece, dict):
            continue
        before = whole[-1] if whole else None
        if before is None or not _continues(before, piece):
            whole.append(dict(piece))
            continue
        grown = {key: f"{before.get(key) or ''}{piece[key]}" for key in _GROWING if piece.get(key)}
        known = {key: value for key, value in piece.items() if value is not None}
        before.update({**known, **grown})
    return whole


def _continues(before: Json, piece: Json) -> bool:
    same = ("type", "index", "format")
    if piece.get("index") is None or before.get("signature"):
        return False
    ids = {one["id"] for one in (before, piece) if isinstance(one.get("id"), str)}
    if len(ids) > 1:  # of two calls, say: none of it is a part of the other
        return False
    return all(before.get(key) == piece.get(key) for key in same)
