"""Re-reading the configuration while the program runs."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from actors.config_watcher import ConfigWatcherActor
from actors.mailbox import Mailbox
from actors.messages import Reload, Reloaded
from actors.runtime import Snapshot
from protocol.config import Config, ConfigError, ConfigInvalid, Cooldown, Server
from tests.actors.living import living
from tests.kit.memory_disk import MemoryDisk

PATH = Path("/config.toml")
ERROR = ConfigError("/config.toml", "server.port", "'x'", "a port")


class Scene:
    """`b"bad"` in the file is refused, other content is the port."""

    def __init__(self) -> None:
        self.disk = MemoryDisk()
        self.disk.files[PATH] = b"1"
        self.path: Path | None = PATH
        self.config = Config()
        self.applied: list[int] = []
        self.refusals: list[tuple[ConfigError, ...]] = []
        self.apply_fails = False
        self.mailbox: Mailbox[Reload] = Mailbox("config-watcher")
        self.snapshot: Snapshot[object] = Snapshot()
        self.actor = ConfigWatcherActor(
            self.disk, lambda: self.path, self.load, lambda: self.config, self.apply,
            self.refusals.append,
        )  # fmt: skip

    def load(self) -> Config:
        content = self.disk.files.get(PATH, b"4080")
        if content == b"bad":
            raise ConfigInvalid((ERROR,))
        return Config(server=Server(port=int(content)), cooldown=Cooldown(base=int(content)))

    async def apply(self, config: Config) -> None:
        await trio.lowlevel.checkpoint()
        self.applied.append(config.server.port)
        if self.apply_fails:
            raise RuntimeError("crash")
        self.config = config


@pytest.fixture
async def scene(autojump_clock: object) -> AsyncIterator[Scene]:
    scene = Scene()
    async with living(scene.actor.run, scene.mailbox, scene.snapshot):
        yield scene


async def test_a_file_that_stays_the_same_is_not_read_again(
    autojump_clock: object, scene: Scene
) -> None:
    await trio.sleep(60)
    scene.disk.files[PATH] = b"1"  # written, with the same content
    await trio.sleep(60)
    assert scene.applied == []


async def test_a_changed_file_is_in_effect_within_moments_and_once(
    autojump_clock: object, scene: Scene
) -> None:
    scene.disk.files[PATH] = b"2"
    await trio.sleep(1.5)
    assert scene.applied == [2]
    await trio.sleep(60)
    assert scene.applied == [2]


async def test_a_file_that_is_still_being_written_is_read_when_it_is_done(
    autojump_clock: object, scene: Scene
) -> None:
    await trio.sleep(0.9)
    for content in (b"bad", b"bad.", b"bad..", b"2"):
        scene.disk.files[PATH] = content
        await trio.sleep(0.2)
    await trio.sleep(2)
    assert scene.refusals == []
    assert scene.applied == [2]


async def test_a_file_that_never_comes_to_rest_is_read_all_the_same(
    autojump_clock: object, scene: Scene
) -> None:
    for port in range(2, 40):
        scene.disk.files[PATH] = str(port).encode()
        await trio.sleep(0.2)
    assert scene.applied


async def test_a_bad_file_is_refused_whole_once_and_the_old_one_goes_on(
    autojump_clock: object, scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    before = scene.config
    scene.disk.files[PATH] = b"bad"
    with caplog.at_level(logging.ERROR):
        await trio.sleep(60)
    assert scene.config is before
    assert scene.refusals == [(ERROR,)]
    assert len(caplog.records) == 1
    assert "server.port" in caplog.text
    scene.disk.files[PATH] = b"3"
    await trio.sleep(2)
    assert scene.applied == [3]


async def test_whoever_asks_gets_the_errors_or_what_needs_a_restart(
    autojump_clock: object, scene: Scene
) -> None:
    scene.disk.files[PATH] = b"bad"
    assert await scene.mailbox.ask(Reload(), timeout=1) == Reloaded(errors=(ERROR,))
    scene.disk.files[PATH] = b"5"
    answer = await scene.mailbox.ask(Reload(), timeout=1)
    assert answer == Reloaded(restart_needed=("server.port",))
    await trio.sleep(60)
    assert scene.applied == [5], "what was reloaded for an asker is not reloaded for the change"


async def test_asking_reads_again_although_nothing_changed(
    autojump_clock: object, scene: Scene
) -> None:
    await scene.mailbox.ask(Reload(), timeout=1)
    assert scene.applied == [1]


async def test_a_file_that_is_away_for_a_moment_is_being_replaced(
    autojump_clock: object, scene: Scene
) -> None:
    await trio.sleep(0.95)
    content = scene.disk.files.pop(PATH)
    await trio.sleep(0.1)
    scene.disk.files[PATH] = content
    await trio.sleep(5)
    assert scene.applied == []


async def test_a_file_that_is_gone_means_the_defaults(autojump_clock: object, scene: Scene) -> None:
    del scene.disk.files[PATH]
    await trio.sleep(3)
    assert scene.applied == [4080]


async def test_without_a_file_it_only_answers(autojump_clock: object, scene: Scene) -> None:
    scene.path = None
    await trio.sleep(3)
    applied = len(scene.applied)
    await trio.sleep(60)
    assert len(scene.applied) == applied
    assert await scene.mailbox.ask(Reload(), timeout=1) == Reloaded()


async def test_a_change_while_it_was_being_restarted_is_noticed(autojump_clock: object) -> None:
    scene = Scene()
    async with living(scene.actor.run, scene.mailbox, scene.snapshot):
        await trio.sleep(3)
    scene.disk.files[PATH] = b"7"
    async with living(scene.actor.run, scene.mailbox, scene.snapshot, incarnation=2):
        await trio.sleep(3)
    assert scene.applied == [7]


async def test_content_that_crashes_it_is_tried_once(autojump_clock: object) -> None:
    scene = Scene()
    scene.apply_fails = True
    with pytest.RaisesGroup(RuntimeError):
        async with living(scene.actor.run, scene.mailbox, scene.snapshot):
            scene.disk.files[PATH] = b"8"
            await trio.sleep(10)
    async with living(scene.actor.run, scene.mailbox, scene.snapshot, incarnation=2):
        await trio.sleep(10)
    assert scene.applied == [8]
