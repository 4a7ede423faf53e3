"""Crash an actor at every point where it can be interrupted, one point per run.

An actor's coroutine is driven by hand: each trap it yields goes to trio, and before trio's answer
goes back in, the n-th time, it is replaced by an error. So the actor sees an exception come out of
that very await. A sweep first counts the points in a dry run, then makes one run per point.

Some awaits hand something over: when trio resumes them, the item is already theirs. They promise to
return it or to leave everything as it was, so an error there is a fault that cannot happen, and it
would lose what they hold. Those are stepped over and not counted.

Only the actor's own task is driven; tasks it starts in nurseries of its own are not.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

import outcome
import trio

from actors.mailbox import Envelope
from actors.runtime import Context, Run

HANDOVERS = frozenset(
    {
        "Inbox.receive",
        "MemoryReceiveChannel.receive",
        "_LockImpl.acquire",
        "Mailbox.ask",
        "SocketListener.accept",
        "_SocketType.accept",
    }
)
"""Qualified names of the coroutines that are stepped over, with all they await."""


class InjectedCrash(Exception):
    """The fault of a sweep."""


class CountedRun:
    """An actor whose first life is watched: `points` are the awaits it was resumed at."""

    def __init__(self, run: Run, nth: int | None, step_over: frozenset[str]) -> None:
        self.points: list[str] = []
        self.crashed = False
        self._run = run
        self._nth = nth
        self._step_over = step_over
        self._lives = 0

    async def __call__(self, context: Context[Any, Any]) -> None:
        self._lives += 1
        if self._lives > 1:
            await self._run(context)
        else:
            await drive(as_coroutine(self._run(context)), self._answer)

    def _answer(self, names: list[str], answer: object) -> object:
        if self.crashed or self._step_over.intersection(names):
            return answer
        self.points.append(" > ".join(names))
        if len(self.points) != self._nth:
            return answer
        self.crashed = True
        return outcome.Error(InjectedCrash(f"at await {self._nth}: {self.points[-1]}"))


def count_awaits(run: Run, step_over: frozenset[str] = HANDOVERS) -> CountedRun:
    """The dry run: `len(result.points)` afterwards is how many runs the sweep takes."""
    return CountedRun(run, None, step_over)


def crash_at(run: Run, nth: int, step_over: frozenset[str] = HANDOVERS) -> CountedRun:
    """`run`, whose first life ends with InjectedCrash at its n-th await, counted from 1."""
    return CountedRun(run, nth, step_over)


def crash_on_message(run: Run, nth: int) -> Run:
    """`run`, whose first life ends with InjectedCrash just after its n-th message was read."""
    lives = 0

    async def wrapped(context: Context[Any, Any]) -> None:
        nonlocal lives
        lives += 1
        if lives == 1:
            _crash_after_reading(context, nth)
        await run(context)

    return wrapped


def _crash_after_reading(context: Context[Any, Any], nth: int) -> None:
    receive: Callable[[], Awaitable[Envelope[Any]]] = context.mailbox.receive
    read = 0

    async def counting() -> Envelope[Any]:
        nonlocal read
        envelope = await receive()
        read += 1
        if read == nth:
            raise InjectedCrash(f"on message {nth}: {type(envelope.message).__name__}")
        return envelope

    setattr(context.mailbox, "receive", counting)  # noqa: B010 - a method, to the type checker


def crash_on_publish(run: Run, nth: int) -> Run:
    """`run`, whose first life ends with InjectedCrash just after it published for the n-th time: what
    it published is kept, and nobody has been told or answered."""
    lives = 0

    async def wrapped(context: Context[Any, Any]) -> None:
        nonlocal lives
        lives += 1
        if lives == 1:
            _crash_after_publishing(context, nth)
        await run(context)

    return wrapped


def _crash_after_publishing(context: Context[Any, Any], nth: int) -> None:
    publish = context.publish
    published = 0

    def counting(state: Any) -> None:
        nonlocal published
        publish(state)
        published += 1
        if published == nth:
            raise InjectedCrash(f"after publishing {nth} times")

    setattr(context, "publish", counting)  # noqa: B010 - a method, to the type checker


async def as_coroutine(awaitable: Awaitable[None]) -> None:
    """What `drive` can drive."""
    await awaitable


@types.coroutine
def drive(
    coroutine: Coroutine[Any, Any, None], answer: Callable[[list[str], object], object]
) -> Generator[Any, Any, None]:
    """Lets trio run each trap of `coroutine`; what goes back in is what `answer` makes of trio's
    answer, given the names of the coroutines that wait for it."""
    send: object = None
    while True:
        try:
            trap = coroutine.send(send)
        except StopIteration:
            return
        names = awaiting(coroutine)
        send = answer(names, (yield trap))


def awaiting(coroutine: object) -> list[str]:
    """Qualified names of the coroutines that wait for each other, from the outermost inwards."""
    names: list[str] = []
    inner: object | None = coroutine
    while inner is not None:
        name = getattr(inner, "__qualname__", None)
        if name is not None:
            names.append(name)
        inner = getattr(inner, "cr_await", None) or getattr(inner, "gi_yieldfrom", None)
    return names


class Killable:
    """An actor that can be ended wherever it is, its own tasks too, as often as one likes; or be made
    to read no more messages, until it is cancelled."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._kill = trio.Event()
        self.kills = 0
        self.stuck = False

    async def __call__(self, context: Context[Any, Any]) -> None:
        self._kill = kill = trio.Event()
        self._stick(context)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._killed, kill)
            await self._run(context)
            nursery.cancel_scope.cancel()

    def kill(self) -> None:
        """Its life at this moment, if it has one, ends with InjectedCrash."""
        self._kill.set()

    async def _killed(self, kill: trio.Event) -> None:
        await kill.wait()
        self.kills += 1
        raise InjectedCrash("killed")

    def _stick(self, context: Context[Any, Any]) -> None:
        receive: Callable[[], Awaitable[Envelope[Any]]] = context.mailbox.receive

        async def receive_or_not() -> Envelope[Any]:
            envelope = await receive()
            if self.stuck:
                self.stuck = False  # the next life is well
                await trio.sleep_forever()
            return envelope

        setattr(context.mailbox, "receive", receive_or_not)  # noqa: B010 - a method
