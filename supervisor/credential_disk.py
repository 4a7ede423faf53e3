"""The machine's credential files, in threads so that a slow disk never holds up a stream."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import AsyncGenerator, Callable, Iterable
from pathlib import Path

import trio

from protocol.login import Content, CredentialsLocked, CredentialsUnusable
from supervisor import keychain as machines_keychain
from supervisor.client_lock import ClientLock, locked_client
from supervisor.file_lock import try_lock
from supervisor.files import PRIVATE_FILE, keep_aside, make_private_directory, replace_file
from supervisor.keychain import Keychain
from supervisor.plain_files import read_plain
from supervisor.private_files import LOCK_SECONDS, lock_of, read_private

LOGIN_FILE_NAME = ".credentials.json"
BESIDE_BYTES_MAX = 16 * 2**20
_RETRY_SECONDS = 0.05


class FileLock:
    """A lock that the operating system keeps: nobody can take it for stale."""

    async def still_ours(self) -> bool:
        """Always."""
        await trio.lowlevel.checkpoint()
        return True


class RealCredentialDisk:
    """A `CredentialDisk`; `replace_whole` puts a file in place whole and durably. Where there is a
    `keychain`, it has the logins that no file has."""

    def __init__(
        self,
        rng: random.Random,
        replace_whole: Callable[[Path, bytes], None] = replace_file,
        keychain: Keychain | None = None,
    ) -> None:
        self._random = rng
        self._replace_whole = replace_whole
        self._keychain = keychain

    def read(self, path: Path) -> Content | None:
        content = read_private(path)
        if content is None and self._keychain is not None and path.name == LOGIN_FILE_NAME:
            return self._keychain.look(path.parent)
        return content

    async def look(self, path: Path) -> Content | None:
        return await trio.to_thread.run_sync(self.read, path)

    async def look_all(self, paths: Iterable[Path]) -> list[Content | Exception | None]:
        return await trio.to_thread.run_sync(lambda: [self._looked(path) for path in paths])

    def _looked(self, path: Path) -> Content | Exception | None:
        try:
            return self.read(path)
        except (CredentialsUnusable, OSError) as error:
            return error

    async def look_beside(self, path: Path) -> bytes | None:
        return await trio.to_thread.run_sync(_beside, path)

    async def replace(self, path: Path, before: bytes | None, data: bytes) -> bool:
        return await trio.to_thread.run_sync(self._replace, path, before, data)

    def _replace(self, path: Path, before: bytes | None, data: bytes) -> bool:
        found = read_private(path)
        if found is None and before and self._keychain and path.name == LOGIN_FILE_NAME:
            return self._keychain.replace(path.parent, before, data)
        if (None if found is None else found.data) != before:
            return False
        make_private_directory(Path(os.path.realpath(path)).parent)
        self._replace_whole(path, data)
        return True

    async def keep_aside(self, path: Path) -> None:
        await trio.to_thread.run_sync(_keep_aside, path)

    @contextlib.asynccontextmanager
    async def locked(self, path: Path) -> AsyncGenerator[FileLock, None]:
        # Opened here, not in a thread: a descriptor that a cancelled wait forgot would stay locked.
        descriptor = _open_lock(path)
        try:
            with trio.move_on_after(LOCK_SECONDS) as limit:
                while not try_lock(descriptor):  # noqa: ASYNC110 - the kernel tells nobody
                    await trio.sleep(_RETRY_SECONDS)
            if limit.cancelled_caught:
                raise CredentialsLocked(f"{path} is locked by another process")
            yield FileLock()
        finally:
            os.close(descriptor)

    @contextlib.asynccontextmanager
    async def locked_for_client(self, path: Path) -> AsyncGenerator[ClientLock, None]:
        async with locked_client(path.parent, self._random) as held:
            yield held


def _open_lock(path: Path) -> int:
    lock = lock_of(path)
    make_private_directory(lock.parent)
    return os.open(lock, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)


def _keep_aside(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        keep_aside(Path(os.path.realpath(path)))


def _beside(path: Path) -> bytes | None:
    """`.claude.json`: in the configuration directory where that was chosen, else in the home."""
    candidates = [path.parent / ".claude.json"]
    if path.parent.name == ".claude":
        candidates.append(path.parent.parent / ".claude.json")
    for candidate in candidates:
        with contextlib.suppress(OSError):
            data = read_plain(str(candidate), at_most=BESIDE_BYTES_MAX + 1)
            if data is not None:
                return data if len(data) <= BESIDE_BYTES_MAX else None
    return None


def of_this_machine(rng: random.Random) -> RealCredentialDisk:
    """With the keychain where there is one."""
    return RealCredentialDisk(rng, keychain=machines_keychain.of_this_machine())
