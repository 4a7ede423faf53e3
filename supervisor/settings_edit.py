"""Changing one settings file while others may write it too. Standard library only.

The new content is written beside the file, and the two trade places. What comes out is then looked
at: if it is not what the change was made from, somebody wrote in between, and the change is made
once more from theirs. So no edit of anybody is lost, and none is held up.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

from protocol.settings import NotEditable, well_formed
from supervisor.plain_files import NoPlainFile, Trouble, dangles, trouble
from supervisor.settings_files import CannotExchange, SettingsDisk, Status

PATIENCE_SECONDS = 2.0
"""For a file that somebody keeps writing."""
SETTLE_SECONDS = 0.25
"""For a writer who is in the middle of it."""
_LOOK_SECONDS = 0.002
_LINGER_SECONDS = 0.01
"""Where nobody can tell whether a file is open: long enough for one who is about to write."""

Transform = Callable[[bytes | None], bytes | None]
"""From the content that is there to the one that should be (None: no file). It may be called more
than once, and raises NotEditable to leave the file as it is."""


class Untouched(Exception):
    """The file is as it was; the message, which begins with its name, says why and what to do."""


def leftovers_prefix(path: str, tag: str) -> str:
    """How the temporary files beside `path` begin; `tag` is the state directory's."""
    return f".{Path(path).name}.{tag}."


def rewrite(disk: SettingsDisk, path: str, tag: str, transform: Transform) -> bool:
    """Applies `transform`; gives back whether the file changed. Raises Untouched."""
    try:
        return _Edit(disk, path, tag, transform).run()
    except NotEditable as reason:
        raise Untouched(f"{path} {reason}; it is left as it is") from reason
    except OSError as error:
        raise Untouched(str(_left_alone(path, error))) from error


def settled(disk: SettingsDisk, path: str) -> bytes | None:
    """The content, once nobody is in the middle of writing it. Raises OSError."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        content = disk.read(path)
        if content is None or well_formed(content):
            return content
        if time.monotonic() > deadline:
            return content
        disk.pause(_LOOK_SECONDS)


class _Edit:
    def __init__(self, disk: SettingsDisk, path: str, tag: str, transform: Transform) -> None:
        self._disk = disk
        self._path = path
        self._transform = transform
        stem = f"{Path(path).parent / leftovers_prefix(path, tag)}{os.getpid()}"
        self._temporary, self._other = f"{stem}.0", f"{stem}.1"
        self._deadline = time.monotonic() + PATIENCE_SECONDS

    def run(self) -> bool:
        for name in (self._temporary, self._other):  # of an earlier process with our number
            self._disk.remove(name)
        while True:
            content = settled(self._disk, self._path)
            status = permitted(self._disk, self._path)
            new = self._transform(content)
            if new == content:
                return False
            if self._place(content, new, status):
                self._disk.sync_directory(self._path)
                return True
            self._in_time()

    def _in_time(self) -> None:
        if time.monotonic() > self._deadline:
            raise Untouched(f"{self._path} is being written all the time by another program")

    def _place(self, content: bytes | None, new: bytes | None, status: Status | None) -> bool:
        """False: nothing happened, look again."""
        if content is None:
            assert new is not None  # or nothing would have changed
            return self._place_new(new)
        if new is None:
            return self._take_away(content)
        try:
            self._exchange_until_clean(content, new, status)
        except CannotExchange:
            self._discard(self._temporary)
            return self._rename_over(content, new, status)
        return True

    def _write(self, data: bytes, like: Status | None) -> None:
        try:
            descriptor = self._disk.create(self._temporary, like)
            try:
                self._disk.write(descriptor, data)
                self._disk.sync(descriptor)
            finally:
                self._disk.close(descriptor)
        except OSError:
            self._discard(self._temporary)
            raise

    def _discard(self, temporary: str) -> None:
        """What cannot be removed now is removed by the next repair."""
        with contextlib.suppress(OSError):
            self._disk.remove(temporary)

    def _place_new(self, new: bytes) -> bool:
        self._write(new, None)
        try:
            self._disk.link_new(self._temporary, self._path)
        except FileExistsError:
            self._discard(self._temporary)
            return False
        except OSError:
            self._discard(self._temporary)
            raise
        return True

    def _take_away(self, content: bytes) -> bool:
        self._disk.rename(self._path, self._temporary)
        if self._came_out() == content:
            self._discard(self._temporary)
            return True
        self._disk.link_new(self._temporary, self._path)
        return False

    def _exchange_until_clean(self, content: bytes, new: bytes, like: Status | None) -> None:
        """`there` is what we believe is in place. What comes out instead is somebody's edit, and
        goes back in with ours made on top of it; or as it is, where ours cannot be."""
        there, refused = content, None
        while True:
            self._write(new, like)
            try:
                self._disk.exchange(self._temporary, self._path)
            except OSError:
                self._discard(self._temporary)
                raise
            theirs = self._came_out()
            self._discard(self._other)  # what came out before is in place by now
            if theirs == there:
                break
            there, like = new, self._disk.status(self._temporary)
            if refused is None:
                new, refused = self._once_more(theirs)
            else:
                new = theirs
            if new == there:
                break
            self._temporary, self._other = self._other, self._temporary
        self._discard(self._temporary)
        if refused is not None:
            raise refused

    def _once_more(self, theirs: bytes) -> tuple[bytes, Exception | None]:
        try:
            self._in_time()
            new = self._transform(theirs)
        except (NotEditable, Untouched) as reason:
            return theirs, reason
        # A file that is to go is taken away by the caller's next look.
        return (theirs if new is None else new), None

    def _came_out(self) -> bytes:
        """What is in the temporary file, once nobody writes to it any more."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            busy = self._disk.in_someones_hands(self._temporary)
            if busy is None:
                self._disk.pause(_LINGER_SECONDS)
                break
            if not busy:
                break
            self._disk.pause(_LOOK_SECONDS)
        return settled(self._disk, self._temporary) or b""

    def _rename_over(self, content: bytes, new: bytes, like: Status | None) -> bool:
        """Without an exchange: as short a moment between the look and the rename as can be."""
        self._write(new, like)
        try:
            if self._disk.read(self._path) != content:
                self._discard(self._temporary)
                return False
            self._disk.rename(self._temporary, self._path)
        except OSError:
            self._discard(self._temporary)
            raise
        return True


