"""The worker's end of the line to its keeper (`supervisor.kept_worker` has the other, and its words)."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping

import msgspec
import trio

from protocol.keeping import TICK_SECONDS

LETTER_SECONDS = 10.0
"""The keeper has written it before this process began."""

_CHUNK = 4096


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """What the keeper has resolved and holds.

    `listening` and `lock` are descriptors of this process. `host` and `port` are what the keeper
    listens on; `life` counts the workers from 1.
    """

    state_directory: str
    argument: str | None
    overrides: dict[str, object]
    manage_client: bool
    host: str
    port: int
    id: str
    pid: int
    listening: int
    lock: int
    life: int


class KeeperGone(Exception):
    """The keeper died before this worker knew what to do."""


class KeeperLine:
    """Hears orders and the keeper's death; says how things stand, and every second that it lives."""

    def __init__(self, line: socket.socket) -> None:
        """Reads the letter. Raises KeeperGone."""
        self._line = line
        self.gone = False
        """The keeper is dead, so nobody else puts in order what this process leaves behind."""
        line.settimeout(LETTER_SECONDS)
        text = b""
        with contextlib.suppress(OSError):
            while b"\n" not in text and (data := line.recv(_CHUNK)):
                text += data
        written, end, self._partly = text.partition(b"\n")
        if not end:
            raise KeeperGone
        self.letter = msgspec.json.decode(written, type=Letter)
        line.setblocking(False)

    def tell(self, word: str) -> None:
        """Lost where the keeper is dead, or has been stopped for hours."""
        with contextlib.suppress(OSError):
            self._line.send(word.encode() + b"\n")

    async def attend(
        self,
        orders: Mapping[str, Callable[[], object]],
        on_death: Callable[[], object],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Does what the keeper orders, for ever. When `started`, what it said before is done."""
        self._obey(orders, on_death)
        task_status.started()
        while not self.gone:
            await trio.lowlevel.wait_readable(
                self._line
            )  # no deadline: the keeper has nothing to say
            self._obey(orders, on_death)

    async def beat(self, word: str) -> None:
        """Says `word` for as long as the event loop goes round."""
        while not self.gone:
            self.tell(word)
            await trio.sleep(TICK_SECONDS)

    def _obey(
        self, orders: Mapping[str, Callable[[], object]], on_death: Callable[[], object]
    ) -> None:
        try:
            while data := self._line.recv(_CHUNK):
                self._partly += data
        except BlockingIOError:
            pass
        except OSError:
            self.gone = True
        else:
            self.gone = True
        *whole, self._partly = self._partly.split(b"\n")
        for word in whole:
            orders.get(word.decode("ascii", "replace"), _nothing)()
        if self.gone:
            on_death()


def _nothing() -> None:
    """For an order that this version does not know."""
