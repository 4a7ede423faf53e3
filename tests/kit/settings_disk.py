"""The settings guard's disk, taken away at a step of the test's choice."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from supervisor.settings_files import CannotExchange, SettingsDisk

LOOKS = frozenset({"resolve", "has_directory", "pause", "in_someones_hands"})
"""Steps that change nothing and cannot fail in a way of their own."""


class PowerCut(BaseException):
    """The process is gone: no clean-up of its own runs, because nothing of its disk works."""


class FaultyDisk(SettingsDisk):
    """The real disk with counted steps.

    `cut_at`: the step (from 1) at which the process dies, after that step's effect with `after`.
    `fail_at`: the step that fails as a full disk does, once or, with `for_ever`, from then on.
    """

    def __init__(
        self,
        *,
        cut_at: int = 0,
        after: bool = False,
        fail_at: int = 0,
        for_ever: bool = False,
        exchanges: bool = True,
    ) -> None:
        self.steps: list[str] = []
        self.dead = False
        self._cut_at = cut_at
        self._after = after
        self._fail_at = fail_at
        self._for_ever = for_ever
        self._exchanges = exchanges

    def sync(self, descriptor: int) -> None:
        """Counted, not done: these tests end no machine, and a sweep has thousands of them."""

    def sync_directory(self, path: str) -> None:
        """The same."""

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_") or name in LOOKS or not hasattr(SettingsDisk, name):
            return found
        return lambda *arguments: self._step(name, found, arguments)

    def _step(self, name: str, act: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        if self.dead:
            if name == "close":  # the system closes what a dead process had open
                return act(*arguments)
            raise PowerCut
        if name == "exchange" and not self._exchanges:
            raise CannotExchange(errno.ENOSYS, "no exchange here")
        self.steps.append(name)
        number = len(self.steps)
        if number == self._cut_at:
            self.dead = True
            if self._after:
                act(*arguments)
            if name == "close":
                act(*arguments) if not self._after else None
            raise PowerCut
        if self._fail_at and (
            number == self._fail_at or (self._for_ever and number > self._fail_at)
        ):
            if name == "close":
                act(*arguments)
            raise OSError(errno.ENOSPC, "No space left on device")
        return act(*arguments)
