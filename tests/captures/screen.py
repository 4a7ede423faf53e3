"""A command on a terminal of a given size, from its first word to its end."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

SECONDS = 60.0
"""Longest wait for a word or for the end, on a busy machine."""
ROWS = 50
CTRL_C = b"\x03"


class Screen:
    """`supervisor ARGUMENTS` in a pseudo-terminal. `said` is everything so far, colours and all."""

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], columns: int
    ) -> None:
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "supervisor", *arguments],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env={**environment, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
            cwd=environment["HOME"],
            preexec_fn=_take_the_terminal,  # noqa: PLW1509 - nothing else can do it
        )  # fmt: skip
        os.close(theirs)
        self._said = bytearray()
        self._looked = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)

    @property
    def said(self) -> str:
        return self._said.decode("utf-8", "replace").replace("\r\n", "\n")

    def sees(self, text: str) -> None:
        """Waits until it was said since the last time."""
        deadline = time.monotonic() + SECONDS
        while (place := self._said.find(text.encode(), self._looked)) < 0:
            if not self._read(deadline):
                raise TimeoutError(f"{text!r} never came; it said:\n{self.said}")
        self._looked = place + len(text.encode())

    def types(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def interrupts(self) -> None:
        """Presses Ctrl-C."""
        os.write(self._ours, CTRL_C)

    def ends(self) -> str:
        """Waits for its end; everything that it said."""
        deadline = time.monotonic() + SECONDS
        while self._read(deadline):
            pass
        self.process.wait(timeout=SECONDS)
        return self.said

    def _read(self, deadline: float) -> bool:
        """False at the end of what it says, or of the time."""
        ready, _, _ = select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # Linux says so when the other side has closed
            return False
        self._said += data
        return bool(data)


def _take_the_terminal() -> None:
    """So that Ctrl-C is a signal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