def tidy(disk: SettingsDisk, path: str, tag: str, bare: Callable[[bytes], bytes | None]) -> str:
    """Removes temporary files that a crash left beside `path`. One that says something else than
    the file does (`bare`: without our keys) may be somebody's edit: it is kept, and named in the
    answer, which is empty otherwise. Raises OSError."""
    kept = []
    for leftover in disk.siblings(path, leftovers_prefix(path, tag)):
        content, current = disk.read(leftover), disk.read(path)
        if _worth_keeping(content, current, bare):
            aside = f"{path}.saved"
            disk.rename(leftover, aside)
            kept.append(f"an edit that a crash cut off is kept in {aside}")
        else:
            disk.remove(leftover)
    return "; ".join(kept)


def _worth_keeping(
    content: bytes | None, current: bytes | None, bare: Callable[[bytes], bytes | None]
) -> bool:
    if content is None or not well_formed(content):
        return False  # cut off while we were writing it
    if current is None or not well_formed(current):
        return True
    return bare(content) != bare(current)


def permitted(disk: SettingsDisk, path: str, named: str = "") -> Status | None:
    """Raises Untouched for a file or directory that is not ours to write. `named` is what leads to
    `path`, where links were followed."""
    try:
        if not disk.has_directory(path):
            raise Untouched(str(no_directory(path, named)))
        status = disk.status(path)
    except OSError as error:
        raise Untouched(str(_left_alone(named or path, error))) from error
    if status is None or os.name == "nt":
        return status
    if not status.regular:
        odd = NoPlainFile(errno.EINVAL, "is not a regular file")
        raise Untouched(str(_left_alone(named or path, odd)))
    user = os.geteuid()
    if status.owner != user and user != 0:
        raise Untouched(
            f"{path} belongs to another user; it is left as it is (chown it, or set client.manage "
            "= false)"
        )
    if not status.mode & stat.S_IWUSR:
        raise Untouched(
            f"{path} is read-only; it is left as it is (chmod u+w it, or set client.manage = false)"
        )
    return status


def no_directory(path: str, named: str = "") -> Trouble:
    """Why there is no directory for the settings file `path`, to which `named` leads."""
    directory = Path(path).parent
    if named and named != path and dangles(named):
        what = f"{named} leads to {path}, and {directory} does not exist"
        return Trouble(what, "make that directory, or remove the link")
    if os.path.lexists(directory):  # a file, or a link in a circle
        number = errno.ELOOP if os.path.islink(directory) else errno.ENOTDIR  # noqa: PTH114
        return trouble(path, OSError(number, ""))
    return Trouble(f"{directory} does not exist", "it is made by the client's first start")


def _left_alone(path: str, error: OSError) -> Trouble:
    found = trouble(path, error, "be changed")
    return found._replace(advice=f"{found.advice}, or set client.manage = false")
