"""Asks upstream for quota while no traffic brings it. Whom, when and why: `protocol.probing`."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import msgspec
import trio

from actors.asking import insist
from actors.mailbox import AskFailed, Mailbox
from actors.messages import AccountMessage, Describe, DispatcherMessage
from actors.runtime import Context
from protocol import probe_answers, probing
from protocol.dispatch import DispatchState
from protocol.probe_answers import ProbeAnswer
from protocol.probing import Pace, Probe, ProbeRules

log = logging.getLogger("actors.probe")

LOOK_SECONDS = 10.0
"""So soon a change of the configuration counts, and so soon after it is due an account is asked."""

ASK_SECONDS = 2.0
TELL_SECONDS = 5.0
"""A mailbox that is full for so long belongs to a dead actor."""

SAID_AFTER = 3
"""Failures in a row; a single one says nothing."""

Paces = Mapping[str, Pace]
AskUpstream = Callable[[Probe], Awaitable[ProbeAnswer]]
"""Puts the question, within a time of its own; a failure is an answer too."""


class ProbeActor:
    """One question at a time, to one account. `account` gives the mailbox of an account's actor."""

    def __init__(
        self,
        dispatcher: Mailbox[DispatcherMessage],
        account: Callable[[str], Mailbox[AccountMessage] | None],
        ask_upstream: AskUpstream,
        rules: Callable[[], ProbeRules],
        wall_clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self._dispatcher = dispatcher
        self._account = account
        self._ask_upstream = ask_upstream
        self._rules = rules
        self._wall_clock = wall_clock
        self._random = rng

    async def run(self, context: Context[None, Paces]) -> None:
        """Until the program stops; a question that is out then is given up."""
        paces: Paces = context.restored or {}
        context.ready()
        async with _ended_by_stop(context):
            while True:
                state = await self._look()
                if state is not None:
                    paces = await self._step(context, paces, state)
                await trio.sleep(LOOK_SECONDS)

    async def _look(self) -> DispatchState | None:
        if not self._rules().enabled:
            return None
        try:
            return await insist(self._dispatcher, Describe(), timeout=ASK_SECONDS)
        except AskFailed:
            return None  # it is being restarted; the next look will do

    async def _step(
        self, context: Context[None, Paces], paces: Paces, state: DispatchState
    ) -> Paces:
        now = trio.current_time()
        paces = probing.seen(paces, state, now, self._random.random())
        probe = probing.next_probe(state, paces, self._rules(), now, self._wall_clock())
        # The wait begins before the question: one that crashes us is not put again and again.
        if probe is not None:
            pace = msgspec.structs.replace(paces[probe.account], since=now)
            paces = {**paces, probe.account: pace}
        context.publish(paces)
        if probe is None:
            return paces
        answer = await self._ask_upstream(probe)
        event = probe_answers.judged(probe, answer, self._wall_clock(), now)
        pace = probe_answers.followed(
            paces[probe.account], event, trio.current_time(), self._random.random()
        )
        paces = {**paces, probe.account: pace}
        context.publish(paces)
        _say(probe, answer, pace)
        await self._tell(probe.account, event)
        return paces

    async def _tell(self, name: str, event: probe_answers.Probed) -> None:
        mailbox = self._account(name)
        if mailbox is None:
            return  # removed meanwhile
        with trio.move_on_after(TELL_SECONDS):
            try:
                await mailbox.tell(event)
            except AskFailed:
                return  # removed just now


@asynccontextmanager
async def _ended_by_stop(context: Context[None, Paces]) -> AsyncGenerator[None, None]:
    """What runs inside is cancelled when the program stops."""

    async def watch(scope: trio.CancelScope) -> None:
        await context.stopping.wait()
        scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, nursery.cancel_scope)
        yield


def _say(probe: Probe, answer: ProbeAnswer, pace: Pace) -> None:
    outcome = answer.fault.value if answer.fault is not None else str(answer.status)
    log.debug("probe of account %s (%s): %s", probe.account, probe.why, outcome)
    if pace.failures == SAID_AFTER:
        log.warning(
            "account %s could not be asked for its quota %d times in a row (last: %s); "
            "it is asked less often from now on, and serves as before",
            probe.account,
            pace.failures,
            outcome,
        )
