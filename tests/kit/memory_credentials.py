"""Credential files in memory, for virtual time: with times, locks, and faults at any call."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from pathlib import Path

import trio

from protocol.login import Content, CredentialsLocked, CredentialsUnusable

LOCK_SECONDS = 10.0


async def looked(
    look: Callable[[Path], Awaitable[Content | None]], path: Path
) -> Content | Exception | None:
    """One place of `CredentialDisk.look_all`."""
    try:
        return await look(path)
    except (CredentialsUnusable, OSError) as error:
        return error


class MemoryLock:
    """Held; a test can take it away."""

    def __init__(self) -> None:
        self.ours = True

    async def still_ours(self) -> bool:
        await trio.lowlevel.checkpoint()
        return self.ours


class MemoryCredentials:
    """A `CredentialDisk`. `fault` is called with the name of each call before it takes effect, and
    may raise; `calls` are their names."""

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        self.files: dict[Path, tuple[bytes, float]] = {}
        self.aside: dict[Path, bytes] = {}
        self.beside: dict[Path, bytes] = {}
        self.calls: list[str] = []
        self.writes: list[tuple[Path, bytes]] = []
        self.fault: Callable[[str], None] = lambda _: None
        self.lock_lost = False
        self._wall_clock = wall_clock
        self._locks: dict[Path, trio.Lock] = {}

    def put(self, path: Path | str, data: bytes) -> None:
        """Somebody else writes a file."""
        self.files[Path(path)] = (data, self._wall_clock())

    def read(self, path: Path) -> Content | None:
        found = self.files.get(path)
        return None if found is None else Content(*found)

    async def look(self, path: Path) -> Content | None:
        await self._turn("look")
        return self.read(path)

    async def look_all(self, paths: Iterable[Path]) -> list[Content | Exception | None]:
        return [await looked(self.look, path) for path in paths]

    async def look_beside(self, path: Path) -> bytes | None:
        await self._turn("look_beside")
        return self.beside.get(path)

    async def replace(self, path: Path, before: bytes | None, data: bytes) -> bool:
        await self._turn("replace")
        found = self.files.get(path)
        if (None if found is None else found[0]) != before:
            return False
        self.put(path, data)
        self.writes.append((path, data))
        return True

    async def keep_aside(self, path: Path) -> None:
        await self._turn("keep_aside")
        self.aside[path] = self.files.pop(path)[0]

    @contextlib.asynccontextmanager
    async def locked(self, path: Path) -> AsyncGenerator[MemoryLock, None]:
        await self._turn("lock")
        lock = self._locks.setdefault(path, trio.Lock())
        with trio.move_on_after(LOCK_SECONDS) as limit:
            await lock.acquire()
        if limit.cancelled_caught:
            raise CredentialsLocked(f"{path} is locked")
        held = MemoryLock()
        held.ours = not self.lock_lost
        try:
            yield held
        finally:
            lock.release()

    def locked_for_client(self, path: Path) -> contextlib.AbstractAsyncContextManager[MemoryLock]:
        return self.locked(path.parent / ".oauth_refresh.lock")

    async def _turn(self, name: str) -> None:
        await trio.lowlevel.checkpoint()
        self.calls.append(name)
        self.fault(name)


def full_disk(name: str) -> None:
    """A fault: nothing can be written."""
    if name == "replace":
        raise OSError(errno.ENOSPC, "no space left on device")
