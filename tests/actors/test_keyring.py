"""The keys that hold, while their file changes, breaks and comes back."""

from __future__ import annotations

import msgspec
import pytest
import trio

from actors.keyring import LOOK_SECONDS, NOTE_SECONDS, KeyringActor, Keys
from actors.mailbox import Mailbox
from actors.messages import AdmitKey, KeyringMessage, KeySpent, KeysUsed, LookAtKeys
from actors.runtime import Snapshot
from protocol import key_file
from protocol.inbound_keys import InboundKey, KeyLimits, Keyring
from protocol.key_file import EMPTY
from protocol.login import CredentialsUnusable
from tests.actors.living import living
from tests.kit.memory_keys import MemoryKeys
from tests.protocol.test_inbound_keys import NOW, key

KEY, SECRET = key()
SHOWN = SECRET.reveal().encode()


def limited(limits: KeyLimits) -> InboundKey:
    return msgspec.structs.replace(KEY, limits=limits)


class Scene:
    def __init__(self, entry: InboundKey = KEY) -> None:
        self.disk = MemoryKeys(key_file.added(EMPTY, entry))
        self.wanted = True
        self.ring: Keyring | None = None
        self.mailbox: Mailbox[KeyringMessage] = Mailbox("keyring")
        self.snapshot: Snapshot[Keys] = Snapshot()
        self.actor = KeyringActor(self.disk, lambda: self.wanted, self.take, self.now)

    def take(self, ring: Keyring | None) -> None:
        self.ring = ring

    def now(self) -> float:
        return NOW + trio.current_time()

    @property
    def lets_in(self) -> bool:
        return self.ring is not None and self.ring.find(SHOWN) is not None

    async def admit(self) -> object:
        return await self.mailbox.ask(AdmitKey(KEY.id), timeout=5)

    async def look(self) -> str:
        return await self.mailbox.ask(LookAtKeys(), timeout=5)


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_the_keys_hold_before_the_door_opens(autojump_clock: object, scene: Scene) -> None:
    async with living(scene.actor.run, scene.mailbox):
        assert scene.lets_in
        assert await scene.admit() is None


async def test_a_revoked_key_is_turned_away_as_soon_as_it_is_looked_at(
    autojump_clock: object, scene: Scene
) -> None:
    async with living(scene.actor.run, scene.mailbox):
        scene.disk.file = key_file.revoked(scene.disk.file, KEY.id, NOW)
        assert await scene.look() == ""
        problem = await scene.admit()
        assert getattr(problem, "status", None) == 401


async def test_a_change_is_noticed_by_itself(autojump_clock: object, scene: Scene) -> None:
    async with living(scene.actor.run, scene.mailbox):
        scene.disk.file = key_file.deleted(scene.disk.file, KEY.id)
        await trio.sleep(LOOK_SECONDS * 2)
        assert not scene.lets_in


async def test_a_file_that_stays_is_not_read_again(autojump_clock: object, scene: Scene) -> None:
    async with living(scene.actor.run, scene.mailbox):
        await trio.sleep(60)
        assert scene.disk.reads == 1


