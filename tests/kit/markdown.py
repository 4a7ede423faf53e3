"""Markdown as the tests read it: headings by their anchors, and blocks of code."""

from __future__ import annotations

import re

_FENCED = re.compile(r"(?ms)^```.*?^```")


def anchors(text: str) -> set[str]:
    """What `#...` may name in a page, as GitHub makes it of the headings."""
    found: set[str] = set()
    for heading in re.findall(r"(?m)^#+ +(.+?) *$", _FENCED.sub("", text)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        number = 0
        unique = anchor
        while unique in found:
            number += 1
            unique = f"{anchor}-{number}"
        found.add(unique)
    return found


def code_blocks(text: str, language: str) -> list[str]:
    """The content of each block that says it is of this language, in order."""
    return re.findall(rf"(?ms)^```{re.escape(language)}\n(.*?)^```", text)
