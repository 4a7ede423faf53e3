"""Stacks as `py-spy record --format raw` writes them, summed up by module and by function. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from figures import markdown

_FRAME = re.compile(r"^(?P<function>.+) \((?P<file>.+?)(?::\d+)?\)$")
_STARTED_BY = re.compile(r"^process \d+:")
_WAITING = "WorkerThread._work ("
"""A thread of trio's without work; py-spy takes it for busy."""

ROWS = 25


@dataclass(frozen=True)
class Stack:
    """Frames from the outermost to the innermost, and how many samples found it."""

    frames: tuple[str, ...]
    samples: int


def stacks(text: str) -> list[Stack]:
    """One for each line `frame;frame;... count`. Raises ValueError naming a line that is none.

    py-spy also writes a count without frames, of a thread that it caught before its first one.
    Threads that wait for work are left out.
    """
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        frames, _, count = line.rpartition(" ")
        if not count.isdigit():
            raise ValueError(f"line {number} is no stack with a count: {line[:100]!r}")
        if _WAITING in frames.rpartition(";")[2]:
            continue
        names = (frame.strip() for frame in frames.split(";"))
        kept = tuple(name for name in names if name and not _STARTED_BY.match(name))
        found.append(Stack(kept, int(count)))
    return found


def module(frame: str) -> str:
    """The file of a frame, from the package on; a frame without one is its own module."""
    match = _FRAME.match(frame)
    if match is None:
        return frame
    path = match["file"].replace("\\", "/")
    for anchor in ("/site-packages/", "/lib-dynload/"):
        if anchor in path:
            return path.rpartition(anchor)[2]
    if found := re.search(r"/lib/python3[^/]*/(.+)$", path):
        return found[1]
    if found := re.search(r"(?:^|/)((?:actors|protocol|server|supervisor)/.+)$", path):
        return found[1]
    return path


def function(frame: str) -> str:
    """A frame's function with its module."""
    match = _FRAME.match(frame)
    return frame if match is None else f"{match['function']} ({module(frame)})"


@dataclass(frozen=True)
class Share:
    """Parts of all samples: in itself, and together with what it called."""

    name: str
    own: float
    total: float


def shares(found: Iterable[Stack], by: str) -> list[Share]:
    """By `module` or `function`, the largest own share first. A name counts once in each stack."""
    naming = {"module": module, "function": function}[by]
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    samples = 0
    for stack in found:
        if not stack.frames:
            continue
        names = [naming(frame) for frame in stack.frames]
        own[names[-1]] += stack.samples
        for name in set(names):
            total[name] += stack.samples
        samples += stack.samples
    return [
        Share(name, own[name] / samples, total[name] / samples)
        for name in sorted(total, key=lambda name: (-own[name], -total[name], name))
    ]


def summary(text: str) -> list[str]:
    """Two tables in Markdown: modules and functions by their own share. Raises ValueError."""
    found = stacks(text)
    samples = sum(stack.samples for stack in found)
    lines = [f"{samples:,} samples"]
    for by in ("module", "function"):
        rows = [
            [share.name, f"{share.own:.1%}", f"{share.total:.1%}"]
            for share in shares(found, by)[:ROWS]
        ]
        lines += ["", *markdown([f"by {by}", "own", "with what it called"], rows)]
    return lines
