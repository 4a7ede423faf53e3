"""The last word on the end of the process."""

from __future__ import annotations

import logging
import os
import threading
from typing import NoReturn

log = logging.getLogger("supervisor")


class Guard:
    """Ends the process when it does not end by itself.

    A task that shields itself for ever cannot be cancelled, and an event loop that is held up runs
    no timer of its own; so this is a thread, and its end of the process is the hard one.
    """

    def __init__(self) -> None:
        self._timers: list[threading.Timer] = []

    def end_after(self, seconds: float, code: int) -> None:
        """From now on at the latest."""
        timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), self._end, [code])
        timer.daemon = True
        timer.start()
        self._timers.append(timer)

    def dismiss(self) -> None:
        """It ended by itself."""
        for timer in self._timers:
            timer.cancel()

    def _end(self, code: int) -> NoReturn:
        log.error("something could not be ended; the process ends without it")
        os._exit(code)
