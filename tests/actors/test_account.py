"""The account's shell: what it pushes, when it confirms, and what a crash leaves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.account import AccountActor
from actors.mailbox import Mailbox
from actors.messages import (
    AccountChanged,
    AccountMessage,
    DispatcherMessage,
    PublishYourself,
    Report,
    Reported,
    Reset,
    Respecify,
    SetEnabled,
    Used,
)
from actors.runtime import Snapshot
from protocol.accounts import AccountSpec, AccountState, Credential, Tokens
from protocol.benches import CooldownPolicy
from protocol.quota import Quota, Window
from protocol.secrets import Secret
from protocol.usage import Usage
from protocol.verdict import SUCCESS, judge
from supervisor.child import ChildSpec, GroupSpec
from tests.actors.living import living
from tests.supervisor.actors import supervised

SPEC = AccountSpec("a", "api_key", Credential(Secret("key-of-a"), bearer=False), "https://x")
LIMIT = judge(429, ((b"retry-after", b"30"),))


class Scene:
    """An account, and the dispatcher's mailbox with nobody reading it."""

    def __init__(self, capacity: int = 64) -> None:
        self.dispatcher: Mailbox[DispatcherMessage] = Mailbox("dispatcher", capacity)
        self.pushed = self.dispatcher.open_inbox()
        self.mailbox: Mailbox[AccountMessage] = Mailbox("account/a")
        self.snapshot: Snapshot[AccountState] = Snapshot()
        self.policy = CooldownPolicy()
        self.actor = AccountActor(SPEC, self.dispatcher, lambda: self.policy)

    def snapshots(self) -> list[AccountState]:
        """What came since the last look."""
        found = [envelope.message for envelope in self.pushed.receive_waiting(100)]
        assert all(isinstance(message, AccountChanged) for message in found)
        return [message.state for message in found if isinstance(message, AccountChanged)]


@pytest.fixture
async def scene(autojump_clock: object) -> AsyncIterator[Scene]:
    scene = Scene()
    async with living(scene.actor.run, scene.mailbox, scene.snapshot):
        yield scene


def reported(lease: int = 1, verdict: object = LIMIT) -> Reported:
    return Reported(lease, verdict, 1e9, 429, "m")  # type: ignore[arg-type]


async def test_it_says_what_it_is_when_it_starts(autojump_clock: object, scene: Scene) -> None:
    (state,) = scene.snapshots()
    assert state == AccountState(SPEC)


async def test_a_dispatcher_that_died_while_the_program_stops_is_nothing_to_crash_over(
    scene: Scene,
) -> None:
    """Then it has no other life, and streams that still run are booked all the same."""
    scene.dispatcher.close()
    await scene.mailbox.tell(reported())
    confirmed = await scene.mailbox.ask(SetEnabled(False), timeout=5)
    assert confirmed.cooldowns
    assert scene.snapshot.state == confirmed


async def test_its_snapshot_is_with_the_dispatcher_before_a_report_is_confirmed(
    autojump_clock: object,
) -> None:
    scene = Scene(capacity=1)
    confirmed = trio.Event()

    async def ask() -> None:
        await scene.mailbox.ask(Report(reported()), timeout=60)
        confirmed.set()

    async with living(scene.actor.run, scene.mailbox), trio.open_nursery() as nursery:
        nursery.start_soon(ask)  # the dispatcher's mailbox is full with the first snapshot
        await trio.sleep(5)
        assert not confirmed.is_set()
        first = scene.pushed.receive_nowait()
        assert first is not None
        assert first.message == AccountChanged(AccountState(SPEC))
        await wait_all_tasks_blocked()
        assert confirmed.is_set()
        assert [state.status(5.0) for state in scene.snapshots()] == ["cooling"]


async def test_a_bench_counts_from_the_moment_of_the_report(
    autojump_clock: object, scene: Scene
) -> None:
    scene.snapshots()
    await trio.sleep(100)
    await scene.mailbox.tell(reported())
    await wait_all_tasks_blocked()
    (state,) = scene.snapshots()
    assert state.available_at(100.0) == pytest.approx(130.0)


def answered(lease: int, used: float, at: float = 1e9, **more: Any) -> Reported:
    """A success whose headers say how much is used of the five hours."""
    quota = Quota({"5h": Window(used, "allowed", 2e9, at)})
    return Reported(lease, SUCCESS, at, 200, "", quota, **more)


