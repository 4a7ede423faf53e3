"""Claude Code's own lock round the renewal of a login (`wire.md` A14), so that we share it.

Two directories, because versions differ in which they make: `.oauth_refresh.lock` in the client's
configuration directory, and `<real path of that directory>.lock`. Whoever makes both may renew.
A directory that was not touched for a minute was left by a process that died. The client also
writes an owner's record beside; it is optional, and says things of a process that we are not.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import threading
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import trio

from protocol.login import CredentialsLocked

log = logging.getLogger("supervisor")

NAME = ".oauth_refresh.lock"
STALE_SECONDS = 60.0
TOUCH_SECONDS = 5.0
TRIES = 5
WAIT_SECONDS = (1.0, 2.0)
DISK_SECONDS = 5.0


class LockDirectory:
    """One lock. It is ours while it has the time that we gave it last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._touched: int | None = None
        # Between its new time on disk and our note of it, nobody may ask whose it is.
        self._noting = threading.Lock()

    def take(self) -> bool:
        """Whether it could be made, or was stale. Raises OSError where it can not be made at all."""
        for _ in range(2):
            try:
                self.path.mkdir(mode=0o700)
            except FileExistsError:
                if not self._remove_stale():
                    return False
            else:
                self.touch(first=True)
                return True
        return False

    def _remove_stale(self) -> bool:
        try:
            age = time.time() - self.path.stat().st_mtime
            if age <= STALE_SECONDS:
                return False
            self.path.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    def ours(self) -> bool:
        """Nobody took it for stale and made it anew."""
        with self._noting:
            return self._as_noted()

    def _as_noted(self) -> bool:
        try:
            return self.path.stat().st_mtime_ns == self._touched
        except OSError:
            return False

    def touch(self, *, first: bool = False) -> None:
        """Says that its holder lives."""
        with self._noting:
            if first or self._as_noted():
                with contextlib.suppress(OSError):
                    os.utime(self.path)
                    self._touched = self.path.stat().st_mtime_ns

    def release(self) -> None:
        """Gives it back, if it still is ours."""
        with self._noting:
            if self._as_noted():
                with contextlib.suppress(OSError):
                    self.path.rmdir()


class ClientLock:
    """Both directories, held."""

    def __init__(self, directories: list[LockDirectory]) -> None:
        self._directories = directories

    async def still_ours(self) -> bool:
        """Whether all of them are."""
        return await trio.to_thread.run_sync(self._all_ours)

    def _all_ours(self) -> bool:
        return all(directory.ours() for directory in self._directories)

    async def keep_alive(self) -> None:
        """Touches them until it is cancelled."""
        while True:
            await trio.sleep(TOUCH_SECONDS)
            for directory in self._directories:
                await trio.to_thread.run_sync(directory.touch)

    def release(self) -> None:
        """In the opposite order."""
        for directory in reversed(self._directories):
            directory.release()


def try_lock_client(directory: Path) -> ClientLock | None:
    """One try for the lock of a configuration directory; None where somebody has it.

    Raises OSError where the directory can not be written.
    """
    own = LockDirectory(directory / NAME)
    if not own.take():
        return None
    legacy = LockDirectory(Path(f"{os.path.realpath(directory)}.lock"))
    try:
        if not legacy.take():
            own.release()
            return None
    except OSError as error:  # as the client: a parent that is not ours must not keep us out
        log.debug("%s cannot be made (%s); %s is enough", legacy.path, error, own.path)
        return ClientLock([own])
    return ClientLock([own, legacy])


@contextlib.asynccontextmanager
async def locked_client(
    directory: Path, rng: random.Random, tries: int = TRIES
) -> AsyncGenerator[ClientLock, None]:
    """The lock of a configuration directory. Raises CredentialsLocked after some seconds."""
    lock = None
    for attempt in range(tries):
        if attempt:
            await trio.sleep(rng.uniform(*WAIT_SECONDS))
        # Shielded: a lock that was got and not noted would block everybody for a minute.
        with trio.CancelScope(shield=True):
            lock = await trio.to_thread.run_sync(try_lock_client, directory)
        if lock is not None:
            break
    if lock is None:
        raise CredentialsLocked(f"the login in {directory} is being renewed by another process")
    failed: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lock.keep_alive)
            try:
                yield lock
            except Exception as error:  # noqa: BLE001 - raised again below, without a group round it
                failed = error
            nursery.cancel_scope.cancel()
        if failed is not None:
            raise failed
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + DISK_SECONDS):
            await trio.to_thread.run_sync(lock.release)
