"""Wildcards on model names: `*` only, the whole name, case-sensitive (`interface.md` rule 7)."""

from __future__ import annotations

from collections.abc import Iterable


def matches(pattern: str, name: str) -> bool:
    """Whether `pattern` covers the whole of `name`; `*` stands for any run of characters.

    Brackets and question marks are literal: `claude-opus[1m]` is a name, not a set. Linear in
    both lengths: each part between stars is taken at its earliest place, which is never worse.
    """
    first, *others = pattern.split("*")
    if not others:
        return pattern == name
    *middle, last = others
    if not name.startswith(first) or len(name) < len(first) + len(last):
        return False
    place = len(first)
    end = len(name) - len(last)
    for part in middle:
        found = name.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return name.endswith(last)


def matches_any(patterns: Iterable[str], name: str) -> bool:
    """Whether one of `patterns` covers `name`."""
    return any(matches(pattern, name) for pattern in patterns)
