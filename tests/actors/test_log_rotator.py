"""Old logs go, whatever the disk does."""

from __future__ import annotations

import datetime
import errno
import logging
from pathlib import Path

import pytest
import trio

from actors.log_rotator import CHECK_SECONDS_MAX, LogRotatorActor, RotationRules
from tests.actors.living import living
from tests.kit.memory_disk import MemoryDisk

LOGS = Path("/logs")


def file(day: int) -> Path:
    return LOGS / f"requests-2026-03-{day:02}.jsonl"


class Scene:
    def __init__(self) -> None:
        self.disk = MemoryDisk()
        self.rules = RotationRules(LOGS, keep_days=3, maximum_bytes=100, interval=3600.0)
        self.today = datetime.date(2026, 3, 10)
        self.actor = LogRotatorActor(self.disk, lambda: self.rules, lambda: self.today)

    def days(self) -> list[str]:
        return sorted(path.name[17:19] for path in self.disk.files)


@pytest.fixture
def scene(autojump_clock: object) -> Scene:
    return Scene()


async def test_it_looks_at_start_and_leaves_alone_what_is_not_a_log(
    autojump_clock: object, scene: Scene
) -> None:
    for day in (6, 7, 8, 10):
        scene.disk.files[file(day)] = b"x"
    scene.disk.files[LOGS / "requests-notes-of-07.txt"] = b"x" * 1000
    async with living(scene.actor.run):
        assert file(7) not in scene.disk.files
        assert file(8) in scene.disk.files
        assert LOGS / "requests-notes-of-07.txt" in scene.disk.files


async def test_it_looks_again_soon_although_the_interval_is_long(
    autojump_clock: object, scene: Scene
) -> None:
    async with living(scene.actor.run):
        scene.disk.files[file(9)] = b"x" * 90
        scene.disk.files[file(10)] = b"x" * 90
        await trio.sleep(CHECK_SECONDS_MAX + 1)
        assert scene.days() == ["10"]
        scene.today = datetime.date(2026, 3, 20)
        await trio.sleep(CHECK_SECONDS_MAX + 1)
        assert scene.days() == []


async def test_new_rules_count_at_the_next_look(autojump_clock: object, scene: Scene) -> None:
    scene.disk.files[file(9)] = b"x"
    async with living(scene.actor.run):
        scene.rules = RotationRules(LOGS, keep_days=1, maximum_bytes=100, interval=3600.0)
        await trio.sleep(CHECK_SECONDS_MAX + 1)
        assert scene.days() == []


@pytest.mark.promise("D3")
async def test_a_disk_that_refuses_is_no_reason_to_fail(
    autojump_clock: object, scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.disk.files[file(1)] = b"x"
    scene.disk.failing = True
    with caplog.at_level(logging.WARNING):
        async with living(scene.actor.run):
            assert "no space left" in caplog.text
            scene.disk.failing = False
            await trio.sleep(CHECK_SECONDS_MAX + 1)
            assert scene.days() == []


@pytest.mark.promise("D3")
async def test_a_file_that_cannot_be_removed_does_not_protect_the_others(
    autojump_clock: object,
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    remove = scene.disk.remove

    async def guarded(path: Path) -> None:
        if path == file(1):
            raise PermissionError(errno.EPERM, "not permitted", str(path))
        await remove(path)

    monkeypatch.setattr(scene.disk, "remove", guarded)
    for day in (1, 2, 3):
        scene.disk.files[file(day)] = b"x"
    async with living(scene.actor.run):
        assert scene.days() == ["01"]
    assert "not permitted" in caplog.text


async def test_a_tiny_interval_is_no_busy_loop(
    autojump_clock: object, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    list_files = scene.disk.list_files

    async def counting(directory: Path) -> object:
        nonlocal looks
        looks += 1
        return await list_files(directory)

    monkeypatch.setattr(scene.disk, "list_files", counting)
    scene.rules = RotationRules(LOGS, 3, 100, interval=0.001)
    async with living(scene.actor.run):
        await trio.sleep(10)
    assert 5 <= looks <= 15


async def test_it_ends_at_once_when_the_program_stops(autojump_clock: object, scene: Scene) -> None:
    began = trio.current_time()
    async with living(scene.actor.run):
        pass
    assert trio.current_time() == began
