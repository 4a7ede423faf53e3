"""Files that belong to others, read without ever waiting, and what stands in the way in words.
Standard library only.

Anything can stand where a file should: a pipe would hold the reader up for ever, a device would
never end. So only ordinary files are read.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import NamedTuple

_NONBLOCK = getattr(os, "O_NONBLOCK", 0)

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NoPlainFile(OSError):
    """Something else than an ordinary file is there; `strerror` says what."""


class Trouble(NamedTuple):
    """Why a file cannot be used, beginning with its name, and what to do about it."""

    what: str
    advice: str

    def __str__(self) -> str:
        return f"{self.what}; {self.advice}"


def read_plain(path: str, at_most: int = -1) -> bytes | None:
    """The file, links followed, whole or `at_most` so many bytes of it; None where there is none.

    Raises OSError, and its kind NoPlainFile for what is no ordinary file.
    """
    try:
        _must_be_plain(os.stat(path), path)  # noqa: PTH116 - first: to open a device may do something
        descriptor = os.open(path, os.O_RDONLY | _NONBLOCK | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        _must_be_plain(os.fstat(descriptor), path)  # it may have been exchanged in between
        return file.read(at_most)


def _must_be_plain(found: os.stat_result, path: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise NoPlainFile(errno.EINVAL, f"is {kind}, not a file", path)


def is_there(path: Path) -> bool:
    """False also where this user may not look: `Path.exists` raises there."""
    return os.path.exists(path)  # noqa: PTH110


def is_directory(path: Path) -> bool:
    """The same for directories."""
    return os.path.isdir(path)  # noqa: PTH112


def dangles(path: str) -> bool:
    """Whether `path`, or the directory it is in, is a symbolic link to what is not there."""
    places = (path, str(Path(path).parent))
    return any(os.path.islink(one) and not os.path.exists(one) for one in places)  # noqa: PTH110, PTH114


def trouble(path: str, error: OSError, could_not: str = "be read") -> Trouble:
    """`error`, met at `path`, in words. `could_not` names what was wanted."""
    number = error.errno
    if isinstance(error, NoPlainFile):
        return Trouble(f"{path} {error.strerror}", "move it away")
    if number == errno.EISDIR:
        return Trouble(f"{path} is a directory, not a file", "move it away")
    if number == errno.ELOOP:
        what = f"{path} cannot {could_not}: its symbolic links lead in a circle"
        return Trouble(what, "remove the link")
    if number == errno.EEXIST:
        return Trouble(f"{path} is not a directory", "move it away")
    if number == errno.ENOTDIR:
        place = next((one for one in Path(path).parents if os.path.lexists(one)), Path(path).parent)
        return Trouble(f"{path} cannot {could_not}: {place} is not a directory", "move that away")
    if number in (errno.EACCES, errno.EPERM):
        what = f"{path} cannot {could_not}: this user may not"
        return Trouble(what, "make it and its directory yours (chown, chmod u+rwX)")
    if number == errno.EROFS:
        return Trouble(
            f"{path} cannot {could_not}: its file system is read-only", "mount it writable"
        )
    if number in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return Trouble(f"{path} cannot {could_not}: the disk is full", "make room")
    words = error.strerror or type(error).__name__
    return Trouble(f"{path} cannot {could_not}: {words}", "look at the file and its directory")
