"""What is known about quota gets into its file: soon, only when it changed, and at the end."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio

from actors.mailbox import Mailbox
from actors.messages import Describe, DispatcherMessage
from actors.quota_store import ASK_SECONDS, INTERVAL_SECONDS, QuotaStoreActor
from actors.runtime import Snapshot
from protocol.account import new_account
from protocol.accounts import AccountSpec, Cooldown, Credential, Scope
from protocol.dispatch import DispatchState, Strategy
from protocol.quota import Quota, Window
from protocol.quota_file import Known, QuotaFile, decode
from protocol.secrets import Secret
from tests.actors.living import living
from tests.kit.memory_disk import MemoryDisk

PATH = Path("/state/quota.json")
SPEC = AccountSpec("a", "api_key", Credential(Secret("key-of-a"), bearer=False), "https://up")
WALL = 1_795_240_000.0
ROUND = INTERVAL_SECONDS + 0.1


class CountingDisk(MemoryDisk):
    def __init__(self) -> None:
        super().__init__()
        self.replaced = 0

    async def replace(self, path: Path, data: bytes) -> None:
        await super().replace(path, data)
        self.replaced += 1


class Scene:
    """The store, a disk, and a dispatcher that answers with `state`."""

    def __init__(self) -> None:
        self.disk = CountingDisk()
        self.dispatcher: Mailbox[DispatcherMessage] = Mailbox("dispatcher")
        self.inbox = self.dispatcher.open_inbox()
        self.answers = True
        self.snapshot: Snapshot[Known] = Snapshot()
        self.state = DispatchState(
            Strategy(pool=True, base_url="https://up"), {"a": new_account(SPEC)}
        )
        self.actor = QuotaStoreActor(
            self.disk, PATH, "salt", self.dispatcher, lambda: WALL + trio.current_time()
        )

    def knows(self, utilization: float, *cooldowns: Cooldown) -> None:
        quota = Quota({"5h": Window(utilization, "allowed", None, WALL)})
        account = msgspec.structs.replace(new_account(SPEC), quota=quota, cooldowns=cooldowns)
        self.state = msgspec.structs.replace(self.state, accounts={"a": account})

    def file(self) -> QuotaFile:
        return decode(self.disk.files[PATH])

    def kept(self) -> float | None:
        return self.file().accounts["a"].windows["5h"].utilization

    async def dispatch(self) -> None:
        async for envelope in self.inbox:
            if self.answers and isinstance(envelope.message, Describe):
                envelope.reply_to(envelope.message).send(self.state)

    @asynccontextmanager
    async def one_life(self) -> AsyncIterator[None]:
        """The store, until it was asked to stop and has ended."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.dispatch)
            async with living(self.actor.run, snapshot=self.snapshot):
                yield
            nursery.cancel_scope.cancel()


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_a_reading_is_in_the_file_within_seconds(
    autojump_clock: object, scene: Scene
) -> None:
    async with scene.one_life():
        scene.knows(0.5)
        await trio.sleep(ROUND)
        assert scene.kept() == 0.5
        scene.knows(0.6)
        await trio.sleep(ROUND)
        assert scene.kept() == 0.6


async def test_what_has_not_changed_is_not_written_again(
    autojump_clock: object, scene: Scene
) -> None:
    async with scene.one_life():
        scene.knows(0.5)
        await trio.sleep(100 * INTERVAL_SECONDS)
        assert scene.disk.replaced == 1
    assert scene.disk.replaced == 1


async def test_no_file_is_made_for_nothing(autojump_clock: object, scene: Scene) -> None:
    async with scene.one_life():
        await trio.sleep(3 * ROUND)
    assert scene.disk.files == {}


async def test_what_came_last_is_written_at_the_stop(autojump_clock: object, scene: Scene) -> None:
    async with scene.one_life():
        scene.knows(0.7)
    assert scene.kept() == 0.7


async def test_benches_are_kept_by_the_time_of_day(autojump_clock: object, scene: Scene) -> None:
    bench = Cooldown(Scope.ACCOUNT, "", "rate_limited", 0.0, 600.0, 0, "retry-after")
    async with scene.one_life():
        scene.knows(0.5, bench)
        await trio.sleep(ROUND)
    (kept,) = scene.file().accounts["a"].cooldowns
    assert kept.until == pytest.approx(WALL + 600)


async def test_a_lifted_bench_leaves_the_file(autojump_clock: object, scene: Scene) -> None:
    bench = Cooldown(Scope.ACCOUNT, "", "rate_limited", 0.0, 600.0, 0, "retry-after")
    async with scene.one_life():
        scene.knows(0.5, bench)
        await trio.sleep(ROUND)
        scene.knows(0.5)
        await trio.sleep(ROUND)
    assert scene.file().accounts["a"].cooldowns == ()


async def test_when_nothing_is_known_any_more_the_file_says_so(
    autojump_clock: object, scene: Scene
) -> None:
    async with scene.one_life():
        scene.knows(0.5)
        await trio.sleep(ROUND)
        scene.state = msgspec.structs.replace(scene.state, accounts={})
    assert scene.file().accounts == {}


@pytest.mark.promise("D1")
async def test_a_full_disk_is_said_once_and_tried_again(
    autojump_clock: object, scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with scene.one_life():
        scene.disk.failing = True
        scene.knows(0.5)
        await trio.sleep(5 * ROUND)
        assert len(caplog.records) == 1
        assert "no space left" in caplog.text
        scene.disk.failing = False
        await trio.sleep(ROUND)
        assert scene.kept() == 0.5
        assert len(caplog.records) == 2


async def test_a_dispatcher_that_does_not_answer_holds_up_nothing(
    autojump_clock: object, scene: Scene
) -> None:
    scene.answers = False
    scene.knows(0.5)
    async with scene.one_life():
        await trio.sleep(3 * ROUND)
        began = trio.current_time()
    assert trio.current_time() - began <= INTERVAL_SECONDS + ASK_SECONDS
    assert scene.disk.files == {}


async def test_the_next_incarnation_knows_what_is_written(
    autojump_clock: object, scene: Scene
) -> None:
    scene.knows(0.5)
    async with scene.one_life():
        await trio.sleep(ROUND)
    assert scene.disk.replaced == 1
    scene.inbox = scene.dispatcher.open_inbox()
    async with scene.one_life():
        await trio.sleep(ROUND)
        assert scene.disk.replaced == 1
