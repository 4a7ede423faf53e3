"""The log files of a directory, read by their days."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

from protocol.rotation import day_of

BLOCK_BYTES = 4 * 1024 * 1024


def log_files(directory: Path, kind: str, since: date | None = None) -> list[Path]:
    """Files of `kind` (`requests`, `debug`) from the UTC day `since` on, the oldest first.

    A line's day is that of its writing, never before that of its request. Raises OSError.
    """
    found = []
    for path in directory.iterdir():
        day = day_of(path.name) if path.name.startswith(f"{kind}-") else None
        if day is not None and (since is None or day >= since):
            found.append((day, path))
    return [path for _, path in sorted(found)]


def blocks(path: Path) -> Iterator[bytes]:
    """The file in pieces of whole lines; only the last may lack its line end. Raises OSError."""
    kept = b""
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            whole, end, rest = (kept + block).rpartition(b"\n")
            kept = rest
            if end:
                yield whole + end
    if kept:
        yield kept
