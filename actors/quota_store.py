"""Keeps what is known about quota and cooldowns in a file, for the next life of the program."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import trio

from actors.asking import insist
from actors.disk import Disk
from actors.mailbox import AskFailed, Mailbox
from actors.messages import Describe, DispatcherMessage
from actors.runtime import Context
from protocol.dispatch import DispatchState
from protocol.quota_file import Known, encode, known
from protocol.status_view import Clocks

log = logging.getLogger("actors.quota_store")

INTERVAL_SECONDS = 5.0
"""A kill loses what came since; written at once, every answer would cost a write."""

ASK_SECONDS = 2.0
"""Less than an actor has for its end, where it asks once more."""


class QuotaStoreActor:
    """Looks at the accounts regularly and once more at the end; writes when they have changed.

    It never fails because of the disk: one that refuses is said once, and tried again. `seen` is
    shown what it sees.
    """

    def __init__(
        self,
        disk: Disk,
        path: Path,
        salt: str,
        dispatcher: Mailbox[DispatcherMessage],
        wall_clock: Callable[[], float],
        seen: Callable[[DispatchState], None] = lambda state: None,
    ) -> None:
        self._seen = seen
        self._disk = disk
        self._path = path
        self._salt = salt
        self._dispatcher = dispatcher
        self._wall_clock = wall_clock
        self._failing = False

    async def run(self, context: Context[None, Known]) -> None:
        """Until the program stops; then what is known last has been written."""
        written = context.restored
        context.ready()
        while not context.stopping.is_set():
            with trio.move_on_after(INTERVAL_SECONDS):
                await context.stopping.wait()
            found = await self._look()
            # An empty one is worth a file only where there is one that says something else.
            if found is not None and found != (written or {}) and await self._write(found):
                written = found
                context.publish(written)

    async def _look(self) -> Known | None:
        try:
            state = await insist(self._dispatcher, Describe(), timeout=ASK_SECONDS)
        except AskFailed:
            return None  # it is being restarted; the next look will do
        self._seen(state)
        return known(state)

    async def _write(self, found: Known) -> bool:
        clocks = Clocks(trio.current_time(), self._wall_clock())
        try:
            await self._disk.replace(self._path, encode(found, self._salt, clocks))
        except OSError as error:
            if not self._failing:
                self._failing = True
                log.warning("%s is not written: %s; it is tried again", self._path, error)
            return False
        if self._failing:
            self._failing = False
            log.warning("%s is written again", self._path)
        return True
