"""One worker as its keeper sees it: a process, and the line to it. Standard library only.

The line is a pair of connected sockets. What goes over it are words, one a line: `beat`,
`ready LINES` and `draining SECONDS` from the worker; first a letter (JSON) and then orders from the keeper. Its end
tells either side of the other's death, however that came.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence

BEAT = "beat"
READY = "ready"
DRAINING = "draining"

STOP = "stop"
STOP_AT_ONCE = "stop-at-once"
RELOAD = "reload"
POINT_AGAIN = "point-again"
"""The keeper has put the client's settings back, and this worker serves all the same."""

_CHUNK = 4096


class KeptWorker:
    """A process that was just started, in a session of its own: what a terminal sends reaches the
    keeper alone, which hands it on."""

    def __init__(
        self, command: Sequence[str], letter: Mapping[str, object], descriptors: Sequence[int]
    ) -> None:
        """Starts `command` with the number of its end of the line as its last argument.

        `letter` is what it has to know; nothing of it shows in the process list. `descriptors` are
        handed over under the numbers that they have here. Raises OSError.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                ours.setblocking(False)
                # Into the socket's own buffer, which is larger: nobody reads yet.
                ours.sendall(json.dumps(letter).encode() + b"\n")
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and file
                    [*command, str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(*descriptors, theirs.fileno()),
                    start_new_session=True,
                )
        except BaseException:
            ours.close()
            raise
        self.line: socket.socket | None = ours
        self.pid = self._process.pid
        self._partly = b""

    def words(self) -> list[str]:
        """What it has said since. At the end of the line, `line` is closed and None."""
        heard: list[str] = []
        while self.line is not None:
            try:
                data = self.line.recv(_CHUNK)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self.hang_up()
                break
            *whole, self._partly = (self._partly + data).split(b"\n")
            heard += [word.decode("ascii", "replace") for word in whole]
        return heard

    def order(self, word: str) -> None:
        """Tells it. Nothing where it is dead: its death is noticed by itself."""
        if self.line is not None:
            with contextlib.suppress(OSError):
                self.line.send(word.encode() + b"\n")

    def signal(self, number: signal.Signals) -> None:
        """Only while it is our child, dead or alive: its number is nobody else's then."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def exit_code(self) -> int | None:
        """None while it lives; a signal that ended it as a negative number."""
        return self._process.poll()

    def bury(self) -> None:
        """Ends it now, whatever it does, and lets go of everything."""
        self.signal(signal.SIGKILL)
        self._process.wait()
        self.hang_up()

    def hang_up(self) -> None:
        """Ends the line: a worker that lives takes that for our death."""
        if self.line is not None:
            self.line.close()
            self.line = None


def how_it_ended(code: int) -> str:
    """In words."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
