"""Files with credentials: read only where nobody else can, replaced only under a lock.

What others can read is no secret any more, and what others can write is not ours to trust. So such
a file is refused with a line that says what to do, and never repaired behind its owner's back.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from protocol.login import Content, CredentialsLocked, CredentialsRefused, CredentialsUnusable
from supervisor.file_lock import try_lock
from supervisor.files import PRIVATE_FILE, make_private_directory
from supervisor.plain_files import trouble

__all__ = ["Content", "CredentialsLocked", "CredentialsUnusable", "locked", "read_private"]

LARGEST_FILE = 4 * 2**20
"""Bytes. A credential file has a few kilobytes; this stops a mistaken path to something huge."""

LOCK_SECONDS = 10.0
_RETRY_SECONDS = 0.05


def read_private(path: Path) -> Content | None:
    """The content of `path`, links followed; None where there is no such file.

    Raises CredentialsUnusable for a file that others own, read or write, and for what is no file.
    """
    try:
        # Not waiting: a pipe of that name would hold us up for ever.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CredentialsUnusable(str(trouble(str(path), error))) from error
    try:
        found = os.fstat(descriptor)
        refusal = _refusal(found)
        if refusal is not None:
            raise CredentialsRefused(f"{path} {refusal}")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return Content(file.read(LARGEST_FILE + 1), found.st_mtime)
    except OSError as error:
        raise CredentialsUnusable(str(trouble(str(path), error))) from error
    finally:
        os.close(descriptor)


def _refusal(found: os.stat_result) -> str | None:
    if not stat.S_ISREG(found.st_mode):
        return "is not used: it is no ordinary file"
    if found.st_size > LARGEST_FILE:
        return f"is not used: it has more than {LARGEST_FILE} bytes"
    if os.name == "nt":
        return None
    if found.st_uid != os.geteuid():
        return "is not used: it belongs to another user; make a copy that is yours (chmod 600)"
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return (
            "is not used: other users of this machine may read or change it; "
            "chmod 600 it, and renew what is in it if they could have"
        )
    return None


def lock_of(path: Path) -> Path:
    """The lock file of `path`: beside the file itself, whatever link leads there."""
    target = Path(os.path.realpath(path))
    return target.with_name(f".{target.name}.lock")


@contextlib.contextmanager
def locked(
    path: Path,
    *,
    patience: float = LOCK_SECONDS,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Keeps other processes of ours away from `path`; blocks the thread for at most `patience`.

    The lock is a file beside it that is never removed: whoever waits for it has it open. Raises
    CredentialsLocked, and OSError where the directory can not be made or written.
    """
    lock = lock_of(path)
    make_private_directory(lock.parent)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
    try:
        deadline = monotonic() + patience
        while not try_lock(descriptor):
            if monotonic() >= deadline:
                raise CredentialsLocked(
                    f"{path} is locked by another process for more than {patience:g} s; "
                    "try again when that is done"
                )
            sleep(_RETRY_SECONDS)
        yield
    finally:
        os.close(descriptor)
