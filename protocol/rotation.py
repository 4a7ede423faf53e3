"""Which log files go: by age, then by size, oldest first."""

from __future__ import annotations

import datetime
import re

import msgspec

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
    """Names to delete so that what stays is younger than `keep_days` and fits `maximum_bytes`.

    Only files of ours are named. When today's file alone is too large it goes as well: a full
    disk would cost more than a day's log, and the journal starts a new one with its next line.
    """
    dated = sorted(
        ((day, file) for file in files if (day := day_of(file.name)) is not None),
        key=lambda pair: (pair[0], pair[1].name),
    )
    # The age is compared, not a date `keep_days` ago: that may lie before the calendar begins.
    removed = [file for day, file in dated if (today - day).days >= keep_days]
    kept = [file for day, file in dated if (today - day).days < keep_days]
    total = sum(file.size for file in kept)
    for file in kept:
        if total <= maximum_bytes:
            break
        removed.append(file)
        total -= file.size
    return [file.name for file in removed]
