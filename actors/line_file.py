"""One kind of log file, a new one each UTC day: appended to, and never a reason to fail."""

from __future__ import annotations

import datetime
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import trio

from actors.disk import Disk

log = logging.getLogger("actors.journal")

QUIET_SECONDS = 1.0
"""After one stretch of lost lines was told of, before the next one is."""


class LineFile:
    """`KIND-YYYY-MM-DD.jsonl` in `directory()`. `dropped` counts the lines the disk refused.

    A disk that refuses is said once, then counted in lines until it takes them again.
    """

    def __init__(
        self,
        disk: Disk,
        directory: Callable[[], Path],
        today: Callable[[], datetime.date],
        kind: str,
        name: str,
    ) -> None:
        self._disk = disk
        self._directory = directory
        self._today = today
        self._kind = kind
        self._name = name
        self._failing = False
        self._told_at = -math.inf
        self._told = 0
        self.dropped = 0

    async def append(self, lines: Sequence[bytes]) -> None:
        """All of `lines`, each with its newline, or none of them."""
        if not lines:
            return
        path = self._directory() / f"{self._kind}-{self._today().isoformat()}.jsonl"
        try:
            await self._disk.append(path, b"".join(lines))
        except OSError as error:
            self.dropped += len(lines)
            if not self._failing and self._may_tell():
                self._failing = True
                log.warning("%s not written: %s; lines are counted meanwhile", self._name, error)
            return
        if self.dropped != self._told and self._may_tell():
            self._failing = False
            self._told, self._told_at = self.dropped, trio.current_time()
            log.warning("%s is written again; %d lines were dropped", self._name, self.dropped)

    def _may_tell(self) -> bool:
        """A disk that is all but full takes a few lines now and then: no reason to say it each time."""
        return trio.current_time() - self._told_at >= QUIET_SECONDS
