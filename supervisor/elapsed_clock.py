"""The clock that everything waits and rests by: it goes on while the machine sleeps.

trio's own clock stands still then. A limit of five hours that began before a night's sleep would
still be five hours long in the morning, although the upstream's window is long over
(`reliability.md` T1). A sleep looks like a process that was stopped: what was due in the meantime
is due when it wakes.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from functools import partial

import trio

_COUNTING_SLEEP = {"linux": "CLOCK_BOOTTIME", "darwin": "CLOCK_MONOTONIC"}
"""On macOS this one goes on in a sleep; what Python calls `time.monotonic` there does not."""


def counting_sleep() -> Callable[[], float]:
    """Gives monotonic seconds from a moment of no meaning, the machine's sleep included."""
    name = _COUNTING_SLEEP.get(sys.platform, "")
    if not hasattr(time, name):
        return time.perf_counter
    return partial(time.clock_gettime, getattr(time, name))


class ElapsedClock(trio.abc.Clock):
    """For `trio.run`. `seconds` are those of the system's clock (`counting_sleep`).

    Whoever sleeps in epoll is not woken by a sleep's end, but at the latest by whatever is due
    next, of which there is something twice a second (`actors.loop_lag`).
    """

    def __init__(self, seconds: Callable[[], float] | None = None) -> None:
        self._seconds = counting_sleep() if seconds is None else seconds
        self._offset = random.SystemRandom().uniform(1e4, 1e5)
        """As in trio's own: nobody shall take these seconds for another clock's."""

    def start_clock(self) -> None:
        """Nothing is to be done."""

    def current_time(self) -> float:
        """Seconds by this clock."""
        return self._offset + self._seconds()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Seconds until then."""
        return deadline - self.current_time()
