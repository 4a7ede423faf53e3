"""Credential files as a port: read, compare and replace, and keep others away meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from protocol.login import Content


class Held(Protocol):
    """A lock that is held; a suspend can make it stale, and then it is somebody else's."""

    async def still_ours(self) -> bool:
        """Whether nobody took it for stale meanwhile."""
        ...


class CredentialDisk(Protocol):
    """Raises CredentialsUnusable for files that may not be used, and OSError as a disk does."""

    def read(self, path: Path) -> Content | None:
        """The file, links followed; None where there is none. Blocks: for the start alone."""
        ...

    async def look(self, path: Path) -> Content | None:
        """The same without blocking anybody."""
        ...

    async def look_all(self, paths: Iterable[Path]) -> list[Content | Exception | None]:
        """The same of many, in one go: what was found, in their order, or what `look` would raise."""
        ...

    async def look_beside(self, path: Path) -> bytes | None:
        """What Claude Code keeps about the person beside its login file at `path`, if that is there."""
        ...

    async def replace(self, path: Path, before: bytes | None, data: bytes) -> bool:
        """Puts `data` at `path` whole and durably, if it still holds `before` (None: nothing);
        False if it does not."""
        ...

    async def keep_aside(self, path: Path) -> None:
        """Renames a file that does not parse, so that nothing overwrites it."""
        ...

    def locked(self, path: Path) -> AbstractAsyncContextManager[Held]:
        """Keeps other processes of ours from the file at `path`. Raises CredentialsLocked when that
        cannot be had in a bounded time."""
        ...

    def locked_for_client(self, path: Path) -> AbstractAsyncContextManager[Held]:
        """Keeps Claude Code, too, from renewing the login in the file at `path`."""
        ...
