"""The dice of one seed, and what they do to actors.

To add a kind of fault: name it in `scenario.KINDS`, ask `dice.hit(kind, where)` at the place where
it can happen, and do it when that says so. It is then drawn, switched on and off, and counted.
"""

from __future__ import annotations

import contextlib
import random
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

import msgspec
import outcome
import trio

from actors.mailbox import Envelope
from actors.runtime import Context, Run
from supervisor import program as program_module
from supervisor.child import GroupSpec
from tests.kit.crashes import HANDOVERS, InjectedCrash, awaiting
from tests.sim.history import Fault, History
from tests.sim.scenario import Scenario

PER_AWAIT = 0.05
"""An actor awaits far more often than a request is sent: its rates are so much smaller."""

PER_MESSAGE = 0.1
UNTOUCHED = HANDOVERS | {"NurseryManager.__aexit__", "_AsyncGeneratorContextManager.__aexit__"}
"""Awaits that hand something over, or that trio itself relies on to return."""

KILLS_APART = 20.0
STUCK_SECONDS = (1.0, 60.0)
LOOP_SECONDS = 20.0


class Dice:
    """Whether a fault happens now. Each place has a random stream of its own, so that one place's
    draws do not depend on how many another made."""

    def __init__(self, scenario: Scenario, history: History) -> None:
        self.scenario = scenario
        self.history = history
        self.calm = False
        """No fault begins any more."""
        self.muted = False
        """None begins for now: what is cut off from outside runs no code in reality."""
        self._streams: dict[str, random.Random] = {}

    def stream(self, name: str) -> random.Random:
        """The random numbers of one place."""
        if name not in self._streams:
            self._streams[name] = random.Random(f"{self.scenario.seed}/{name}")
        return self._streams[name]

    def active(self, kind: str) -> bool:
        """Whether faults of that kind are let loose now."""
        if self.calm or self.muted or kind not in self.scenario.rates:
            return False
        now = trio.current_time()
        return any(start <= now < end for start, end in self.scenario.windows[kind])

    def hit(self, kind: str, where: str, *, scale: float = 1.0) -> bool:
        """Whether it happens; if so it is recorded."""
        if not self.active(kind):
            return False
        if self.stream(kind).random() >= self.scenario.rates[kind] * scale:
            return False
        self.note(kind, where)
        return True

    def note(self, kind: str, where: str) -> None:
        """It has happened."""
        self.history.add(Fault(trio.current_time(), kind, where))


class Meddler:
    """What the dice do to one actor, in all its lives."""

    def __init__(self, name: str, run: Run, dice: Dice) -> None:
        self._name = name
        self._run = run
        self._dice = dice
        self._random = dice.stream(f"actor {name}")

    async def __call__(self, context: Context[Any, Any]) -> None:
        if self._dice.hit("crash loop", self._name, scale=0.3):
            raise InjectedCrash("in a loop")
        self._meddle_with_reading(context)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._kill_some_time)
            await _drive(_as_coroutine(self._run(context)), self._answer)
            nursery.cancel_scope.cancel()

    async def _kill_some_time(self) -> None:
        """Everything of the actor is cancelled, its own tasks too, wherever they are."""
        while True:
            await trio.sleep(self._random.expovariate(1 / KILLS_APART))
            if self._dice.hit("kill", self._name, scale=0.3):
                raise InjectedCrash("killed")

    def _meddle_with_reading(self, context: Context[Any, Any]) -> None:
        receive: Callable[[], Awaitable[Envelope[Any]]] = context.mailbox.receive

        async def receive_or_crash() -> Envelope[Any]:
            envelope = await receive()
            where = f"{self._name}: {type(envelope.message).__name__}"
            if self._dice.hit("crash with message", where, scale=PER_MESSAGE):
                raise InjectedCrash(f"with a message: {where}")
            return envelope

        setattr(context.mailbox, "receive", receive_or_crash)  # noqa: B010 - a method

    def _answer(self, coroutine: object) -> tuple[Exception | None, float]:
        """What to do at an await that was just answered: an error to raise, seconds to be stuck."""
        if self._dice.active("crash at await") or self._dice.active("stuck"):
            crash, stuck = self._random.random(), self._random.random()
            rates = self._dice.scenario.rates
            crashes = self._dice.active("crash at await") and crash < PER_AWAIT * rates.get(
                "crash at await", 0.0
            )
            sticks = self._dice.active("stuck") and stuck < PER_AWAIT * 0.3 * rates.get(
                "stuck", 0.0
            )
            if crashes or sticks:
                names = awaiting(coroutine)
                if UNTOUCHED.intersection(names):
                    return None, 0.0
                where = f"{self._name}: {names[-1]}"
                if crashes:
                    self._dice.note("crash at await", where)
                    return InjectedCrash(f"at an await: {where}"), 0.0
                self._dice.note("stuck", where)
                return None, self._random.uniform(*STUCK_SECONDS)
        return None, 0.0


async def _as_coroutine(awaitable: Awaitable[None]) -> None:
    await awaitable


@types.coroutine
def _drive(
    coroutine: Coroutine[Any, Any, None],
    answer: Callable[[object], tuple[Exception | None, float]],
) -> Generator[Any, Any, None]:
    """As `tests.kit.crashes` drives an actor; one that is stuck can be cancelled meanwhile."""
    send: Any = None
    while True:
        try:
            trap = coroutine.send(send)
        except StopIteration:
            return
        given = yield trap
        # A checkpoint that no cancellation can come out of never raises anything.
        error, seconds = (None, 0.0) if isinstance(trap, type) else answer(coroutine)
        if seconds and isinstance(given, outcome.Value):
            try:
                yield from trio.sleep(seconds).__await__()  # noqa: ASYNC105 - it is awaited so
            except trio.Cancelled as cancelled:  # noqa: ASYNC103 - the actor gets it
                given = outcome.Error(cancelled)
        send = given if error is None else outcome.Error(error)


@contextlib.contextmanager
def meddled_with(dice: Dice) -> Generator[None, None, None]:
    """Programs that start inside have all their actors at the dice's mercy."""
    original = program_module.tree

    def meddling(*arguments: Any) -> tuple[GroupSpec, ...]:
        return tuple(_wrapped(group, dice) for group in original(*arguments))

    program_module.tree = meddling
    try:
        yield
    finally:
        program_module.tree = original


def _wrapped(group: GroupSpec, dice: Dice) -> GroupSpec:
    children = tuple(
        msgspec.structs.replace(child, run=Meddler(child.name, child.run, dice))
        for child in group.children
    )
    return msgspec.structs.replace(group, children=children)
