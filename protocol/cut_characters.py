"""Halves of characters in JSON, out of the way of an edit and back in their places after it.

JavaScript writes half an emoji (a tool's output that was cut in the middle) as an escape like
`\\ud83d`. Upstreams take it, and msgspec refuses the whole document for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_HALF = re.compile(rb"\\u([dD][89a-fA-F][0-9a-fA-F]{2})")
_PRIVATE = range(0xE000, 0xE010)
"""Characters that mean nothing by themselves: one that a document does not have marks the places.
One that has all of them is edited as it is."""


def edited(document: bytes, edit: Callable[[bytes], bytes]) -> bytes:
    """What `edit` makes of `document`, with every half of a character in it as it was written.

    `document` itself when `edit` gives back what it got.
    """
    if _HALF.search(document) is None:
        return edit(document)
    mark = next((code for code in _PRIVATE if not _has(document, code)), None)
    if mark is None:
        return edit(document)
    readable = _HALF.sub(rb"\\u%04x\1" % mark, document)
    changed = edit(readable)
    if changed is readable:
        return document
    marked = rb"(?:\\u%04x|%s)([dD][89a-fA-F][0-9a-fA-F]{2})" % (mark, chr(mark).encode())
    return re.sub(marked, rb"\\u\1", changed)


def _has(document: bytes, code: int) -> bool:
    return chr(code).encode() in document or b"\\u%04x" % code in document.lower()
