"""Keeps the log directory within its age and size. Which files go is `protocol.rotation`'s word."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable
from pathlib import Path

import msgspec
import trio

from actors.disk import Disk
from actors.runtime import Context
from protocol.rotation import to_remove

log = logging.getLogger("actors.log_rotator")

CHECK_SECONDS_MAX = 5.0
"""The size is looked at this often even when `rotate_interval` is longer: disks fill quickly."""
CHECK_SECONDS_MIN = 1.0


class RotationRules(msgspec.Struct, frozen=True):
    """`interface.md` [logs]; `interval` in seconds."""

    directory: Path
    keep_days: int
    maximum_bytes: int
    interval: float


class LogRotatorActor:
    """Looks at the directory at start and then regularly; never fails because of the disk."""

    def __init__(
        self, disk: Disk, rules: Callable[[], RotationRules], today: Callable[[], datetime.date]
    ) -> None:
        self._disk = disk
        self._rules = rules
        self._today = today

    async def run(self, context: Context[None, None]) -> None:
        """Until the program stops."""
        context.ready()
        while not context.stopping.is_set():
            rules = self._rules()
            try:
                await self._rotate(rules)
            except OSError as error:
                log.warning("cannot tidy the log directory %s: %s", rules.directory, error)
            pause = min(max(rules.interval, CHECK_SECONDS_MIN), CHECK_SECONDS_MAX)
            with trio.move_on_after(pause):
                await context.stopping.wait()

    async def _rotate(self, rules: RotationRules) -> None:
        files = await self._disk.list_files(rules.directory)
        for name in to_remove(files, self._today(), rules.keep_days, rules.maximum_bytes):
            try:
                await self._disk.remove(rules.directory / name)
            except OSError as error:  # the others go all the same, or nothing ever would
                log.warning("cannot remove the old log %s: %s", name, error)
            else:
                log.info("removed the old log %s", name)
