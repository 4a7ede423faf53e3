"""Deadlines of reads and of questions, without a cancel scope for each.

A scope costs as much as parsing a request's head, and a relayed request needed four of them. Here a
stream or an asker says until when it waits, and one task per trio run looks after all of them: it sleeps until
the earliest moment that anybody named. Most waits are over long before theirs, and cost nothing more.
"""

from __future__ import annotations

import math
from typing import Protocol

import trio


class Waiting(Protocol):
    """Something that waits until `due` (trio time) at most."""

    due: float

    def expire(self) -> None:
        """Ends the wait: it is past `due`."""
        ...


class Overdue:
    """Those who wait now. `add` before the wait, `discard` after it, whatever ended it."""

    def __init__(self) -> None:
        self._waiting: dict[Waiting, None] = {}  # in order, so that a run can be repeated
        self._next = math.inf
        self._sleep = trio.CancelScope()

    def add(self, waiting: Waiting) -> None:
        """`waiting.expire` is called once `waiting.due` has passed."""
        self._waiting[waiting] = None
        if waiting.due < self._next:
            self._next = waiting.due
            self._sleep.deadline = waiting.due

    def discard(self, waiting: Waiting) -> None:
        """It waits no more. Idempotent."""
        self._waiting.pop(waiting, None)

    async def run(self) -> None:
        """Until the end of the trio run."""
        while True:
            with trio.CancelScope(deadline=self._next) as self._sleep:
                await trio.sleep_forever()
            if not self._sleep.cancelled_caught:
                return
            now = trio.current_time()
            for waiting in [one for one in self._waiting if one.due <= now]:
                self._waiting.pop(waiting, None)
                waiting.expire()
            self._next = min((one.due for one in self._waiting), default=math.inf)


_OF_THIS_RUN: trio.lowlevel.RunVar[Overdue] = trio.lowlevel.RunVar("overdue")


def overdue() -> Overdue:
    """The one of this trio run; the first call starts its task."""
    try:
        return _OF_THIS_RUN.get()
    except LookupError:
        made = Overdue()
        _OF_THIS_RUN.set(made)
        trio.lowlevel.spawn_system_task(made.run)
        return made
