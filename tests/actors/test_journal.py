"""The only writer of the request log."""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.dropped import DroppedLines
from actors.journal import BATCH_LINES_MAX, KEPT_LINES, JournalActor
from actors.mailbox import Mailbox
from actors.messages import (
    DebugLine,
    Ended,
    Explain,
    Flush,
    JournalMessage,
    Recent,
    RequestLine,
)
from protocol.explanation import Pause
from protocol.request_line import encode_line
from protocol.told import Told
from tests.actors.living import living
from tests.kit.memory_disk import MemoryDisk

LOGS = Path("/logs")


class Scene:
    def __init__(self) -> None:
        self.disk = MemoryDisk()
        self.day = datetime.date(2026, 3, 10)
        self.directory = LOGS
        self.mailbox: Mailbox[JournalMessage] = Mailbox("journal", capacity=1024)
        self.actor = JournalActor(self.disk, lambda: self.directory, lambda: self.day)

    async def write(self, *ids: str) -> int:
        for name in ids:
            await self.mailbox.tell(RequestLine("2026-03-10T00:00:00Z", name, "POST", "/v1/x"))
        return await self.mailbox.ask(Flush(), timeout=1)

    def written(self, day: str = "2026-03-10", directory: Path = LOGS) -> list[str]:
        data = self.disk.files.get(directory / f"requests-{day}.jsonl", b"")
        assert data.endswith(b"\n") or not data
        return [json.loads(line)["request_id"] for line in data.splitlines()]


@pytest.fixture
async def scene(autojump_clock: object) -> AsyncIterator[Scene]:
    scene = Scene()
    async with living(scene.actor.run, scene.mailbox):
        yield scene


async def test_every_line_is_on_disk_in_order_once_flush_is_answered(
    autojump_clock: object, scene: Scene
) -> None:
    assert await scene.write("a", "b", "c") == 0
    assert scene.written() == ["a", "b", "c"]


async def test_lines_are_written_in_batches(
    autojump_clock: object, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    appended: list[int] = []
    append = scene.disk.append

    async def counting(path: Path, data: bytes) -> None:
        appended.append(data.count(b"\n"))
        await append(path, data)

    monkeypatch.setattr(scene.disk, "append", counting)
    for number in range(1000):
        line = RequestLine("", str(number), "POST", "/")
        assert scene.mailbox.tell_nowait(line), "nobody waits for the disk"
    await scene.mailbox.ask(Flush(), timeout=1)
    assert sum(appended) == 1000
    assert len(appended) <= 1000 / BATCH_LINES_MAX + 2
    assert len(scene.written()) == 1000


async def test_a_new_day_gets_a_file_of_its_own(autojump_clock: object, scene: Scene) -> None:
    await scene.write("a")
    scene.day = datetime.date(2026, 3, 11)
    await scene.write("b")
    assert scene.written() == ["a"]
    assert scene.written("2026-03-11") == ["b"]


async def test_a_new_directory_counts_from_the_next_line_on(
    autojump_clock: object, scene: Scene
) -> None:
    await scene.write("a")
    scene.directory = Path("/elsewhere")
    await scene.write("b")
    assert scene.written(directory=Path("/elsewhere")) == ["b"]


async def test_a_full_disk_is_said_once_counted_and_never_in_the_way(
    autojump_clock: object, scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.disk.failing = True
    with caplog.at_level(logging.WARNING):
        assert await scene.write("a", "b") == 2
        assert await scene.write("c") == 3
        assert len(caplog.records) == 1
        recent = await scene.mailbox.ask(Recent(), timeout=1)
        assert [line.request_id for line in recent] == ["c", "b", "a"]
        scene.disk.failing = False
        assert await scene.write("d") == 3
        assert await scene.write("e") == 3
    assert scene.written() == ["d", "e"]
    assert len(caplog.records) == 2
    assert "3 lines were dropped" in caplog.records[1].getMessage()


async def test_lines_that_never_came_are_said_once_and_counted_with_the_others(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene()
    dropped = DroppedLines()
    scene.actor = JournalActor(scene.disk, lambda: LOGS, lambda: scene.day, dropped)
    async with living(scene.actor.run, scene.mailbox):
        with caplog.at_level(logging.WARNING):
            dropped.not_taken += 3
            assert await scene.write("a") == 3
            assert await scene.write("b") == 3
            scene.disk.failing = True
            assert await scene.write("c") == 4
    assert caplog.records[0].getMessage() == (
        "3 request lines came faster than they could be written: dropped"
    )
    assert len(caplog.records) == 2
    assert (dropped.not_taken, dropped.not_written, dropped.total) == (3, 1, 4)


async def test_lost_lines_of_the_debug_log_are_no_lost_request_lines(
    autojump_clock: object, scene: Scene
) -> None:
    scene.disk.failing = True
    await scene.mailbox.tell(DebugLine("", "r", 1, "a", "POST", "/v1/x", (), 0))
    assert await scene.mailbox.ask(Flush(), timeout=1) == 0
    assert await scene.write("a") == 1


async def test_an_explained_line_is_written_and_its_explanation_kept_in_memory(
    autojump_clock: object, scene: Scene
) -> None:
    steps = (Pause(1.0, 2.0, "max_wait"),)
    line = RequestLine("2026-03-10T00:00:00Z", "a", "POST", "/v1/x")
    await scene.mailbox.tell(Ended("a", encode_line(line), Told(0.0, 1.0, steps=steps)))
    await scene.write("b")
    assert scene.written() == ["a", "b"]
    assert b"max_wait" not in b"".join(scene.disk.files.values())
    assert [one.request_id for one in await scene.mailbox.ask(Recent(), timeout=1)] == ["b", "a"]
    found = await scene.mailbox.ask(Explain("a"), timeout=1)
    assert found is not None
    assert found.explanation.steps == steps
    assert await scene.mailbox.ask(Explain("b"), timeout=1) is None


async def test_the_newest_lines_are_kept_newest_first(autojump_clock: object, scene: Scene) -> None:
    for start in range(0, KEPT_LINES + 500, 500):
        await scene.write(*map(str, range(start, start + 500)))
    last = KEPT_LINES + 499
    recent = await scene.mailbox.ask(Recent(3), timeout=1)
    assert [line.request_id for line in recent] == [str(last), str(last - 1), str(last - 2)]
    assert len(await scene.mailbox.ask(Recent(10 * KEPT_LINES), timeout=1)) == KEPT_LINES
    for none in (0, -5):
        assert await scene.mailbox.ask(Recent(none), timeout=1) == ()


async def test_what_is_queued_when_the_program_stops_is_still_written(
    autojump_clock: object,
) -> None:
    scene = Scene()
    async with living(scene.actor.run, scene.mailbox):
        for number in range(600):
            scene.mailbox.tell_nowait(RequestLine("", str(number), "POST", "/"))
    assert len(scene.written()) == 600


async def test_a_slow_disk_holds_up_nobody_who_writes(
    autojump_clock: object, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(path: Path, data: bytes) -> None:
        await trio.sleep(3600)

    monkeypatch.setattr(scene.disk, "append", slow)
    began = trio.current_time()
    for _ in range(500):
        scene.mailbox.tell_nowait(RequestLine("", "x", "POST", "/"))
        await wait_all_tasks_blocked()
    assert trio.current_time() == began


async def test_a_line_that_no_encoder_takes_crashes_nothing(
    autojump_clock: object, scene: Scene
) -> None:
    await scene.mailbox.tell(RequestLine("", "a", "POST", "/\ud800\n"))
    assert await scene.write("b") == 0
    assert scene.written() == ["a", "b"]
