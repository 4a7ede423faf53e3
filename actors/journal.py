"""The only writer of the request log: batched, and never a reason for a request to wait or fail."""

from __future__ import annotations

import datetime
import logging
from collections import deque
from collections.abc import Callable
from pathlib import Path

import trio

from actors.disk import Disk
from actors.dropped import DroppedLines
from actors.mailbox import Envelope
from actors.messages import Explain, Explained, Flush, JournalMessage, Recent, RequestLine
from actors.runtime import Context
from protocol.explanation import Explanations
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

    A disk that refuses is said once, then counted in lines until it takes them again. `dropped`
    counts these, and those that never came here.
    """

    def __init__(
        self,
        disk: Disk,
        directory: Callable[[], Path],
        today: Callable[[], datetime.date],
        dropped: DroppedLines | None = None,
    ) -> None:
        self._disk = disk
        self._directory = directory
        self._today = today
        self._recent: deque[RequestLine] = deque(maxlen=KEPT_LINES)
        self._explanations = Explanations()
        self._dropped = dropped or DroppedLines()
        self._said = 0
        self._failing = False

    async def run(self, context: Context[JournalMessage, Remembered]) -> None:
        """Until the program stops; what is queued then is still written."""
        context.ready()
        async for first in context.mailbox:
            if isinstance(first.message, RequestLine | Explained):
                await trio.sleep(GATHER_SECONDS)
            batch = [first, *context.mailbox.receive_waiting(BATCH_LINES_MAX)]
            self._say_what_never_came()
            messages = [envelope.message for envelope in batch]
            for message in messages:
                if isinstance(message, Explained):
                    self._explanations.add(message)
            lines = [m.line if isinstance(m, Explained) else m for m in messages]
            await self._write([line for line in lines if isinstance(line, RequestLine)])
            for envelope in batch:
                self._answer(envelope)

    def _say_what_never_came(self) -> None:
        lost = self._dropped.not_taken - self._said
        if lost:
            self._said += lost
            log.warning("%d request lines came faster than they could be written: dropped", lost)

    async def _write(self, lines: list[RequestLine]) -> None:
        if not lines:
            return
        self._recent.extend(lines)
        path = self._directory() / f"requests-{self._today().isoformat()}.jsonl"
        try:
            await self._disk.append(path, b"".join(encode_line(line) for line in lines))
        except OSError as error:
            self._dropped.not_written += len(lines)
            if not self._failing:
                self._failing = True
                log.warning("request log not written: %s; lines are counted meanwhile", error)
            return
        if self._failing:
            self._failing = False
            log.warning(
                "request log is written again; %d lines were dropped", self._dropped.not_written
            )

    def _answer(self, envelope: Envelope[JournalMessage]) -> None:
        message = envelope.message
        if isinstance(message, Recent):
            newest = list(self._recent)[-message.limit :] if message.limit > 0 else []
            envelope.reply_to(message).send(tuple(reversed(newest)))
        elif isinstance(message, Explain):
            envelope.reply_to(message).send(self._explanations.find(message.request_id))
        elif isinstance(message, Flush):
            envelope.reply_to(message).send(self._dropped.total)