async def test_only_what_a_choice_depends_on_is_pushed_and_all_is_published(
    autojump_clock: object, scene: Scene
) -> None:
    scene.snapshots()
    await scene.mailbox.tell(answered(1, 0.25))
    await wait_all_tasks_blocked()
    assert [state.counters.requests for state in scene.snapshots()] == [1], "the quota is new"
    await scene.mailbox.tell(answered(2, 0.25, at=1e9 + 5))
    await scene.mailbox.tell(answered(2, 0.25, at=1e9 + 5))  # the same lease: nothing new
    await wait_all_tasks_blocked()
    assert scene.snapshots() == []
    published = scene.mailbox.published
    assert isinstance(published, AccountState)
    assert published.counters.requests == 2
    assert published.quota.windows["5h"].read_at == 1e9 + 5
    await scene.mailbox.tell(PublishYourself())
    await wait_all_tasks_blocked()
    assert scene.snapshots() == [published]


async def test_a_success_that_others_wait_for_is_pushed_with_nothing_else_new(
    autojump_clock: object, scene: Scene
) -> None:
    """The dispatcher counts it for the account's ramp."""
    scene.snapshots()
    await scene.mailbox.tell(Reported(1, SUCCESS, 1e9, 200, "", awaited=True))
    await wait_all_tasks_blocked()
    assert [state.counters.successes for state in scene.snapshots()] == [1]


async def test_of_changes_that_come_together_one_snapshot_tells(
    autojump_clock: object, scene: Scene
) -> None:
    scene.snapshots()
    for lease in range(1, 20):
        scene.mailbox.tell_nowait(answered(lease, lease / 100))
    await wait_all_tasks_blocked()
    (state,) = scene.snapshots()
    assert state.counters.requests == 19
    assert state.quota.windows["5h"].utilization == 0.19


async def test_who_asks_among_others_is_answered_when_the_dispatcher_knows(
    autojump_clock: object,
) -> None:
    """More is waiting behind the question; that must not put its snapshot off."""
    scene = Scene()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(scene.mailbox.ask, Report(reported(1)), timeout=1))
        await wait_all_tasks_blocked()
        for lease in range(2, 5):
            scene.mailbox.tell_nowait(answered(lease, 0.5))
        async with living(scene.actor.run, scene.mailbox):
            told = [state.counters.requests for state in scene.snapshots()]
    assert told == [0, 1, 4]


async def test_a_question_whose_asker_has_left_puts_no_snapshot_off(
    autojump_clock: object,
) -> None:
    """It waits behind a change and is never read."""
    scene = Scene()
    with trio.move_on_after(1):
        async with trio.open_nursery() as nursery:
            scene.mailbox.tell_nowait(answered(1, 0.5))
            nursery.start_soon(partial(scene.mailbox.ask, Report(reported(2)), timeout=60))
    assert scene.mailbox.depth == 2
    async with living(scene.actor.run, scene.mailbox):
        assert [state.counters.requests for state in scene.snapshots()] == [0, 1]


async def test_what_was_owed_to_the_dispatcher_in_a_crash_is_told_by_the_next_life(
    autojump_clock: object,
) -> None:
    """Messages that came together are one snapshot; a crash before it loses none of them."""
    scene = Scene()

    class Fragile(AccountActor):
        def _step(self, state: AccountState, message: AccountMessage) -> AccountState:
            if isinstance(message, Reported) and message.lease == 3 and not crashed:
                crashed.append(True)
                raise RuntimeError("in the middle of them")
            return super()._step(state, message)

    crashed: list[bool] = []
    scene.actor = Fragile(SPEC, scene.dispatcher, lambda: scene.policy)
    account = ChildSpec("account/a", scene.actor.run, scene.mailbox, redeliver=True)
    async with supervised(GroupSpec("accounts", "one_for_one", (account,))):
        scene.snapshots()
        for lease in range(1, 6):
            scene.mailbox.tell_nowait(answered(lease, lease / 100))
        await trio.sleep(5)
        told = [state.counters.requests for state in scene.snapshots()]
    assert crashed
    assert told == [2, 5], (
        "what it had done, at its new start; then the third once more, and the rest"
    )


async def test_a_repeated_report_is_confirmed_too(autojump_clock: object, scene: Scene) -> None:
    for _ in range(2):
        await scene.mailbox.ask(Report(reported()), timeout=1)
    assert scene.snapshots()[-1].counters.requests == 1


