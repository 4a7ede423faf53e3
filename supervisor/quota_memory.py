"""What an earlier life of the program knew about quota, read at the start."""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path

import msgspec

from protocol.quota_file import QuotaFile, decode
from supervisor.files import keep_aside

log = logging.getLogger("supervisor")

FILE_NAME = "quota.json"


class QuotaMemory(msgspec.Struct, frozen=True):
    """`file` is what was found. `path` is where to keep it; None: nowhere in this life."""

    file: QuotaFile
    path: Path | None


def nothing_known(path: Path | None) -> QuotaMemory:
    """The memory of a first life, with a salt of its own."""
    return QuotaMemory(QuotaFile(1, secrets.token_hex(16)), path)


def load(path: Path) -> QuotaMemory:
    """Never raises: without this file the program knows less, and serves all the same.

    A file that cannot be read is kept aside. Where even that fails it is left alone, and nothing is
    written over it.
    """
    try:
        return QuotaMemory(decode(path.read_bytes()), path)
    except FileNotFoundError:
        return nothing_known(path)
    except (OSError, ValueError) as error:
        reason = error
    try:
        aside = keep_aside(Path(os.path.realpath(path)))
    except OSError as error:
        log.warning("%s cannot be used and is left alone: %s; %s", path, reason, error)
        return nothing_known(None)
    log.warning("%s cannot be used and is kept as %s: %s", path, aside, reason)
    return nothing_known(path)


def of(state_directory: Path, *, real: bool) -> QuotaMemory:
    """What is kept there; nothing is read on a made-up machine."""
    path = state_directory / FILE_NAME
    return load(path) if real else nothing_known(path)
