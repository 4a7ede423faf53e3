"""How many tokens a request is at most, where no upstream counts them (`peers.md` P18).

Never under: a client that is told too few compacts its conversation too late. No tokeniser is asked,
since each provider has another one. What is counted is the text that the request is made of, by what
it consists of, at rates that no common tokeniser exceeds for prose, code, data and hashes, and
images at their largest price.
"""

from __future__ import annotations

import math
import re
from typing import Any

WORD_TOKENS, LETTER_TOKENS = 0.75, 0.3
"""Of a run of letters, and of each of them: one token for a letter alone, two for a word of four."""
LONG_RUN_TOKENS = 0.35
"""More for each character of a run that is too long to be words: hashes, keys, base64."""
SIGN_TOKENS = 1.0
"""Of a digit, a punctuation mark, a line's end: some tokenisers join them, some never do."""
IMAGE_TOKENS = 6_000
"""At most, of any common provider's price for one image."""
PAGE_BYTES = 3_000
"""Bytes of base64 that a page of a document has at least."""
PAGE_TOKENS = 3_000
_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_WORDS = re.compile(rb"[A-Z]?[a-z]+|[A-Z]+")
_NO_WORDS = re.compile(rb"[A-Za-z]{25,}|[A-Za-z0-9+/]{40,}")
_COUNTED_SPACES = re.compile(rb"  +| (?=[0-9])")
_SPACES_BETWEEN = re.compile(r"(?<=[^\x00-\x7f]) (?=[^\x00-\x7f])")
_ASCII = dict.fromkeys(range(128))

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
    if text.isascii():
        return _plain(text.encode())
    plain = text.encode("ascii", "ignore")
    spaces = len(_SPACES_BETWEEN.findall(text))
    return _plain(plain) + sum(map(_character, text.translate(_ASCII))) + spaces


def _plain(text: bytes) -> float:
    words = len(_WORDS.findall(text))
    letters = len(text) - len(text.translate(None, _LETTERS))
    spaces = text.count(b" ")
    signs = len(text) - letters - spaces + len(_COUNTED_SPACES.findall(text))
    tokens = words * WORD_TOKENS + letters * LETTER_TOKENS + signs * SIGN_TOKENS
    return tokens + sum(map(len, _NO_WORDS.findall(text))) * LONG_RUN_TOKENS


def _character(character: str) -> float:
    """Of one outside of ASCII: at most its bytes in UTF-8, less for what tokenisers know well."""
    code = ord(character)
    if code < 0x700:  # Latin, Greek, Cyrillic, Hebrew, Arabic
        return 1.5
    if 0x3040 <= code < 0xD7B0:  # kana, Chinese characters, Hangul
        return 2.5
    return 2.0 if code < 0x800 else 3.0 if code < 0x10000 else 4.0


def _media(block: dict[str, Any]) -> float | None:
    """Images and documents are paid by what they show, not by their bytes."""
    kind = block.get("type")
    if kind in ("image", "image_url") or "inlineData" in block:
        return IMAGE_TOKENS
    source = block.get("source")
    if kind == "document" and isinstance(source, dict) and source.get("type") == "base64":
        return max(1, len(str(source.get("data", ""))) // PAGE_BYTES) * PAGE_TOKENS
    return None
