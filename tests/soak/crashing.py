"""Inside the worker of a soak: every actor of the program crashes every now and then.

`install` wraps the tree before the worker builds it. When an actor's time has come, the next of its
awaits that may raise does (`tests.kit.crashes`); one that reads messages only crashes on the next
message; one that just sleeps is cancelled and raises then. After a minute without a crash a restart
is quick again, so no actor's turn comes earlier than that.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import outcome
import trio

from actors.mailbox import Envelope
from actors.runtime import Context, Run
from supervisor import program
from supervisor.child import GroupSpec
from tests.kit.crashes import HANDOVERS, InjectedCrash, as_coroutine, drive

PAUSE_SECONDS = (65.0, 85.0)
"""Between two crashes of one actor."""
FIRST_SECONDS = (5.0, 60.0)
GRACE_SECONDS = 3.0
"""For an await to come, after which the actor is cancelled."""


def install(seed: int) -> None:
    """From here on programs of this process crash."""
    rng = random.Random(seed)
    original = program.tree

    def crashing(*arguments: Any) -> tuple[GroupSpec, ...]:
        return tuple(_wrapped(group, rng) for group in original(*arguments))

    program.tree = crashing


def _wrapped(group: GroupSpec, rng: random.Random) -> GroupSpec:
    children = tuple(
        msgspec.structs.replace(child, run=Crashing(child.run, rng)) for child in group.children
    )
    return msgspec.structs.replace(group, children=children)


class Crashing:
    """An actor's `run` over all its lives."""

    def __init__(self, run: Run, rng: random.Random) -> None:
        self._run = run
        self._rng = rng
        self._due: float | None = None
        self._lives = 0

    async def __call__(self, context: Context[Any, Any]) -> None:
        """One life."""
        pause = PAUSE_SECONDS if self._lives else FIRST_SECONDS
        self._lives += 1
        self._due = trio.current_time() + self._rng.uniform(*pause)
        self._crash_on_a_message(context)
        with trio.CancelScope(deadline=self._due + GRACE_SECONDS) as scope:
            await drive(as_coroutine(self._run(context)), self._answer)
        if scope.cancelled_caught:
            raise InjectedCrash("while it waited")

    def _is_due(self) -> bool:
        return self._due is not None and trio.current_time() >= self._due

    def _answer(self, names: list[str], answer: object) -> object:
        if not self._is_due() or HANDOVERS.intersection(names):
            return answer
        if any(name.startswith(("Nursery", "_AsyncGenerator")) for name in names):
            return answer  # it waits for tasks of its own, and trio's nurseries never raise before
        if isinstance(answer, outcome.Error):
            return answer  # it is being cancelled, or fails already
        self._due = None
        return outcome.Error(InjectedCrash(f"at {' > '.join(names[1:5])}"))

    def _crash_on_a_message(self, context: Context[Any, Any]) -> None:
        receive: Callable[[], Awaitable[Envelope[Any]]] = context.mailbox.receive

        async def receiving() -> Envelope[Any]:
            envelope = await receive()
            if self._is_due():
                self._due = None
                raise InjectedCrash(f"on {type(envelope.message).__name__}")
            return envelope

        setattr(context.mailbox, "receive", receiving)  # noqa: B010 - a method, to the type checker
