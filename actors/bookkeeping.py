"""What is done with the lines of finished requests before they are written: prices and counts.

Here, in the journal's batches, and not in the request: nobody waits for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
import trio

from protocol.prices import Billed, billed, with_cost
from protocol.told import Told

TABLE_SECONDS = 3.0
"""For the table to be read, once in a life. What ends meanwhile waits for it in the journal."""
LOOK_SECONDS = 0.02
LINES_IN_A_ROW = 8
"""Entered without giving others their turn: a whole batch would hold up every stream for 5 ms. Where
more requests than these end in each turn, there is no giving way, or lines would get lost."""

log = logging.getLogger("actors.journal")


class Prices(Protocol):
    """Tariffs, read when the first one is needed. None of these blocks, or raises."""

    def wanted(self) -> None:
        """Begins to read the table, once."""

    @property
    def settled(self) -> bool:
        """Whether the table has been read, or cannot be."""

    def cost(self, tokens: Billed) -> float | None:
        """Dollars; None for what is unknown, or as long as the table is not there."""


class Bookkeeping:
    """`count` is told of every request with its cost; what it raises costs a line in the log.

    Without `prices` nothing has a cost.
    """

    def __init__(self, prices: Prices | None, count: Callable[[Billed, Told | None], None]) -> None:
        self._prices = prices
        self._count = count
        self._waited = False
        self._failed = False

    async def enter(
        self, lines: list[bytes], told: Sequence[Told | None], has_room: Callable[[], bool]
    ) -> list[bytes]:
        """The same lines with their costs; `told` is what each of these requests noted.

        The first of all waits until the table has been read, as long as `has_room` says that those
        who come after them find room; then lines go out unpriced rather than getting lost.
        """
        done: list[bytes] = []
        for line, noted in zip(lines, told, strict=True):
            entry = billed(line)
            if entry.counted and not self._waited and self._prices is not None:
                await self._table(self._prices, has_room)
            done.append(self._entered(line, entry, noted))
            if len(done) % LINES_IN_A_ROW == 0 and has_room():
                await trio.lowlevel.checkpoint()
        return done

    async def _table(self, prices: Prices, has_room: Callable[[], bool]) -> None:
        prices.wanted()
        with trio.move_on_after(TABLE_SECONDS):
            while not prices.settled and has_room():  # noqa: ASYNC110 - a thread reads it
                await trio.sleep(LOOK_SECONDS)
        self._waited = True

    def _entered(self, line: bytes, entry: Billed, told: Told | None) -> bytes:
        dollars = self._prices.cost(entry) if self._prices and entry.counted else None
        if dollars is not None:
            line = with_cost(line, dollars)
            entry = msgspec.structs.replace(entry, cost_usd=dollars)
        try:
            self._count(entry, told)
        except Exception:  # a figure that is missing is less than a line that is
            if not self._failed:
                self._failed = True
                log.exception("a request could not be counted in the metrics; said once")
        return line
