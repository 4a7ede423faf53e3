"""Removing what the program keeps: its own files by name, never a whole directory unseen."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from protocol.login import CredentialsUnusable
from supervisor import configuration, own_logins
from supervisor.plain_files import is_there
from supervisor.service.description import environment_file

OURS = (
    "accounts.json*", "client.json*", "client.key", "client.lock", "instance.json*",
    "instance.lock", "keys.json*", "logins.json*", "quota.json*", "service.log",
)  # fmt: skip
LOCKS = (".accounts.json.lock", ".keys.json.lock", ".logins.json.lock", ".renewing-*.lock")
"""Last, because whoever waits for one would lock a file without a name."""
LOGS = ("requests-*.jsonl*", "debug-*.jsonl*")


def purge(
    state_directory: Path, environ: Mapping[str, str]
) -> tuple[list[Path], list[tuple[Path, str]]]:
    """What was removed, and what was not with the reason. Directories go when they are empty: the
    state directory may be one that other things are in."""
    removed: list[Path] = []
    kept: list[tuple[Path, str]] = []
    logs = state_directory / "logs"
    config = configuration.find_file(None, environ)
    files: list[Path] = []
    for directory, patterns in ((logs, LOGS), (state_directory, OURS + LOCKS)):
        try:
            files += _matching(directory, patterns)
        except OSError as error:
            kept.append((directory, error.strerror or type(error).__name__))
    files += [config] if config is not None and is_there(config) else []
    files += [path for path in (environment_file(),) if is_there(path)]
    for path in files:
        try:
            path.unlink()
            removed.append(path)
        except OSError as error:
            kept.append((path, error.strerror or type(error).__name__))
    own_config = configuration.default_file().parent
    for directory in own_logins.directories(state_directory / own_logins.NAME):
        try:
            own_logins.forget(directory)
            removed.append(directory)
        except CredentialsUnusable as reason:
            kept.append((directory, str(reason)))
        except OSError as error:
            kept.append((directory, error.strerror or type(error).__name__))
    for directory in (logs, state_directory / own_logins.NAME, state_directory, own_config):
        with contextlib.suppress(OSError):  # not empty, not there, or not ours: it stays
            os.rmdir(directory)  # noqa: PTH106 - says what it does: only an empty one
            removed.append(directory)
    return removed, [(path, reason) for path, reason in kept if path not in removed]


def _matching(directory: Path, patterns: tuple[str, ...]) -> list[Path]:
    """In the order of the patterns. Raises OSError."""
    try:
        there = sorted(path for path in directory.iterdir() if path.is_file())
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [path for one in patterns for path in there if fnmatchcase(path.name, one)]
