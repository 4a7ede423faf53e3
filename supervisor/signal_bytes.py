"""Signals as bytes on a socket, for a loop that waits on several things. Standard library only."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def signals_into(writing: socket.socket) -> Iterator[None]:
    """Writes the number of each signal that a keeper attends to, as one byte, as it comes."""
    wanted = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD]
    if signal.getsignal(signal.SIGTSTP) is not signal.SIG_IGN:
        wanted.append(signal.SIGTSTP)
    writing.setblocking(False)
    wakeup = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    before = {number: signal.signal(number, _noted) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)


def _noted(_number: int, _frame: FrameType | None) -> None:
    """The byte on the socket is what counts."""
