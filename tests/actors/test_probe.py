"""The shell round `protocol.probing`: it asks, tells the account, and keeps its pace over a crash."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import pytest
import trio

from actors.mailbox import Mailbox
from actors.messages import AccountMessage, Describe, DispatcherMessage, Probed
from actors.probe import LOOK_SECONDS, ProbeActor
from actors.runtime import Context, Snapshot
from protocol.account import new_account
from protocol.accounts import AccountSpec, Credential
from protocol.dispatch import DispatchState, Strategy
from protocol.probe_answers import ProbeAnswer
from protocol.probing import Probe, ProbeRules
from protocol.routing import Policy
from protocol.secrets import Secret
from tests.actors.living import living

EPOCH = 1_800_000_000.0
RULES = ProbeRules(interval=60, maximum_interval=600)


def pool() -> DispatchState:
    accounts = {
        name: new_account(
            AccountSpec(name, "api_key", Credential(Secret(f"key-of-{name}"), bearer=False), "u", n)
        )
        for n, name in enumerate(("first", "second"))
    }
    return DispatchState(Strategy(pool=True, base_url="u", policy=Policy()), accounts)


class Scene:
    """A dispatcher that always describes the same pool; whatever is told to accounts is kept."""

    def __init__(self, ask: Callable[[Probe], Awaitable[ProbeAnswer]] | None = None) -> None:
        self.dispatcher: Mailbox[DispatcherMessage] = Mailbox("dispatcher")
        self.account: Mailbox[AccountMessage] = Mailbox("account/first")
        self.told: list[AccountMessage] = []
        self.asked: list[float] = []
        self.rules = RULES
        self.snapshot: Snapshot[object] = Snapshot()
        self.answer = ask or self.fine
        self.actor = ProbeActor(
            self.dispatcher,
            lambda name: self.account if name == "first" else None,
            self.ask,
            lambda: self.rules,
            lambda: EPOCH + trio.current_time(),
            random.Random(1),
        )

    async def ask(self, probe: Probe) -> ProbeAnswer:
        self.asked.append(trio.current_time())
        return await self.answer(probe)

    async def fine(self, probe: Probe) -> ProbeAnswer:
        return ProbeAnswer(200)  # without a reading, so that it stays worth a question

    async def describe(self, context: Context[DispatcherMessage, None]) -> None:
        context.ready()
        async for envelope in context.mailbox:
            assert isinstance(envelope.message, Describe)
            envelope.reply_to(envelope.message).send(pool())

    async def keep(self, context: Context[AccountMessage, None]) -> None:
        context.ready()
        async for envelope in context.mailbox:
            self.told.append(envelope.message)


async def lived(scene: Scene, seconds: float, incarnation: int = 1) -> None:
    async with (
        living(scene.describe, scene.dispatcher),
        living(scene.keep, scene.account),
        living(scene.actor.run, None, scene.snapshot, incarnation),
    ):
        await trio.sleep(seconds)


async def test_what_it_hears_is_told_to_the_account(autojump_clock: object) -> None:
    scene = Scene()
    await lived(scene, 85)
    assert len(scene.asked) == 1
    assert 60 <= scene.asked[0] <= 66 + LOOK_SECONDS
    (event,) = scene.told
    assert isinstance(event, Probed)
    assert event.probe.account == "first"


async def test_a_question_that_crashes_it_is_put_again_only_an_interval_later(
    autojump_clock: object,
) -> None:
    async def crash(probe: Probe) -> ProbeAnswer:
        raise RuntimeError("no answer is like that")

    scene = Scene(crash)
    for life in (1, 2, 3):
        scene.dispatcher, scene.account = Mailbox("dispatcher"), Mailbox("account/first")
        scene.actor._dispatcher = scene.dispatcher
        with pytest.RaisesGroup(RuntimeError, flatten_subgroups=True):
            await lived(scene, 1000, incarnation=life)
    assert len(scene.asked) == 3
    assert min(b - a for a, b in zip(scene.asked, scene.asked[1:], strict=False)) >= 60


async def test_while_it_is_off_the_dispatcher_is_left_alone(autojump_clock: object) -> None:
    scene = Scene()
    scene.rules = ProbeRules(enabled=False)
    async with living(scene.actor.run, None, scene.snapshot):
        await trio.sleep(3600)
        assert scene.dispatcher.depth == 0
        assert scene.asked == []


async def test_a_dispatcher_that_is_away_costs_a_look_and_no_crash(autojump_clock: object) -> None:
    scene = Scene()
    async with living(scene.actor.run, None, scene.snapshot):
        await trio.sleep(300)
    assert scene.asked == []