async def test_a_file_that_breaks_locks_nobody_out_and_lets_nobody_in(
    autojump_clock: object, scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    async with living(scene.actor.run, scene.mailbox):
        scene.disk.broken = CredentialsUnusable("keys.json cannot be used: not JSON")
        await trio.sleep(60)
        assert scene.lets_in
        assert "not JSON" in await scene.look()
        scene.disk.broken = None
        scene.disk.file = key_file.deleted(scene.disk.file, KEY.id)
        assert await scene.look() == ""
        assert not scene.lets_in
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1, "said once, not at every look"


async def test_a_file_that_is_broken_from_the_start_lets_nobody_in(
    autojump_clock: object, scene: Scene
) -> None:
    scene.disk.broken = OSError("disk")
    async with living(scene.actor.run, scene.mailbox):
        assert scene.ring == Keyring()
        problem = await scene.admit()
        assert getattr(problem, "status", None) == 401


async def test_while_keys_are_not_wanted_the_file_is_left_alone(
    autojump_clock: object, scene: Scene
) -> None:
    scene.wanted = False
    async with living(scene.actor.run, scene.mailbox):
        await trio.sleep(30)
        assert scene.ring is None
        assert scene.disk.reads == 0
        scene.wanted = True
        await scene.look()
        assert scene.lets_in


async def test_who_was_let_in_by_a_key_that_is_not_wanted_any_more_goes_on(
    autojump_clock: object, scene: Scene
) -> None:
    async with living(scene.actor.run, scene.mailbox):
        scene.wanted = False
        await scene.look()
        assert await scene.admit() is None


async def test_limits_are_counted_over_requests_and_a_crash(
    autojump_clock: object, scene: Scene
) -> None:
    scene = Scene(limited(KeyLimits(requests_per_minute=2)))
    async with living(scene.actor.run, scene.mailbox, scene.snapshot):
        assert await scene.admit() is None
        assert await scene.admit() is None
    mailbox: Mailbox[KeyringMessage] = Mailbox("keyring")
    scene.mailbox = mailbox
    async with living(scene.actor.run, mailbox, scene.snapshot, incarnation=2):
        problem = await scene.admit()
        assert getattr(problem, "status", None) == 429


async def test_what_was_spent_stops_the_next_request_and_is_remembered(
    autojump_clock: object, scene: Scene
) -> None:
    scene = Scene(limited(KeyLimits(budget_per_day=1.0)))
    async with living(scene.actor.run, scene.mailbox):
        assert await scene.admit() is None
        await scene.mailbox.tell(KeySpent(KEY.id, 100, 1.5))
        problem = await scene.admit()
        assert getattr(problem, "status", None) == 429
    again = Scene()
    again.disk = scene.disk
    again.actor = KeyringActor(again.disk, lambda: True, again.take, again.now)
    async with living(again.actor.run, again.mailbox):
        problem = await again.admit()
        assert getattr(problem, "status", None) == 429, "another life remembers the day"


async def test_their_use_is_written_down_now_and_then_and_at_the_end(
    autojump_clock: object, scene: Scene
) -> None:
    async with living(scene.actor.run, scene.mailbox):
        for _ in range(50):
            await scene.admit()
        await trio.sleep(NOTE_SECONDS + 1)
        assert len(scene.disk.notes) == 1
        await scene.admit()
    assert len(scene.disk.notes) == 2
    kept = scene.disk.file.key(KEY.id)
    assert kept is not None
    assert kept.last_used is not None


async def test_a_disk_that_refuses_the_note_gets_it_later(
    autojump_clock: object, scene: Scene
) -> None:
    async with living(scene.actor.run, scene.mailbox):
        await scene.admit()
        scene.disk.broken = OSError(28, "No space left on device")
        await trio.sleep(NOTE_SECONDS * 2)
        scene.disk.broken = None
        await trio.sleep(NOTE_SECONDS * 2)
    assert len(scene.disk.notes) == 1


async def test_a_key_that_is_gone_spends_nothing(autojump_clock: object, scene: Scene) -> None:
    async with living(scene.actor.run, scene.mailbox, scene.snapshot):
        await scene.mailbox.tell(KeySpent("00000000", 5, 5.0))
        await scene.look()
    assert scene.snapshot.state is not None
    assert "00000000" not in scene.snapshot.state.spending


async def test_it_tells_what_each_key_has_spent_of_its_limits(autojump_clock: object) -> None:
    scene = Scene(limited(KeyLimits(requests_per_minute=3, tokens_per_minute=100)))
    async with living(scene.actor.run, scene.mailbox):
        await scene.admit()
        await scene.mailbox.tell(KeySpent(KEY.id, 40, 0.5))
        told = (await scene.mailbox.ask(KeysUsed(), timeout=5))[KEY.id]
        assert (told.requests_last_minute, told.tokens_last_minute) == (1, 40)
        assert told.cost_today == 0.5
        scene.wanted = False
        await scene.look()
        assert await scene.mailbox.ask(KeysUsed(), timeout=5) == {}
