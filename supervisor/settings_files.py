"""The disk as the settings guard uses it, one small step for each method, so that a test can take
it away at any of them. Standard library only.

`exchange` is what makes a change safe beside other writers: two names trade places in one step, so
what stood there at that very moment is in our hands, and can be looked at. A plain rename would
have destroyed it unseen.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from supervisor.plain_files import read_plain


class Status(NamedTuple):
    """What is kept of a file when its content is replaced."""

    mode: int
    owner: int
    group: int
    regular: bool


class CannotExchange(OSError):
    """This system or file system has no exchange; rename and look."""


class SettingsDisk:
    """The machine's disk. Everything raises OSError."""

    def resolve(self, path: str) -> str:
        """The real path: a symbolic link is followed, also to a file that is not there."""
        return os.path.realpath(Path(path).expanduser())

    def read(self, path: str) -> bytes | None:
        """The whole file; None where there is none. Never waits: what is no file is an error."""
        return read_plain(path)

    def status(self, path: str) -> Status | None:
        """None where there is no such file."""
        try:
            found = os.stat(path)  # noqa: PTH116 - a path is text in all of this port
        except FileNotFoundError:
            return None
        mode = found.st_mode
        return Status(stat.S_IMODE(mode), found.st_uid, found.st_gid, stat.S_ISREG(mode))

    def has_directory(self, path: str) -> bool:
        """Whether the directory that `path` is in exists."""
        return Path(path).parent.is_dir()

    def create(self, path: str, like: Status | None) -> int:
        """Opens a new file for writing, with mode and owner as `like` (None: 0600, ours)."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o600)
        try:
            if like is not None and os.name != "nt":
                made = os.fstat(descriptor)
                if (made.st_uid, made.st_gid) != (like.owner, like.group):
                    _give(descriptor, like)
                os.fchmod(descriptor, like.mode)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def write(self, descriptor: int, data: bytes) -> None:
        """All of it."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    def sync(self, descriptor: int) -> None:
        """Forces it to the disk. Never repeated: after an error the kernel may have dropped it."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def exchange(self, one: str, other: str) -> None:
        """The two files trade places in one step. Raises CannotExchange."""
        _exchange(one, other)

    def rename(self, source: str, target: str) -> None:
        """Replaces `target`."""
        os.replace(source, target)  # noqa: PTH105

    def link_new(self, source: str, target: str) -> None:
        """Gives the file its place, only if that is free; raises FileExistsError."""
        try:
            os.link(source, target)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from None
            os.replace(source, target)  # noqa: PTH105
            return
        os.unlink(source)  # noqa: PTH108

    def remove(self, path: str) -> None:
        """Deletes a file; one that is gone already is no error."""
        try:
            os.unlink(path)  # noqa: PTH108
        except FileNotFoundError:
            return

    def sync_directory(self, path: str) -> None:
        """Forces the directory that `path` is in to the disk."""
        if os.name == "nt":  # a directory can not be opened there
            return
        descriptor = os.open(Path(path).parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def siblings(self, path: str, prefix: str) -> list[str]:
        """The files beside `path` whose names begin so."""
        directory = Path(path).parent
        return [str(found) for found in directory.iterdir() if found.name.startswith(prefix)]

    def in_someones_hands(self, path: str) -> bool | None:
        """Whether a process has the file open for writing; None where that cannot be told."""
        return _open_for_writing(path)

    def pause(self, seconds: float) -> None:
        """Waits."""
        time.sleep(seconds)


def _give(descriptor: int, like: Status) -> None:
    try:
        os.fchown(descriptor, like.owner, like.group)
    except PermissionError:
        # Somebody else's group is kept where that is allowed; the owner was checked before.
        if os.fstat(descriptor).st_uid != like.owner:
            raise


_RENAME_EXCHANGE = 2
_RENAME_SWAP = 2
_AT_FDCWD = -100
_NOT_THERE = frozenset(
    {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, getattr(errno, "ENOTSUP", errno.EOPNOTSUPP)}
)


def _find_exchange() -> Callable[[bytes, bytes], int] | None:
    if sys.platform == "win32":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "darwin":  # written from its manual page; not run by our tests
        swap = getattr(libc, "renamex_np", None)
        if swap is None:
            return None
        swap.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint]
        return lambda one, other: int(swap(one, other, _RENAME_SWAP))
    rename = getattr(libc, "renameat2", None)
    if rename is None:
        return None
    rename.argtypes = [
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_uint,
    ]
    return lambda one, other: int(rename(_AT_FDCWD, one, _AT_FDCWD, other, _RENAME_EXCHANGE))


_EXCHANGE = _find_exchange()


def _exchange(one: str, other: str) -> None:
    if _EXCHANGE is None:
        raise CannotExchange(errno.ENOSYS, os.strerror(errno.ENOSYS), other)
    if _EXCHANGE(os.fsencode(one), os.fsencode(other)) == 0:
        return
    number = ctypes.get_errno()
    kind = CannotExchange if number in _NOT_THERE else OSError
    raise kind(number, os.strerror(number), other)


def _open_for_writing(path: str) -> bool | None:
    """A read lease is only given on a file that nobody has open for writing."""
    if sys.platform != "linux":
        return None
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return False
