"""The only writer of the request log: batched, and never a reason for a request to wait or fail."""

from __future__ import annotations

import datetime
import logging
from collections import deque
from collections.abc import Callable
from pathlib import Path

import trio

from actors.disk import Disk
from actors.mailbox import Envelope
from actors.messages import Flush, JournalMessage, Recent, RequestLine
from actors.runtime import Context
from protocol.request_line import encode_line

log = logging.getLogger("actors.journal")

BATCH_LINES_MAX = 256
GATHER_SECONDS = 0.05
"""Lines that come so soon after each other share one write; a kill can lose that much."""
KEPT_LINES = 1000
"""Newest lines kept in memory for `/status/requests`."""

Remembered = tuple[RequestLine, ...]


class JournalActor:
    """Appends lines to `requests-YYYY-MM-DD.jsonl` (UTC days) in `directory()`.

    A disk that refuses is said once, then counted in lines until it takes them again.
    """

    def __init__(
        self,
        disk: Disk,
        directory: Callable[[], Path],
        today: Callable[[], datetime.date],
    ) -> None:
        self._disk = disk
        self._directory = directory
        self._today = today
        self._recent: deque[RequestLine] = deque(maxlen=KEPT_LINES)
        self._dropped = 0
        self._failing = False

    async def run(self, context: Context[JournalMessage, Remembered]) -> None:
        """Until the program stops; what is queued then is still written."""
        context.ready()
        async for first in context.mailbox:
            if isinstance(first.message, RequestLine):
                await trio.sleep(GATHER_SECONDS)
            batch = [first, *context.mailbox.receive_waiting(BATCH_LINES_MAX)]
            await self._write([e.message for e in batch if isinstance(e.message, RequestLine)])
            for envelope in batch:
                self._answer(envelope)

    async def _write(self, lines: list[RequestLine]) -> None:
        if not lines:
            return
        self._recent.extend(lines)
        path = self._directory() / f"requests-{self._today().isoformat()}.jsonl"
        try:
            await self._disk.append(path, b"".join(encode_line(line) for line in lines))
        except OSError as error:
            self._dropped += len(lines)
            if not self._failing:
                self._failing = True
                log.warning("request log not written: %s; lines are counted meanwhile", error)
            return
        if self._failing:
            self._failing = False
            log.warning("request log is written again; %d lines were dropped", self._dropped)

    def _answer(self, envelope: Envelope[JournalMessage]) -> None:
        message = envelope.message
        if isinstance(message, Recent):
            newest = list(self._recent)[-message.limit :] if message.limit > 0 else []
            envelope.reply_to(message).send(tuple(reversed(newest)))
        elif isinstance(message, Flush):
            envelope.reply_to(message).send(self._dropped)
