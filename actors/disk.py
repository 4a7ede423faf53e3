"""The disk as a port: what an actor may do to files, so that tests can take the disk away."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import trio

from protocol.rotation import LogFile

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700


class Disk(Protocol):
    """Raises OSError as the real one does."""

    async def append(self, path: Path, data: bytes) -> None:
        """Adds all of `data` at the end of `path`, or nothing; makes file and directory."""
        ...

    async def read(self, path: Path) -> bytes:
        """The whole file."""
        ...

    async def list_files(self, directory: Path) -> list[LogFile]:
        """Names and sizes of the plain files in `directory`; none if it does not exist."""
        ...

    async def remove(self, path: Path) -> None:
        """Deletes a file."""
        ...

    async def replace(self, path: Path, data: bytes) -> None:
        """Puts `data` at `path` whole and durably, or leaves what is there."""
        ...


class RealDisk:
    """The machine's disk, in threads so that a slow one never holds up a stream.

    `replace_file` is how a file is replaced whole and durably (it raises OSError).
    """

    def __init__(self, replace_file: Callable[[Path, bytes], None]) -> None:
        self._replace_file = replace_file

    async def append(self, path: Path, data: bytes) -> None:
        await trio.to_thread.run_sync(_append, path, data)

    async def read(self, path: Path) -> bytes:
        return await trio.to_thread.run_sync(path.read_bytes)

    async def list_files(self, directory: Path) -> list[LogFile]:
        return await trio.to_thread.run_sync(_list_files, directory)

    async def remove(self, path: Path) -> None:
        await trio.to_thread.run_sync(path.unlink)

    async def replace(self, path: Path, data: bytes) -> None:
        await trio.to_thread.run_sync(self._replace_file, path, data)


def _append(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=DIRECTORY_MODE)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, FILE_MODE)
    try:
        size = os.fstat(descriptor).st_size
        try:
            _write_all(descriptor, data)
        except OSError:
            # A full disk takes a part. What comes next must not be glued to half a line.
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _list_files(directory: Path) -> list[LogFile]:
    try:
        entries = list(directory.iterdir())
    except FileNotFoundError:
        return []
    files: list[LogFile] = []
    for entry in entries:
        try:
            found = entry.stat()
        except FileNotFoundError:
            continue  # gone a moment ago, or a link to nothing
        if stat.S_ISREG(found.st_mode):
            files.append(LogFile(entry.name, found.st_size))
    return files
