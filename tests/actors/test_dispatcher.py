"""The dispatcher's shell: leases that come back, and what a new life knows."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.account import AccountActor
from actors.dispatcher import CLIENTS_MAX, DispatcherActor
from actors.mailbox import ActorCrashed, Mailbox
from actors.messages import (
    AccountChanged,
    AccountMessage,
    AccountRemoved,
    Acquire,
    Again,
    Describe,
    DispatcherMessage,
    EgressLimited,
    FreeEgress,
    PublishYourself,
    Release,
    Report,
    Reported,
    Restrategize,
)
from actors.runtime import Context, Snapshot
from protocol.accounts import AccountSpec, AccountState, Credential
from protocol.benches import CooldownPolicy
from protocol.dispatch import DispatchState, Lease, Refusal, Strategy
from protocol.request import Route
from protocol.secrets import Secret
from protocol.verdict import judge
from supervisor.child import ChildSpec, GroupSpec
from supervisor.engine import Supervisor
from tests.actors.living import living

POOL = Strategy(pool=True, base_url="https://up")
NO_POOL = Strategy(pool=False, base_url="https://up")
SPEC = AccountSpec("a", "api_key", Credential(Secret("key-of-a"), bearer=False), "https://a")
ASK = Acquire(Route.MESSAGES, "claude-x", client="client-1")
LIMIT = judge(429, ((b"retry-after", b"60"),))


class Scene:
    def __init__(self, strategy: Strategy = POOL) -> None:
        self.mailbox: Mailbox[DispatcherMessage] = Mailbox("dispatcher")
        self.account: Mailbox[AccountMessage] = Mailbox("account/a", capacity=1)
        self.snapshot: Snapshot[DispatchState] = Snapshot()
        self.strategy = strategy
        self.adopted: list[str] = []
        self.adopt_fails = False
        self.actor = DispatcherActor(self.initial, lambda: [self.account], self.adopt)

    def initial(self) -> DispatchState:
        accounts = {"a": AccountState(SPEC)} if self.strategy.pool else {}
        return DispatchState(self.strategy, accounts)

    def adopt(self, name: str) -> None:
        if self.adopt_fails:
            raise RuntimeError("cannot start an actor")
        self.adopted.append(name)

    def life(self, incarnation: int = 1) -> Any:
        return living(self.actor.run, self.mailbox, self.snapshot, incarnation)

    async def in_flight(self) -> dict[str, int]:
        return (await self.mailbox.ask(Describe(), timeout=1)).in_flight

    async def lease(self, ask: Acquire = ASK) -> Lease:
        outcome = await self.mailbox.ask(ask, timeout=1)
        assert isinstance(outcome, Lease)
        return outcome


@pytest.fixture
def scene(autojump_clock: object) -> Scene:
    return Scene()


async def test_a_lease_counts_until_it_is_released(autojump_clock: object, scene: Scene) -> None:
    async with scene.life():
        first, second = await scene.lease(), await scene.lease()
        assert await scene.in_flight() == {"a": 2}
        await scene.mailbox.tell(Release(first.id, "a"))
        assert await scene.in_flight() == {"a": 1}
        await scene.mailbox.tell(Release(second.id, "a"))
        assert await scene.in_flight() == {}


@pytest.mark.parametrize("question", [ASK, Again("a", ASK)])
async def test_the_lease_of_an_asker_who_left_comes_back(
    autojump_clock: object, scene: Scene, question: Acquire | Again
) -> None:
    """He is cancelled after the dispatcher has read his question and before it answers."""

    class SlowToAnswer(DispatcherActor):
        async def run(self, context: Context[DispatcherMessage, DispatchState]) -> None:
            receive = context.mailbox.receive

            async def read_and_dawdle() -> Any:
                envelope = await receive()
                if envelope.message == question:
                    asker.cancel()
                    await wait_all_tasks_blocked()
                return envelope

            context.mailbox.receive = read_and_dawdle  # type: ignore[method-assign]
            await super().run(context)

    scene.actor = SlowToAnswer(scene.initial, list, scene.adopt)
    async with scene.life():
        with trio.CancelScope() as asker:
            await scene.mailbox.ask(question, timeout=1)
        assert asker.cancelled_caught
        assert await scene.in_flight() == {}
        assert (await scene.lease()).id > 1, "the number is not given again"


async def test_who_is_asked_for_is_answered_from_the_newest_snapshot(
    autojump_clock: object, scene: Scene
) -> None:
    async with scene.life():
        off = AccountState(SPEC, enabled=False)
        await scene.mailbox.tell(AccountChanged(off))
        assert isinstance(await scene.mailbox.ask(ASK, timeout=1), Refusal)
        await scene.mailbox.tell(AccountChanged(AccountState(SPEC)))
        assert (await scene.lease()).account == "a"
        await scene.mailbox.tell(AccountRemoved("a"))
        assert isinstance(await scene.mailbox.ask(ASK, timeout=1), Refusal)
        await scene.mailbox.tell(Restrategize(NO_POOL))
        assert (await scene.lease()).account == "client-1"


async def test_the_bench_of_the_egress_outlives_a_crash_and_ends_by_itself(
    autojump_clock: object, scene: Scene
) -> None:
    async with scene.life():
        await scene.mailbox.tell(EgressLimited("https://a", 30.0))
        assert isinstance(await scene.mailbox.ask(ASK, timeout=1), Refusal)
    async with scene.life(incarnation=2):
        outcome = await scene.mailbox.ask(ASK, timeout=1)
        assert isinstance(outcome, Refusal)
        assert (outcome.cause, outcome.retry_after) == ("limited", 30.0)
        assert await scene.in_flight() == {}
        await trio.sleep(30)
        assert (await scene.lease()).account == "a"


async def test_the_owner_lifts_the_bench_of_the_egress(
    autojump_clock: object, scene: Scene
) -> None:
    async with scene.life():
        await scene.mailbox.tell(EgressLimited("https://a", 30.0))
        assert isinstance(await scene.mailbox.ask(ASK, timeout=1), Refusal)
        await scene.mailbox.ask(FreeEgress("a"), timeout=1)
        assert (await scene.lease()).account == "a"


async def test_a_new_clients_credential_gets_an_actor(autojump_clock: object) -> None:
    scene = Scene(NO_POOL)
    async with scene.life():
        await scene.lease()
        assert scene.adopted == ["client-1"]
        client = AccountState(AccountSpec("client-1", "client", None, "https://up"))
        await scene.mailbox.tell(AccountChanged(client))
        await scene.lease()
        assert scene.adopted == ["client-1"], "known already"


async def test_no_more_than_so_many_clients_are_followed_and_all_are_served(
    autojump_clock: object,
) -> None:
    scene = Scene(NO_POOL)
    async with scene.life():
        for number in range(CLIENTS_MAX):
            spec = AccountSpec(f"client-{number}", "client", None, "https://up")
            await scene.mailbox.tell(AccountChanged(AccountState(spec)))
        stranger = msgspec.structs.replace(ASK, client="client-new")
        assert (await scene.lease(stranger)).account == "client-new"
        assert scene.adopted == []


async def test_it_asks_every_account_for_a_snapshot_and_waits_for_none(
    autojump_clock: object, scene: Scene
) -> None:
    inbox = scene.account.open_inbox()
    async with scene.life():
        assert isinstance((await inbox.receive()).message, PublishYourself)
    scene.account.tell_nowait(PublishYourself())  # its mailbox is full now
    async with scene.life(incarnation=2):
        assert await scene.in_flight() == {}
    scene.account.close()
    async with scene.life(incarnation=3):
        assert await scene.in_flight() == {}, "an account that is gone is no reason to fail"


async def test_a_lease_that_was_handed_over_in_a_crash_is_known_to_the_next_life(
    autojump_clock: object,
) -> None:
    scene = Scene(NO_POOL)
    scene.adopt_fails = True
    crashes: list[str] = []
    engine = Supervisor(
        [GroupSpec("routing", "one_for_one",
                   (ChildSpec("dispatcher", scene.actor.run, scene.mailbox),))],
        random=random.Random(1), report=lambda crash: crashes.append(crash.type),
        wall_clock=lambda: 1e9,
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        lease = await scene.lease()
        await trio.sleep(5)
        assert crashes == ["RuntimeError"]
        scene.adopt_fails = False
        assert await scene.in_flight() == {"client-1": 1}
        assert (await scene.lease()).id != lease.id
        await scene.mailbox.tell(Release(lease.id, "client-1"))
        assert await scene.in_flight() == {"client-1": 1}
        engine.stop()


async def test_a_restarted_dispatcher_knows_the_cooldowns_and_what_is_in_flight(
    autojump_clock: object,
    scene: Scene,
) -> None:
    crash = trio.Event()

    async def crashing(context: Context[Any, Any]) -> None:
        async with trio.open_nursery() as life:
            life.start_soon(scene.actor.run, context)
            if context.incarnation == 1:
                await crash.wait()
                raise RuntimeError("the dispatcher crashes")

    scene.account = Mailbox("account/a")
    account = AccountActor(SPEC, scene.mailbox, CooldownPolicy)
    engine = Supervisor(
        [
            GroupSpec("routing", "one_for_one",
                      (ChildSpec("dispatcher", crashing, scene.mailbox),)),
            GroupSpec("accounts", "one_for_one",
                      (ChildSpec("account/a", account.run, scene.account),)),
        ],
        random=random.Random(1), report=lambda crash: None, wall_clock=lambda: 1e9,
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        lease = await scene.lease()
        await scene.account.ask(Report(Reported(lease.id, LIMIT, 1e9, 429, "m")), timeout=1)
        crash.set()
        await wait_all_tasks_blocked()
        try:
            outcome = await scene.mailbox.ask(ASK, timeout=20)
        except ActorCrashed:
            outcome = await scene.mailbox.ask(ASK, timeout=20)
        assert isinstance(outcome, Refusal)
        assert outcome.cause == "limited"
        assert await scene.in_flight() == {"a": 1}
        await trio.sleep(60)
        assert (await scene.lease()).account == "a"
        engine.stop()


async def test_a_dispatcher_that_starts_clean_learns_the_cooldowns_from_the_accounts(
    autojump_clock: object,
    scene: Scene,
) -> None:
    account = AccountActor(SPEC, scene.mailbox, CooldownPolicy)
    scene.account = Mailbox("account/a")
    async with scene.life(), living(account.run, scene.account, Snapshot()):
        lease = await scene.lease()
        await scene.account.ask(Report(Reported(lease.id, LIMIT, 1e9, 429, "m")), timeout=1)
    scene.snapshot = Snapshot()
    known = Snapshot[AccountState]()
    settled = (lease.id,)
    known.publish(AccountState(SPEC, settled=settled))
    async with scene.life(incarnation=3), living(account.run, scene.account, known):
        again = await scene.lease()
        assert again.id not in settled, "its report must not look like a repetition"
        await scene.account.ask(Report(Reported(again.id, LIMIT, 1e9, 429, "m")), timeout=1)
        assert isinstance(await scene.mailbox.ask(ASK, timeout=1), Refusal)
        await scene.mailbox.tell(Release(lease.id, "a"))  # of a life that is forgotten
        assert await scene.in_flight() == {"a": 1}


async def test_a_new_life_works_by_the_configuration_of_now(
    autojump_clock: object, scene: Scene
) -> None:
    async with scene.life():
        assert (await scene.lease()).account == "a"
    scene.strategy = NO_POOL
    async with scene.life(incarnation=2):
        assert (await scene.lease()).account == "client-1"
