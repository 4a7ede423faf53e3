"""Tests that run in the background: what that makes of signals is not for the programs they start.

A shell starts `make test &` with SIGINT ignored, and `nohup` does so with SIGHUP. Whoever ignores a
signal hands that on to what it starts, so there Ctrl-C before the program is ready would be lost.
A handler, which is nobody's but ours, keeps this process as it is.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

OFTEN_IGNORED = (signal.SIGINT, signal.SIGHUP)


def hand_on_no_deafness() -> None:
    """From now on what this process starts hears the signals that this process ignores."""
    if threading.current_thread() is not threading.main_thread():
        return  # only there signals can be seen to
    for number in OFTEN_IGNORED:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _ignore)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    pass
