"""Logins that `auth login` made: Claude Code's configuration directories below the state directory.

They are ours to remove, with what Claude Code keeps for them in the macOS keychain: an entry of their
own, whose name is made of the directory's (`supervisor.keychain`). Any other login is Claude Code's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from supervisor import keychain

NAME = "logins"
"""In the state directory."""


def own_directory(path: str, logins_directory: Path) -> Path | None:
    """The directory of the login file `path`, if we made it; None for somebody else's."""
    directory = Path(path).parent
    ours = os.path.realpath(directory.parent) == os.path.realpath(logins_directory)
    return directory if path and ours else None


def directories(logins_directory: Path) -> Iterator[Path]:
    """All of them, also those that no account names."""
    with contextlib.suppress(OSError):
        yield from (path for path in sorted(logins_directory.iterdir()) if path.is_dir())


def forget(directory: Path) -> None:
    """Removes the login in one of these directories; one that is gone already is no error.

    Its keychain entry goes first: while the directory is there, `auth cleanup` finds it and tries
    again. A link is removed alone: what it leads to is not ours. Raises CredentialsUnusable, which
    names the entry, and OSError.
    """
    if directory.is_symlink():
        directory.unlink(missing_ok=True)
        return
    entries = keychain.of_this_machine()
    if entries is not None:
        entries.remove(Path(os.path.realpath(directory)))  # the name that Claude Code was given
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(directory)


def where_it_stays(path: str) -> str:
    """In words, where Claude Code keeps the login that is not ours to remove; "" for nowhere."""
    if os.path.lexists(path):
        return f"in {path}"
    if keychain.of_this_machine() is None:
        return ""
    return f"in the keychain (entry {keychain.service_of(Path(path).parent)!r})"
