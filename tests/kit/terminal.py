"""A command in a pseudo-terminal, with somebody at the keyboard. For commands that print lines;
full-screen programs are `tests.clients.claude_code`'s."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

SECONDS = 30.0
"""Longest wait for a word or for the end; only a failing test waits so long."""

AGAIN_SECONDS = 2.0

CTRL_C = "\x03"


class Terminal:
    """`python -m supervisor ARGUMENTS`, or another `program`, on a screen. `said` is everything so
    far."""

    def __init__(
        self, *arguments: str, program: Sequence[str] = (sys.executable, "-m", "supervisor")
    ) -> None:
        self._ours, theirs = os.openpty()
        settings = termios.tcgetattr(theirs)
        settings[3] &= ~termios.ECHO  # what is typed is not taken for what was said
        termios.tcsetattr(theirs, termios.TCSANOW, settings)
        self.process = subprocess.Popen(
            [*program, *arguments],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=_take_the_terminal,  # noqa: PLW1509 - one thread, and nothing else can do it
        )  # fmt: skip
        os.close(theirs)
        self.said = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def sees(self, text: str) -> None:
        """Waits until it was said since the last time."""
        deadline = time.monotonic() + SECONDS
        while text not in self.said:
            assert self._read(deadline), f"{text!r} never came; it said:\n{self.said}"
        self.said = self.said.partition(text)[2]

    def types(self, text: str) -> None:
        """Sends the keys."""
        os.write(self._ours, text.encode())

    def breaks_off(self) -> int:
        """Presses Ctrl-C, and again when nothing comes of it, as people do: in the moment before
        `input` waits, Python takes note of one without waking up. The exit code."""
        deadline = time.monotonic() + SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            self.types(CTRL_C)
            patience = time.monotonic() + AGAIN_SECONDS
            while self._read(patience):
                pass
            if time.monotonic() < patience:
                break
        return self.ends()

    def ends(self) -> int:
        """Waits for its end; the exit code."""
        deadline = time.monotonic() + SECONDS
        while self._read(deadline):
            pass
        return self.process.wait(timeout=SECONDS)

    def _read(self, deadline: float) -> bool:
        """False at the end of what it says, or of the time."""
        ready, _, _ = select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # Linux says so when the other side has closed
            return False
        self.said += data.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(data)


def _take_the_terminal() -> None:
    """So that Ctrl-C is a signal."""
    import fcntl

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