async def test_its_owner_is_answered_with_the_account_as_it_is_now(
    autojump_clock: object, scene: Scene
) -> None:
    off = await scene.mailbox.ask(SetEnabled(False), timeout=1)
    assert off.status(0.0) == "disabled"
    assert scene.snapshots()[-1] == off
    await scene.mailbox.ask(SetEnabled(True), timeout=1)
    await scene.mailbox.ask(Report(reported()), timeout=1)
    lifted = await scene.mailbox.ask(Reset(), timeout=1)
    assert lifted.cooldowns == ()


async def test_a_changed_policy_counts_from_the_next_report_on(
    autojump_clock: object, scene: Scene
) -> None:
    scene.policy = CooldownPolicy(auth=7.0)
    await scene.mailbox.ask(Report(reported(1, judge(401, ()))), timeout=1)
    assert scene.snapshots()[-1].available_at(0.0) == pytest.approx(trio.current_time() + 7.0)


async def test_the_next_life_knows_the_bench_and_which_reports_counted(
    autojump_clock: object,
) -> None:
    scene = Scene()
    async with living(scene.actor.run, scene.mailbox, scene.snapshot):
        await scene.mailbox.ask(Report(reported(5)), timeout=1)
    scene.snapshots()
    async with living(scene.actor.run, scene.mailbox, scene.snapshot, incarnation=2):
        (state,) = scene.snapshots()
        assert state.status(trio.current_time()) == "cooling"
        await scene.mailbox.ask(Report(reported(5)), timeout=1)
        assert scene.snapshots() == [], "asked again after the crash: it had counted already"


async def test_a_usage_counts_once_over_all_lives(autojump_clock: object) -> None:
    scene = Scene()
    for incarnation in (1, 2):
        async with living(scene.actor.run, scene.mailbox, scene.snapshot, incarnation=incarnation):
            await scene.mailbox.tell(Used(5, Usage(10, 20)))
            await wait_all_tasks_blocked()
    assert [state.tokens for state in scene.snapshots()] == [Tokens(), Tokens(10, 20)], (
        "at each start"
    )
    assert scene.snapshot.state is not None
    assert scene.snapshot.state.tokens == Tokens(10, 20)


async def test_a_success_and_what_it_cost_may_come_as_one(
    autojump_clock: object, scene: Scene
) -> None:
    both = Reported(5, SUCCESS, 1e9, 200, "", usage=Usage(10, 20))
    await scene.mailbox.tell(both)
    await scene.mailbox.tell(both)
    await scene.mailbox.tell(Used(5, Usage(10, 20)))  # the same once more, apart
    await wait_all_tasks_blocked()
    state = scene.snapshot.state
    assert state is not None
    assert (state.counters.successes, state.tokens) == (1, Tokens(10, 20))


async def test_a_life_that_starts_clean_has_the_newest_credential(autojump_clock: object) -> None:
    scene = Scene()
    new = msgspec.structs.replace(SPEC, credential=Credential(Secret("key-2"), bearer=False))
    async with living(scene.actor.run, scene.mailbox, scene.snapshot):
        await scene.mailbox.tell(Respecify(new))
    assert scene.snapshots()[-1].spec == new
    async with living(scene.actor.run, scene.mailbox, Snapshot(), incarnation=3):
        assert [state.spec for state in scene.snapshots()] == [new]


async def test_a_first_life_begins_as_the_last_program_left_it(autojump_clock: object) -> None:
    quota = Quota({"5h": Window(0.5, "allowed", None, 1e9, "restored")})

    def begin(spec: AccountSpec) -> AccountState:
        return AccountState(spec, quota=quota)

    scene = Scene()
    scene.actor = AccountActor(SPEC, scene.dispatcher, lambda: scene.policy, begin)
    async with living(scene.actor.run, scene.mailbox, scene.snapshot):
        assert [state.quota for state in scene.snapshots()] == [quota]
        await scene.mailbox.ask(Report(reported()), timeout=1)
        assert scene.snapshots()[-1].quota == quota, "an answer that says nothing changes nothing"


async def test_what_the_last_program_left_outlives_a_crash_before_anything_happened(
    autojump_clock: object,
) -> None:
    left = [AccountState(SPEC, quota=Quota({"5h": Window(0.5, "allowed", None, 1e9, "restored")}))]
    scene = Scene()
    scene.actor = AccountActor(  # the file is asked once: see `Parts.recall`
        SPEC, scene.dispatcher, lambda: scene.policy, lambda _: left.pop()
    )
    async with living(scene.actor.run, scene.mailbox, scene.snapshot):
        (first,) = scene.snapshots()
    async with living(scene.actor.run, scene.mailbox, scene.snapshot, incarnation=2):
        assert scene.snapshots() == [first]
