"""Looks at all credential files through the disk port."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import msgspec

from actors.credential_disk import CredentialDisk
from protocol.credentials import Known
from protocol.known_credentials import Read, assembled
from protocol.login import Content, CredentialsRefused, CredentialsUnusable

Beside = dict[str, tuple[bytes, bytes | None]]
"""By login file: its content, and what was found beside it then."""


class Files(msgspec.Struct, frozen=True):
    """Where the store and the digests of dead logins are, and how all files are read: `read` makes
    a new `Known` of the one before."""

    store: Path
    dead: Path
    read: Callable[[Known], Awaitable[Known]]


class CredentialReader:
    """`paths` are the login files. What lies beside one is read when that file changes, and never
    else: it is large, and written all the time."""

    def __init__(self, disk: CredentialDisk, store: Path, dead: Path) -> None:
        self._disk = disk
        self._store = store
        self._dead = dead
        self._beside: Beside = {}

    async def read(self, before: Known, paths: Iterable[str]) -> Known:
        """What is known now."""
        names = tuple(paths)
        wanted = (self._store, self._dead, *map(Path, names))
        found = await self._disk.look_all(wanted)
        store, dead, *rest = (_read(path, one) for path, one in zip(wanted, found, strict=True))
        logins = {
            name: await self._login(name, read) for name, read in zip(names, rest, strict=True)
        }
        return assembled(before, str(self._store), store, dead, logins)

    def read_at_start(self, paths: Iterable[str]) -> Known:
        """The same before anything runs; blocks."""
        looked = {path: self._look_now(Path(path)) for path in (str(self._store), str(self._dead))}
        logins = {path: self._look_now(Path(path)) for path in paths}
        return assembled(
            Known(), str(self._store), looked[str(self._store)], looked[str(self._dead)], logins
        )

    async def _login(self, path: str, read: Read) -> Read:
        if read.content is None:
            return read
        known = self._beside.get(path)
        if known is None or known[0] != read.content.data:
            known = (read.content.data, await self._disk.look_beside(Path(path)))
            self._beside[path] = known
        return Read(read.content, beside=known[1])

    def _look_now(self, path: Path) -> Read:
        try:
            return Read(self._disk.read(path))
        except (CredentialsUnusable, OSError) as error:
            return _problem(path, error)


def _read(path: Path, found: Content | Exception | None) -> Read:
    return _problem(path, found) if isinstance(found, Exception) else Read(found)


def _problem(path: Path, error: Exception) -> Read:
    if isinstance(error, OSError):
        return Read(problem=f"{path} cannot be read: {error.strerror or error}")
    return Read(problem=str(error), refused=isinstance(error, CredentialsRefused))
