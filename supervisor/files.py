"""Files that survive a crash: replaced whole or not at all, readable by their owner only.

Writing in place leaves a torn file when the process is killed half-way. So the new content goes
into a temporary file beside the old one, is forced to the disk, and takes the old one's place in
one rename; the directory is forced to the disk last, or a power cut could undo the rename.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

PRIVATE_FILE = 0o600
PRIVATE_DIRECTORY = 0o700


def replace_file(path: Path, data: bytes, mode: int = PRIVATE_FILE) -> None:
    """Put `data` at `path`, atomically and durably; the file gets exactly `mode`.

    A symbolic link is followed, not replaced: the file that it names gets the new content, also
    when that file does not exist yet. Raises OSError when any step fails; the old file is then
    still there, whole, unless only the last step, forcing the directory to the disk, failed.
    """
    target = Path(os.path.realpath(path))
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if os.name != "nt":
                os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            # Never retried on this descriptor: after a failed fsync the kernel may have dropped
            # the data and call the next one a success.
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync_directory(target.parent)


def keep_aside(path: Path) -> Path:
    """Rename a file that does not parse, so that nothing overwrites it; returns its new place.

    The name is `<name>.unreadable`, with a number after it where that is taken.
    """
    number = 1
    aside = path.with_name(f"{path.name}.unreadable")
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.unreadable.{number}")
    return path.rename(aside)


def make_private_directory(path: Path) -> None:
    """Create `path` (0700) and its parents where missing.

    A directory that is already there keeps its mode: it may be one that others share, such as
    `/tmp`, and is then not ours to close. Raises OSError when it can not be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=PRIVATE_DIRECTORY)
    except FileExistsError:
        if not path.is_dir():
            raise


def _sync_directory(directory: Path) -> None:
    if os.name == "nt":  # a directory can not be opened there, and NTFS journals the rename
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
