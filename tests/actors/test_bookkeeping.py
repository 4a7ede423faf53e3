"""What is done with lines before they are written."""

from __future__ import annotations

import datetime
import itertools
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from actors.bookkeeping import LINES_IN_A_ROW, TABLE_SECONDS, Bookkeeping
from actors.journal import BATCH_LINES_MAX, JournalActor
from actors.mailbox import Mailbox
from actors.messages import Ended, Explain, Flush, JournalMessage, Recent
from protocol.prices import Billed
from protocol.request_line import RequestLine, encode_line
from protocol.told import Told
from tests.actors.living import living
from tests.kit.memory_disk import MemoryDisk

LOGS = Path("/logs")


class TablePrices:
    """A table that takes `seconds` to read, and knows one model."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds
        self._began: float | None = None
        self.asked = 0

    def wanted(self) -> None:
        if self._began is None:
            self._began = trio.current_time()

    @property
    def settled(self) -> bool:
        return self._began is not None and trio.current_time() >= self._began + self._seconds

    def cost(self, tokens: Billed) -> float | None:
        self.asked += 1
        return 0.25 if self.settled and tokens.served_model == "known" else None


def line(name: str, model: str = "known", tokens: int | None = 5) -> bytes:
    at, path = "2026-03-10T00:00:00Z", "/v1/messages"
    told = RequestLine(at, name, "POST", path, served_model=model, input_tokens=tokens)
    return encode_line(told)


def ignore(entry: Billed, told: Told | None) -> None:
    """Counts nothing."""


async def entered(
    books: Bookkeeping, lines: list[bytes], has_room: Callable[[], bool]
) -> list[bytes]:
    return await books.enter(lines, [None] * len(lines), has_room)


def costs(lines: list[bytes]) -> list[float | None]:
    return [json.loads(encoded)["cost_usd"] for encoded in lines]


async def test_the_first_request_with_tokens_waits_for_the_table(autojump_clock: object) -> None:
    books = Bookkeeping(TablePrices(seconds=1.0), ignore)
    assert costs(await entered(books, [line("a"), line("b")], lambda: True)) == [0.25, 0.25]


async def test_requests_without_tokens_do_not_ask_for_the_table(autojump_clock: object) -> None:
    prices = TablePrices(seconds=1.0)
    before = trio.current_time()
    assert costs(await entered(Bookkeeping(prices, ignore), [line("a", tokens=None)], bool)) == [
        None
    ]
    assert trio.current_time() == before
    assert prices.asked == 0


async def test_an_unknown_model_has_no_cost_rather_than_none_to_pay(
    autojump_clock: object,
) -> None:
    books = Bookkeeping(TablePrices(), ignore)
    assert costs(await entered(books, [line("a", "made-up"), line("b")], lambda: True)) == [
        None,
        0.25,
    ]


async def test_a_table_that_never_comes_is_waited_for_once(autojump_clock: object) -> None:
    books = Bookkeeping(TablePrices(seconds=1000), ignore)
    began = trio.current_time()
    assert costs(await entered(books, [line("a")], lambda: True)) == [None]
    assert costs(await entered(books, [line("b")], lambda: True)) == [None]
    assert trio.current_time() - began == pytest.approx(TABLE_SECONDS, abs=0.1)


async def test_lines_go_out_unpriced_before_those_behind_them_find_no_room(
    autojump_clock: object,
) -> None:
    prices, began = TablePrices(seconds=2.0), trio.current_time()
    books = Bookkeeping(prices, ignore)
    assert costs(await entered(books, [line("a")], lambda: trio.current_time() < began + 0.1)) == [
        None
    ]
    assert trio.current_time() - began < 0.2
    await trio.sleep(2)
    assert costs(await entered(books, [line("b")], lambda: True)) == [0.25]


async def test_each_request_is_counted_with_its_cost(autojump_clock: object) -> None:
    seen: list[Billed] = []
    books = Bookkeeping(TablePrices(), lambda entry, told: seen.append(entry))
    await entered(books, [line("a"), line("b", "made-up"), line("c", tokens=None)], lambda: True)
    assert [(entry.served_model, entry.cost_usd) for entry in seen] == [
        ("known", 0.25), ("made-up", None), ("known", None),
    ]  # fmt: skip


async def test_a_count_that_fails_costs_no_line_and_is_said_once(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(entry: Billed, told: Told | None) -> None:
        raise ValueError("no such label")

    books = Bookkeeping(None, broken)
    with caplog.at_level(logging.ERROR):
        lines = [line("a"), line("b")]
        assert await entered(books, lines, lambda: True) == lines
    assert len(caplog.records) == 1


async def _journal(scene: Callable[[Mailbox[JournalMessage], MemoryDisk], object]) -> None:
    disk, day = MemoryDisk(), datetime.date(2026, 3, 10)
    mailbox: Mailbox[JournalMessage] = Mailbox("journal", capacity=1024)
    books = Bookkeeping(TablePrices(seconds=1.0), ignore)
    actor = JournalActor(disk, lambda: LOGS, lambda: day, books=books)
    async with living(actor.run, mailbox):
        await scene(mailbox, disk)  # type: ignore[misc]


async def test_the_log_the_memory_and_the_explanation_have_the_cost(
    autojump_clock: object,
) -> None:
    async def scene(mailbox: Mailbox[JournalMessage], disk: MemoryDisk) -> None:
        await mailbox.tell(Ended("a", line("a"), Told(0.0, 1.0)))
        await mailbox.ask(Flush(), timeout=5)
        (recent,) = await mailbox.ask(Recent(10), timeout=5)
        found = await mailbox.ask(Explain("a"), timeout=5)
        written = disk.files[LOGS / "requests-2026-03-10.jsonl"]
        assert found is not None
        assert [recent.cost_usd, found.line.cost_usd, *costs([written])] == [0.25, 0.25, 0.25]

    await _journal(scene)


async def test_no_line_is_lost_while_the_table_is_read(autojump_clock: object) -> None:
    async def scene(mailbox: Mailbox[JournalMessage], disk: MemoryDisk) -> None:
        for number in range(4 * BATCH_LINES_MAX):
            assert mailbox.tell_nowait(Ended(str(number), line(str(number)), Told(0.0, 1.0)))
            await trio.sleep(0.001)
        assert await mailbox.ask(Flush(), timeout=5) == 0
        written = disk.files[LOGS / "requests-2026-03-10.jsonl"].splitlines()
        assert len(written) == 4 * BATCH_LINES_MAX

    await _journal(scene)


async def test_a_long_batch_gives_others_their_turn(autojump_clock: object) -> None:
    """All streams of the program wait while a task does not."""
    seen: list[Billed] = []
    behind: list[int] = []

    async def other() -> None:
        while True:
            await trio.lowlevel.checkpoint()
            behind.append(len(seen))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        books = Bookkeeping(None, lambda entry, told: seen.append(entry))
        await entered(books, [line("a")] * 200, lambda: True)
        nursery.cancel_scope.cancel()
    assert max(after - before for before, after in itertools.pairwise(behind)) <= 2 * LINES_IN_A_ROW
