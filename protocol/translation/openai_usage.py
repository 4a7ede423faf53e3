"""The usage that a chat completion tells, wherever its server puts it."""

from __future__ import annotations

from typing import Any

from protocol.translation.provider_stream import count
from protocol.usage import Usage

Json = dict[str, Any]

_TOLD = ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens")


def usage_of(chunk: Json, choice: object) -> Usage | None:
    """What `chunk` tells; None where it tells nothing, as with an empty object."""
    groq = chunk.get("x_groq")
    places = (
        chunk.get("usage"),
        choice.get("usage") if isinstance(choice, dict) else None,  # Moonshot
        groq.get("usage") if isinstance(groq, dict) else None,
    )
    for place in places:
        if isinstance(place, dict) and any(place.get(key) is not None for key in _TOLD):
            return read_usage(place)
    return None


def read_usage(usage: Json) -> Usage:
    """OpenAI's prompt includes what came from a cache; Anthropic's input does not (`wire.md` B5)."""
    details = _object(usage.get("prompt_tokens_details"))
    cached = (
        count(details.get("cached_tokens"))
        or count(usage.get("prompt_cache_hit_tokens"))  # DeepSeek
        or count(usage.get("cached_tokens"))  # Moonshot
    )
    written = count(details.get("cache_write_tokens"))
    prompt = count(usage.get("prompt_tokens")) or count(usage.get("input_tokens"))
    completion = count(usage.get("completion_tokens")) or count(usage.get("output_tokens"))
    reasoning = count(_object(usage.get("completion_tokens_details")).get("reasoning_tokens"))
    if reasoning and count(usage.get("total_tokens")) == prompt + completion + reasoning:
        completion += reasoning  # xAI's stands beside the completion, not in it
    return Usage(
        input_tokens=max(prompt - cached - written, 0),
        output_tokens=completion,
        cache_read_tokens=cached,
        cache_write_tokens=written,
    )


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}
