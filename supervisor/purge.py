"""Removing what the program keeps: its own files by name, never a whole directory unseen."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from supervisor import configuration
from supervisor.service.description import environment_file

OURS = (
    "accounts.json*", "client.json*", "client.key", "client.lock", "instance.json*",
    "instance.lock", "keys.json*", "logins.json*", "quota.json*", "service.log",
)  # fmt: skip
LOCKS = (".accounts.json.lock", ".keys.json.lock", ".logins.json.lock")
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
    files = [*_matching(logs, LOGS), *_matching(state_directory, OURS)]
    files += _matching(state_directory, LOCKS)
    files += [config] if config is not None and config.exists() else []
    files += [path for path in (environment_file(),) if path.exists()]
    for path in files:
        try:
            path.unlink()
            removed.append(path)
        except OSError as error:
            kept.append((path, error.strerror or type(error).__name__))
    own_config = configuration.default_file().parent
    for directory in (logs, state_directory, own_config):
        if directory.is_dir() and not any(directory.iterdir()):
            os.rmdir(directory)  # noqa: PTH106 - says what it does: only an empty one
            removed.append(directory)
    return removed, kept


def _matching(directory: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    if not directory.is_dir():
        return
    for path in sorted(directory.iterdir()):
        if path.is_file() and any(fnmatchcase(path.name, pattern) for pattern in patterns):
            yield path
