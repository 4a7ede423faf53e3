"""The only writer of the logs: batched, and never a reason for a request to wait or fail."""

from __future__ import annotations

import datetime
import logging
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec
import trio

from actors.bookkeeping import LINES_IN_A_ROW, Bookkeeping
from actors.disk import Disk
from actors.dropped import DroppedLines
from actors.line_file import LineFile
from actors.mailbox import Envelope
from actors.messages import (
    DebugLine,
    Ended,
    Explain,
    Flush,
    JournalMessage,
    Recent,
    RequestLine,
)
from actors.runtime import Context
from protocol.debug_line import encode_debug_line
from protocol.explanations import Explanations
from protocol.request_line import decode_line, encode_line

BATCH_LINES_MAX = 256
GATHER_SECONDS = 0.05
"""Lines that come so soon after each other share one write; a kill can lose that much."""
KEPT_LINES = 1000
"""Newest lines kept in memory for `/status/requests`."""

log = logging.getLogger("actors.journal")

Remembered = tuple[RequestLine, ...]


class JournalActor:
    """Appends lines to `requests-YYYY-MM-DD.jsonl` and `debug-YYYY-MM-DD.jsonl` in `directory()`.

    `dropped` counts the request lines that the disk refused, and those that never came here. `spent`
    is told of each request that came with an inbound key, by the key's id, once its cost is known.
    """

    def __init__(
        self,
        disk: Disk,
        directory: Callable[[], Path],
        today: Callable[[], datetime.date],
        dropped: DroppedLines | None = None,
        books: Bookkeeping | None = None,
        spent: Callable[[str, RequestLine], None] | None = None,
    ) -> None:
        self._requests = LineFile(disk, directory, today, "requests", "request log")
        self._debug = LineFile(disk, directory, today, "debug", "debug log")
        self._recent: deque[bytes] = deque(maxlen=KEPT_LINES)
        self._explanations = Explanations()
        self._dropped = dropped or DroppedLines()
        self._said = 0
        self._books = books
        self._spent = spent

    async def run(self, context: Context[JournalMessage, Remembered]) -> None:
        """Until the program stops; what is queued then is still written."""
        context.ready()
        async for first in context.mailbox:
            told = isinstance(first.message, Ended | RequestLine | DebugLine)
            if told and context.mailbox.waiting < BATCH_LINES_MAX:
                await trio.sleep(GATHER_SECONDS)
            batch = [first, *context.mailbox.receive_waiting(BATCH_LINES_MAX)]
            self._say_what_never_came()
            await self._write([envelope.message for envelope in batch], context)
            for envelope in batch:
                self._answer(envelope)

    def _say_what_never_came(self) -> None:
        lost = self._dropped.not_taken - self._said
        if lost:
            self._said += lost
            log.warning("%d request lines came faster than they could be written: dropped", lost)

    async def _write(
        self, messages: list[JournalMessage], context: Context[JournalMessage, Remembered]
    ) -> None:
        def has_room() -> bool:
            return context.mailbox.waiting < BATCH_LINES_MAX

        over = [message for message in messages if isinstance(message, Ended | RequestLine)]
        lines = [m.line if isinstance(m, Ended) else encode_line(m) for m in over]
        if self._books is not None:
            told = [m.told if isinstance(m, Ended) else None for m in over]
            lines = await self._books.enter(lines, told, has_room)
        for place, (message, line) in enumerate(zip(over, lines, strict=True), 1):
            if place % LINES_IN_A_ROW == 0 and has_room():
                await trio.lowlevel.checkpoint()
            if isinstance(message, Ended):
                self._explanations.add(msgspec.structs.replace(message, line=line))
                if message.key and self._spent is not None:
                    self._spent(message.key, decode_line(line))
        debug = [encode_debug_line(line) for line in messages if isinstance(line, DebugLine)]
        self._recent.extend(lines)
        await self._requests.append(lines)
        self._dropped.not_written = self._requests.dropped
        await self._debug.append(debug)

    def _answer(self, envelope: Envelope[JournalMessage]) -> None:
        message = envelope.message
        if isinstance(message, Recent):
            newest = list(self._recent)[-message.limit :] if message.limit > 0 else []
            lines = tuple(decode_line(line) for line in reversed(newest))
            envelope.reply_to(message).send(lines)
        elif isinstance(message, Explain):
            envelope.reply_to(message).send(self._explanations.find(message.request_id))
        elif isinstance(message, Flush):
            envelope.reply_to(message).send(self._dropped.total)
