"""What every target needs: the bytes in pieces, and the JSON in them."""

from __future__ import annotations

import copy
import itertools
import json
import random
from collections.abc import Iterator
from typing import Any

CONTROL_BYTES = 2
"""At the beginning of an input; they decide how the rest is cut."""


def cut(data: bytes) -> tuple[bytes, list[bytes]]:
    """The input without its control bytes, and the same in pieces."""
    control, rest = data[:CONTROL_BYTES], data[CONTROL_BYTES:]
    rng = random.Random(control)
    count = rng.choice([0, 1, 2, 3, 8, len(rest)])
    places = sorted(rng.randrange(len(rest) + 1) for _ in range(min(count, 300)))
    bounds = [0, *places, len(rest)]
    return rest, [rest[begin:end] for begin, end in itertools.pairwise(bounds)]


def fields(data: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Header fields as a parser of HTTP would have let them through: a line is `name: value`."""
    found: list[tuple[bytes, bytes]] = []
    for line in data.split(b"\n")[:200]:
        name, _, value = line.partition(b":")
        if name.strip():
            found.append((name.strip(), value.strip(b" \t\r\0")))
    return tuple(found)


def document(data: bytes) -> Any:
    """The JSON in `data`, as the program's own reader sees it; None where there is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def spoilt(good: Any, rng: random.Random) -> Any:
    """`good` with some node of it replaced, repeated or taken out: still JSON, no longer expected."""
    places = list(_places(good))
    if not places:
        return copy.deepcopy(rng.choice(ODD))
    holder, key = rng.choice(places)
    match rng.randrange(5):
        case 0:
            del holder[key]
        case 1:
            other, place = rng.choice(places)
            if place in _keys(other):
                holder[key] = copy.deepcopy(other[place])
        case 2 if isinstance(holder, list):
            holder.insert(rng.randrange(len(holder) + 1), copy.deepcopy(holder[key]))
        case 3 if isinstance(holder, dict):
            holder[rng.choice(sorted(_names(good)))] = copy.deepcopy(holder[key])
        case _:
            holder[key] = copy.deepcopy(rng.choice(ODD))
    return good


ODD: list[Any] = [
    None, True, False, 0, -1, 1, 1.5, 10**30, 1e308, -0.0, "", "x", "é\u2028\x00", "\ud83d", [], [[]],
    [None], {}, {"": None}, {"type": []}, ["x", 1], "1", "text", "error", 2**63,
]  # fmt: skip


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key in _keys(value):
        yield value, key
        yield from _places(value[key])


def _keys(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value)
    return list(range(len(value))) if isinstance(value, list) else []


def _names(value: Any) -> set[str]:
    return {key for _, key in _places(value) if isinstance(key, str)} | {""}
