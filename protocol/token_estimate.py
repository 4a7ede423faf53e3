"""How many tokens a request is at most, where no upstream counts them (`peers.md` P18).

Never under: a client that is told too few compacts its conversation too late. No tokeniser is asked,
since each provider has another one. What is counted is the text that the request is made of, at a
rate that no common tokeniser exceeds for code and prose, and images at their largest price.
"""

from __future__ import annotations

import math
from typing import Any

ASCII_PER_TOKEN = 2.5
"""Characters; English prose has about 4, dense code and JSON about 3."""
OTHER_TOKENS = 2.0
"""Tokens of one character outside of ASCII; rare scripts come to that."""
IMAGE_TOKENS = 6_000
"""At most, of any common provider's price for one image."""
PAGE_BYTES = 3_000
"""Bytes of base64 that a page of a document has at least."""
PAGE_TOKENS = 3_000
PART_TOKENS = 8
"""What roles, names and brackets cost for each part of the request."""


def estimated(request: object) -> int:
    """Of a whole request in any of the dialects; at least 1."""
    return max(1, math.ceil(_tokens(request)))


def _tokens(value: Any) -> float:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return sum(_tokens(item) for item in value)
    if isinstance(value, dict):
        media = _media(value)
        if media is not None:
            return media
        return PART_TOKENS + sum(_text(key) + _tokens(item) for key, item in value.items())
    return 1.0


def _text(text: str) -> float:
    plain = len(text.encode("ascii", "ignore"))
    return plain / ASCII_PER_TOKEN + (len(text) - plain) * OTHER_TOKENS


def _media(block: dict[str, Any]) -> float | None:
    """Images and documents are paid by what they show, not by their bytes."""
    kind = block.get("type")
    if kind in ("image", "image_url") or "inlineData" in block:
        return IMAGE_TOKENS
    source = block.get("source")
    if kind == "document" and isinstance(source, dict) and source.get("type") == "base64":
        return max(1, len(str(source.get("data", ""))) // PAGE_BYTES) * PAGE_TOKENS
    return None
