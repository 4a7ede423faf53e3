"""Random crashes, additions and removals: whatever the order, the tree comes back whole."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from random import Random

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from actors.mailbox import ActorCrashed, ActorStopped, Mailbox
from actors.runtime import Run
from protocol.restart import RestartPolicy, Strategy
from supervisor.child import ChildSpec, GroupSpec
from tests.supervisor.actors import AnyContext, Boom, Crash, Double, Tree, serve, until

MANY = RestartPolicy(intensity=10_000, maximum_backoff=0.5)


class Stampede:
    """A tree under random faults, drawn from one seed."""

    def __init__(self, seed: int, strategy: Strategy, *, escalates: bool) -> None:
        self.random = Random(seed)
        self.policy = RestartPolicy(intensity=3, maximum_backoff=0.5) if escalates else MANY
        self.mailboxes: dict[str, Mailbox[Double | Crash]] = {}
        self.alive: Counter[str] = Counter()
        self.twins: list[str] = []
        self.quiet = False
        static = tuple(self.spec(f"s{number}") for number in range(4))
        self.tree = Tree((GroupSpec("g", strategy, static),), MANY)

    def spec(self, name: str) -> ChildSpec:
        mailbox = self.mailboxes[name] = Mailbox(name)
        return ChildSpec(name, self.fragile(), mailbox, policy=self.policy)

    def fragile(self) -> Run:
        """Takes random times, and crashes at random in start, service and cleanup."""

        async def run(context: AnyContext) -> None:
            self.alive[context.name] += 1
            if self.alive[context.name] > 1:
                self.twins.append(context.name)
            try:
                await trio.sleep(self.random.choice([0, 0, 0.05, 1]))
                self.maybe_crash()
                await serve(context)
                self.maybe_crash()
            finally:
                self.alive[context.name] -= 1

        return run

    def maybe_crash(self) -> None:
        if not self.quiet and self.random.random() < 0.1:
            raise Boom("at random")

    async def disturb(self) -> None:
        names = iter(f"d{number}" for number in range(1000))
        for _ in range(60):
            await trio.sleep(self.random.choice([0, 0.01, 0.1, 0.5]))
            name = self.random.choice(list(self.mailboxes))
            match self.random.randrange(4):
                case 0:
                    self.tree_nursery.start_soon(
                        self.tree.supervisor.add, "g", self.spec(next(names))
                    )
                case 1 if name.startswith("d"):
                    del self.mailboxes[name]
                    self.tree_nursery.start_soon(self.remove, name)
                case _:
                    with suppress(ActorStopped):
                        self.mailboxes[name].tell_nowait(Crash())

    async def remove(self, name: str) -> None:
        await self.tree.supervisor.remove("g", name)

    async def play(self) -> None:
        async with trio.open_nursery() as self.tree_nursery:
            self.tree_nursery.start_soon(self.tree.supervisor.run)
            with trio.fail_after(600):
                await self.disturb()
                self.quiet = True
                await until(self.is_whole, 300)
                for mailbox in self.mailboxes.values():
                    with suppress(ActorCrashed):
                        assert await mailbox.ask(Double(3), timeout=60) == 6
            self.tree.supervisor.stop()
            await self.tree.supervisor.stopped.wait()
        assert self.twins == [], "two lives of one actor at the same time"
        assert not +self.alive

    def is_whole(self) -> bool:
        statuses = self.tree.supervisor.statuses(trio.current_time())
        running = {status.name for status in statuses if status.state == "running"}
        return len(statuses) == len(running) and running == set(self.mailboxes)


@pytest.mark.promise("A7")
@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    strategy=st.sampled_from(["one_for_one", "rest_for_one", "one_for_all"]),
    escalates=st.booleans(),
)
def test_a_tree_under_random_faults_comes_back_whole(
    seed: int, strategy: Strategy, escalates: bool
) -> None:
    stampede = Stampede(seed, strategy, escalates=escalates)
    trio.run(stampede.play, clock=MockClock(autojump_threshold=0))
