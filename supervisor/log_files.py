"""The log files of a directory, read by their days."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from protocol.rotation import day_of

BLOCK_BYTES = 4 * 1024 * 1024
BACKWARDS_BYTES = 256 * 1024


def log_files(directory: Path, kind: str, since: date | None = None) -> list[Path]:
    """Files of `kind` (`requests`, `debug`) from the UTC day `since` on, the oldest first.

    Only files: a pipe of such a name would be waited for. A line's day is that of its writing, never before that of its request. Raises OSError.
    """
    found = []
    for path in directory.iterdir():
        day = day_of(path.name) if path.name.startswith(f"{kind}-") else None
        if day is not None and (since is None or day >= since) and path.is_file():
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


def backwards(path: Path, containing: bytes = b"") -> Iterator[bytes]:
    """The whole lines of a file, the last first, without their line ends; only those that contain
    these bytes. What follows the last line end is being written, or torn. Raises OSError."""
    with path.open("rb") as file:
        position = file.seek(0, os.SEEK_END)
        rest: bytes | None = None  # of the block after; None until a line end was seen
        while position:
            size = min(BACKWARDS_BYTES, position)
            position -= size
            file.seek(position)
            block = file.read(size)
            if rest is None:
                block, end, _ = block.rpartition(b"\n")
                if not end:
                    continue
                rest = b""
            rest, *lines = (block + rest).split(b"\n")
            yield from (line for line in reversed(lines) if line and containing in line)
        if rest and containing in rest:
            yield rest


class Follower:
    """New lines of the files of `kind` in `directory`, from their ends on.

    A new day's file is read after the last line of the day before. A file that was cut or replaced
    is read from its beginning.
    """

    def __init__(self, directory: Path, kind: str) -> None:
        self._directory = directory
        self._kind = kind
        self._path: Path | None = None
        self._inode = 0
        self._offset = 0
        self._kept = b""
        with contextlib.suppress(FileNotFoundError):
            files = log_files(directory, kind)
            if files:
                self._open(files[-1])
                self._offset = max(files[-1].stat().st_size - BACKWARDS_BYTES, 0)
                self._more()  # what is being written there and not whole yet is kept

    def poll(self) -> list[bytes]:
        """Whole lines that came since. Raises OSError, but not for a file that is not there."""
        try:
            files = log_files(self._directory, self._kind)
        except FileNotFoundError:
            return []
        lines = self._more()
        for path in files:
            if self._path is None or path.name > self._path.name:
                self._open(path)
                lines += self._more()
        return lines

    def _open(self, path: Path) -> None:
        self._path, self._inode, self._offset, self._kept = path, 0, 0, b""

    def _more(self) -> list[bytes]:
        if self._path is None:
            return []
        try:
            with self._path.open("rb") as file:
                known = os.fstat(file.fileno())
                if self._inode not in (0, known.st_ino) or known.st_size < self._offset:
                    self._offset, self._kept = 0, b""
                self._inode = known.st_ino
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            self._open(self._path)
            return []
        self._offset += len(data)
        *lines, self._kept = (self._kept + data).split(b"\n")
        return [line for line in lines if line]
