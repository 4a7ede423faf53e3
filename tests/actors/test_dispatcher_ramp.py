"""Requests that wait in the dispatcher for an account in its ramp."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.asking import insist
from actors.dispatcher import DispatcherActor
from actors.mailbox import Mailbox
from actors.messages import (
    AccountChanged,
    Acquire,
    Again,
    Describe,
    DispatcherMessage,
    EgressLimited,
    Release,
)
from actors.runtime import Snapshot
from protocol.accounts import AccountSpec, AccountState, Credential
from protocol.dispatch import DispatchState, Lease, Refusal, Strategy
from protocol.ramp import RAMP_SECONDS, START
from protocol.request import Route
from protocol.secrets import Secret
from supervisor.child import ChildSpec, GroupSpec
from supervisor.engine import Supervisor
from tests.actors.living import living
from tests.kit.crashes import crash_on_message
from tests.protocol.test_dispatch import bench


def spec(name: str, order: int) -> AccountSpec:
    credential = Credential(Secret(f"key-of-{name}"), bearer=False)
    return AccountSpec(name, "api_key", credential, f"https://{name}", order)


class Scene:
    """A dispatcher of two accounts, and askers that keep what they get with its moment."""

    def __init__(self) -> None:
        self.mailbox: Mailbox[DispatcherMessage] = Mailbox("dispatcher")
        self.snapshot: Snapshot[DispatchState] = Snapshot()
        self.actor = DispatcherActor(self.initial, list, lambda name: None)
        self.got: dict[str, tuple[float, Lease | Refusal]] = {}
        self.scopes: dict[str, trio.CancelScope] = {}

    def initial(self) -> DispatchState:
        accounts = {name: AccountState(spec(name, n)) for n, name in enumerate("ab")}
        return DispatchState(Strategy(pool=True, base_url="https://up"), accounts)

    def life(self) -> Any:
        return living(self.actor.run, self.mailbox, self.snapshot)

    async def switch(self) -> None:
        """`a` carried traffic and is benched."""
        await self.mailbox.ask(Acquire(Route.MESSAGES), timeout=1)
        await self.rests("a", 600.0)

    async def rests(self, name: str, seconds: float) -> None:
        cooldowns = (bench(trio.current_time() + seconds),)
        state = AccountState(spec(name, "ab".index(name)), cooldowns=cooldowns)
        await self.mailbox.tell(AccountChanged(state))

    async def ask(self, who: str, patience: float = RAMP_SECONDS) -> None:
        ask = Acquire(Route.MESSAGES, patient_until=trio.current_time() + patience)
        with trio.CancelScope() as self.scopes[who]:
            outcome = await insist(self.mailbox, ask, timeout=10)
            self.got[who] = (trio.current_time(), outcome)

    async def crowd(self, nursery: trio.Nursery, count: int) -> list[str]:
        """So many askers, one after the other; the names of all."""
        names = [f"asker-{number}" for number in range(count)]
        for name in names:
            nursery.start_soon(self.ask, name)
            await wait_all_tasks_blocked()
        return names

    async def end(self, who: str) -> None:
        _, lease = self.got[who]
        assert isinstance(lease, Lease)
        await self.mailbox.tell(Release(lease.id, lease.account))
        await wait_all_tasks_blocked()

    def order(self) -> list[str]:
        """Who got a lease, in the order of the leases."""
        leased = {who: lease.id for who, (_, lease) in self.got.items() if isinstance(lease, Lease)}
        return sorted(leased, key=leased.__getitem__)

    async def in_flight(self) -> dict[str, int]:
        return (await self.mailbox.ask(Describe(), timeout=1)).in_flight


@pytest.fixture
def scene(autojump_clock: object) -> Scene:
    return Scene()


async def test_a_release_lets_the_one_through_who_came_first(
    autojump_clock: object, scene: Scene
) -> None:
    async with scene.life(), trio.open_nursery() as nursery:
        await scene.switch()
        names = await scene.crowd(nursery, START + 2)
        assert list(scene.got) == names[:START]
        await scene.end(names[0])
        assert list(scene.got) == names[: START + 1]
        assert trio.current_time() == scene.got[names[START]][0], "without any wait for a timer"
        nursery.cancel_scope.cancel()


async def test_time_alone_lets_everybody_through(autojump_clock: object, scene: Scene) -> None:
    async with scene.life():
        await scene.switch()
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            names = await scene.crowd(nursery, 60)
        assert scene.order() == names
        moments = [scene.got[name][0] - began for name in names]
        assert moments == sorted(moments)
        assert moments[START - 1] == 0.0
        assert moments[-1] == pytest.approx(1.0), "then 64 may be in flight"
        assert await scene.in_flight() == {"a": 1, "b": 60}
        lease = scene.got[names[-1]][1]
        assert isinstance(lease, Lease)
        assert lease.reasons[-1] == "waited 1.0 s for the ramp of b"


async def test_nobody_is_kept_past_his_patience(autojump_clock: object, scene: Scene) -> None:
    async with scene.life():
        await scene.switch()
        async with trio.open_nursery() as nursery:
            await scene.crowd(nursery, 50)
            began = trio.current_time()
            await scene.ask("hurried", patience=0.03)
            assert scene.got["hurried"][0] - began == pytest.approx(0.03)


async def test_who_left_the_line_is_passed_over_and_takes_no_lease_along(
    autojump_clock: object, scene: Scene
) -> None:
    async with scene.life(), trio.open_nursery() as nursery:
        await scene.switch()
        names = await scene.crowd(nursery, START + 3)
        for gone in names[START : START + 2]:
            scene.scopes[gone].cancel()
        await wait_all_tasks_blocked()
        await scene.end(names[0])
        assert list(scene.got) == [*names[:START], names[-1]]
        assert await scene.in_flight() == {"a": 1, "b": START}
        nursery.cancel_scope.cancel()


async def test_who_waits_for_an_account_that_is_benched_hears_of_it_at_once(
    autojump_clock: object, scene: Scene
) -> None:
    async with scene.life():
        await scene.switch()
        async with trio.open_nursery() as nursery:
            names = await scene.crowd(nursery, START + 3)
            began = trio.current_time()
            await scene.rests("b", 30.0)
        refusals = [scene.got[name] for name in names[START:]]
        assert [moment for moment, _ in refusals] == [began] * 3
        assert [getattr(outcome, "retry_after", None) for _, outcome in refusals] == [30.0] * 3


async def test_who_waits_hears_of_a_limit_of_the_egress_at_once(
    autojump_clock: object, scene: Scene
) -> None:
    async with scene.life():
        await scene.switch()
        async with trio.open_nursery() as nursery:
            names = await scene.crowd(nursery, START + 1)
            for name in ("a", "b"):
                await scene.mailbox.tell(EgressLimited(f"https://{name}", 0.7))
        outcome = scene.got[names[-1]][1]
        assert isinstance(outcome, Refusal)
        assert outcome.available_in == pytest.approx(0.7)


async def test_once_more_after_an_overload_waits_too_when_it_has_to_go_elsewhere(
    autojump_clock: object, scene: Scene
) -> None:
    async with scene.life(), trio.open_nursery() as nursery:
        await scene.switch()
        await scene.crowd(nursery, START)
        ask = Acquire(Route.MESSAGES, patient_until=trio.current_time() + 0.1)
        began = trio.current_time()
        outcome = await scene.mailbox.ask(Again("a", ask), timeout=1)
        assert isinstance(outcome, Lease)
        assert outcome.account == "b"
        assert 0.0 < trio.current_time() - began <= 0.1


async def test_at_the_end_nobody_is_left_in_line(autojump_clock: object, scene: Scene) -> None:
    async with trio.open_nursery() as nursery, scene.life():
        await scene.switch()
        names = await scene.crowd(nursery, START + 5)
        assert len(scene.got) == START
    assert scene.order() == names


@pytest.mark.parametrize("nth", range(1, 2 * START + 6))
async def test_a_crash_while_they_wait_is_only_another_wait(
    autojump_clock: object, scene: Scene, nth: int
) -> None:
    """Asked again they keep the end of their patience; no lease is lost, none is given twice."""
    crashes: list[str] = []
    run = crash_on_message(scene.actor.run, nth)
    engine = Supervisor(
        [GroupSpec("routing", "one_for_one", (ChildSpec("dispatcher", run, scene.mailbox),))],
        random=random.Random(1), report=lambda crash: crashes.append(crash.type),
        wall_clock=lambda: 1e9,
    )  # fmt: skip
    async with trio.open_nursery() as running:
        await running.start(engine.run)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            first = Acquire(Route.MESSAGES)
            await insist(scene.mailbox, first, timeout=5)
            await scene.rests("a", 600.0)
            await scene.crowd(nursery, 2 * START)
            nursery.start_soon(insist_describe, scene)
        assert crashes == ["InjectedCrash"]
        assert all(isinstance(outcome, Lease) for _, outcome in scene.got.values())
        leases = [outcome for _, outcome in scene.got.values() if isinstance(outcome, Lease)]
        assert len({lease.id for lease in leases}) == len(leases) == 2 * START
        held = sum((await scene.in_flight()).values())
        assert held == 1 + 2 * START
        assert max(moment for moment, _ in scene.got.values()) - began < RAMP_SECONDS + 1
        engine.stop()


async def insist_describe(scene: Scene) -> None:
    for _ in range(4):
        await insist(scene.mailbox, Describe(), timeout=5)


async def test_who_is_sent_from_one_ramp_to_the_next_has_waited_for_both(
    autojump_clock: object, scene: Scene
) -> None:
    async with scene.life(), trio.open_nursery() as nursery:
        await scene.switch()
        names = await scene.crowd(nursery, 4 * START + 1)
        await trio.sleep(0.36)
        await scene.mailbox.tell(AccountChanged(AccountState(spec("a", 0))))
        await scene.rests("b", 600.0)
        await trio.sleep(1.0)
        moment, lease = scene.got[names[-1]]
        assert isinstance(lease, Lease)
        waited = f"waited {moment:.1f} s for the ramp of a"
        assert (lease.account, lease.reasons[-1]) == ("a", waited)
        assert moment > 0.5, "a's own ramp came on top"


async def test_an_asker_who_left_the_line_takes_no_lease_and_nobodys_turn(
    autojump_clock: object, scene: Scene
) -> None:
    async with scene.life(), trio.open_nursery() as nursery:
        await scene.switch()
        names = await scene.crowd(nursery, START + 2)
        before = (await scene.mailbox.ask(Describe(), timeout=1)).next_lease
        scene.scopes[names[START]].cancel()
        await scene.end(names[0])
        assert names[START + 1] in scene.got
        assert (await scene.mailbox.ask(Describe(), timeout=1)).next_lease == before + 1
        nursery.cancel_scope.cancel()
