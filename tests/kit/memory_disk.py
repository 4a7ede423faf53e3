"""A disk in memory, without threads: virtual time would jump while a thread works."""

from __future__ import annotations

import errno
from pathlib import Path

import trio

from protocol.rotation import LogFile


class MemoryDisk:
    """Keeps files in a dict; `failing` makes every call raise like a full disk."""

    def __init__(self) -> None:
        self.files: dict[Path, bytes] = {}
        self.failing = False

    async def append(self, path: Path, data: bytes) -> None:
        await self._turn(path)
        self.files[path] = self.files.get(path, b"") + data

    async def read(self, path: Path) -> bytes:
        await self._turn(path)
        try:
            return self.files[path]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path)) from None

    async def list_files(self, directory: Path) -> list[LogFile]:
        await self._turn(directory)
        return [
            LogFile(path.name, len(data))
            for path, data in self.files.items()
            if path.parent == directory
        ]

    async def remove(self, path: Path) -> None:
        await self._turn(path)
        del self.files[path]

    async def replace(self, path: Path, data: bytes) -> None:
        await self._turn(path)
        self.files[path] = data

    async def _turn(self, path: Path) -> None:
        await trio.lowlevel.checkpoint()
        if self.failing:
            raise OSError(errno.ENOSPC, "no space left on device", str(path))
