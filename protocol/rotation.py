"""Which log files go: by age, then by size, oldest first."""

from __future__ import annotations

import datetime
import re

import msgspec

KINDS = 2
"""Files there are of a day: requests and debug."""

_DATED = re.compile(r"(?:requests|debug)-([0-9]{4}-[0-9]{2}-[0-9]{2})\.jsonl")


class LogFile(msgspec.Struct, frozen=True):
    """A file in the log directory; `size` in bytes."""

    name: str
    size: int


def day_of(name: str) -> datetime.date | None:
    """The UTC day in a log file's name; None for a file that is not ours."""
    found = _DATED.fullmatch(name)
    if found is None:
        return None
    try:
        return datetime.date.fromisoformat(found[1])
    except ValueError:
        return None


def to_remove(
    files: list[LogFile], today: datetime.date, keep_days: int, maximum_bytes: int
) -> list[str]:
    """Names to delete so that what stays is younger than `keep_days`, no more than the files of as
    many days, and fits `maximum_bytes`.

    Only files of ours are named. When today's file alone is too large it goes as well: a full
    disk would cost more than a day's log, and the journal starts a new one with its next line.
    """
    dated = sorted(
        ((day, file) for file in files if (day := day_of(file.name)) is not None),
        # Days to come were written under a wrong clock: nobody knows how old they are.
        key=lambda pair: ((pair[0] - today).days <= 1, pair[0], pair[1].name),
    )
    # The age is compared, not a date `keep_days` ago: that may lie before the calendar begins.
    removed = [file for day, file in dated if (today - day).days >= keep_days]
    kept = [file for day, file in dated if (today - day).days < keep_days]
    total, count = sum(file.size for file in kept), len(kept)
    for file in kept:
        if total <= maximum_bytes and count <= KINDS * keep_days:
            break
        removed.append(file)
        total -= file.size
        count -= 1
    return [file.name for file in removed]
