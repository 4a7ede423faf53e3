"""What differs from one run to the next is made the same: places, numbers of processes, milliseconds.

Nothing is made up but such numbers, and each keeps its kind: a short time stays a short one.
"""

from __future__ import annotations

import re
from datetime import timedelta
from itertools import cycle

from tests.captures.clock import FIRST_SHOWN, Clock

SHORT = ("0.1", "0.4", "1.9", "2.4", "2.8", "0.3", "0.6", "1.2")
"""Milliseconds, one after the other, for all that the program itself does."""
LONG = "254"
"""Milliseconds, for the upstream's first byte: the script waits so long."""
_DONE = "\N{NO-BREAK SPACE}"
"""Stands in a time that is not to be looked at again."""
_TIME = r"\d+(?:\.\d+)? ms\b"
VERSION = "0.1.0"


def steady(
    said: str, *, home: str, shown_home: str, port: int, upstream: str, clock: Clock, version: str
) -> str:
    """`said`, as it is shown."""
    said = said.replace(home, shown_home).replace(upstream, "https://api.anthropic.com")
    said = said.replace(f":{port}", ":4080").replace(f"version {version}", f"version {VERSION}")
    said = re.sub(r"\d{4}-\d\d-\d\d", lambda found: _day(found[0], clock), said)
    said = re.sub(r"pid \d+, \d+", "pid 4711, 4712", said)
    said = re.sub(r"(?<=, up )[^\x1b\n]+", "58 min", said)
    said = _keys(said)
    said = re.sub(r"(?<=event loop lag )[\d.]+ ms", f"0.8{_DONE}ms", said)
    said = re.sub(rf"(?<=first byte )(after )?{_TIME}", rf"\g<1>{LONG}{_DONE}ms", said)
    said = re.sub(rf" *{_TIME}(?=  upstream, until)", f"{LONG:>7}{_DONE}ms", said)
    short = cycle(SHORT)
    said = re.sub(rf" *\b{_TIME}", lambda found: _short(found[0], next(short)), said)
    said = re.sub(r"\b[2-9]\.\d s\b", "2.0 s", said)
    said = re.sub(r"\b1\.\d s\b", "1.8 s", said)
    said = said.replace(_DONE, " ")
    # The column of the table of the last requests.
    return re.sub(r"\b[2-9]\d{3}\b(?=\S*  (?:\x1b\[\S+)*(?:fill-first|the session))", "2014", said)


def _day(said: str, clock: Clock) -> str:
    year, month, day = map(int, said.split("-"))
    moment = clock.first.replace(year=year, month=month, day=day)
    days = (moment - clock.first).days
    return f"{FIRST_SHOWN + timedelta(days=days):%Y-%m-%d}"


def _short(said: str, number: str) -> str:
    """As wide as before where it stands in a column, which is where several spaces lead to it."""
    spaces = len(said) - len(said.lstrip(" "))
    shown = f"{number} ms"
    return shown.rjust(len(said)) if spaces > 2 else " " * spaces + shown


def _keys(said: str) -> str:
    """Keys of clients are random."""
    said = re.sub(r"sk-sup-[0-9a-f]{8}-[\w-]{40,}", f"sk-sup-1f0c9a2e-{'x' * 43}", said)
    return re.sub(r"(?m)(?<=^key )[0-9a-f]{8}\b|^[0-9a-f]{8}\b(?=  )", "1f0c9a2e", said)
