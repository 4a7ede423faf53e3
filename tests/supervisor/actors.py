"""Small actors, one per behaviour or fault, and a supervisor around them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import msgspec
import pytest
import trio

from actors.mailbox import ActorCrashed, ActorStopped, Envelope, Mailbox
from actors.runtime import Context, Run
from protocol.question import Question
from protocol.restart import ROOT_POLICY, RestartPolicy
from protocol.status import ActorStatus, CrashReport
from supervisor.child import ChildSpec, GroupSpec
from supervisor.engine import Supervisor


class Double(Question[int], frozen=True):
    number: int


class Note(msgspec.Struct, frozen=True):
    text: str


class Crash(msgspec.Struct, frozen=True):
    """Told to an actor that it shall crash."""


class Leave(msgspec.Struct, frozen=True):
    """Told to an actor that it shall return."""


AnyContext = Context[Any, Any]


class Boom(Exception):
    pass


class Log:
    """What happened, in order, with the time."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, float]] = []

    def add(self, entry: str) -> None:
        self.entries.append((entry, trio.current_time()))

    @property
    def texts(self) -> list[str]:
        return [text for text, _ in self.entries]

    def times(self, entry: str) -> list[float]:
        return [at for text, at in self.entries if text == entry]

    def watch(self, run: Run) -> Run:
        """`run`, with its starts (`+name`) and ends (`-name`) written down."""

        async def watched(context: AnyContext) -> None:
            self.add(f"+{context.name}")
            try:
                await run(context)
            finally:
                self.add(f"-{context.name}")

        return watched


def handle(envelope: Envelope[Any]) -> None:
    """Answers `Double`, crashes on `Crash`."""
    match envelope.message:
        case Double(number) as question:
            envelope.reply_to(question).send(2 * number)
        case Crash():
            raise Boom("told to")


async def serve(context: AnyContext) -> None:
    """Ready at once; reads until the end."""
    context.ready()
    async for envelope in context.mailbox:
        if isinstance(envelope.message, Leave):
            return
        handle(envelope)


async def idle(context: AnyContext) -> None:
    """Ready, then waits to be stopped."""
    context.ready()
    await context.stopping.wait()


async def park(context: AnyContext) -> None:
    """Ready, then neither reads nor listens."""
    context.ready()
    await trio.sleep_forever()


async def crash_at_once(context: AnyContext) -> None:
    """Never gets ready."""
    raise Boom("at once")


async def never_ready(context: AnyContext) -> None:
    """Alive, but says nothing."""
    await trio.sleep_forever()


def slow_start(seconds: float) -> Run:
    """Takes its time to get ready."""

    async def run(context: AnyContext) -> None:
        await trio.sleep(seconds)
        await serve(context)

    return run


def shielded_until(released: trio.Event) -> Run:
    """Cannot be cancelled before `released`."""

    async def run(context: AnyContext) -> None:
        context.ready()
        with trio.CancelScope(shield=True):
            await released.wait()

    return run


def group(*children: ChildSpec, name: str = "g") -> GroupSpec:
    return GroupSpec(name, "one_for_one", children)


class Tree:
    """A running supervisor and what it reported."""

    def __init__(self, groups: tuple[GroupSpec, ...], root_policy: RestartPolicy) -> None:
        self.reports: list[CrashReport] = []
        self.supervisor = Supervisor(
            groups,
            random=Random(7),
            report=self.reports.append,
            wall_clock=lambda: 1_700_000_000.0 + trio.current_time(),
            root_policy=root_policy,
        )

    def status(self, name: str) -> ActorStatus:
        statuses = self.supervisor.statuses(trio.current_time())
        return next(status for status in statuses if status.name == name)

    @property
    def crash_types(self) -> list[tuple[str, str]]:
        return [(report.actor, report.type) for report in self.reports]


@asynccontextmanager
async def supervised(
    *groups: GroupSpec, root_policy: RestartPolicy = ROOT_POLICY
) -> AsyncIterator[Tree]:
    """A tree that is ready; stopped at the end, within a minute of virtual time."""
    tree = Tree(groups, root_policy)
    async with trio.open_nursery() as nursery:
        assert await nursery.start(tree.supervisor.run) is True
        yield tree
        tree.supervisor.stop()
        with trio.fail_after(60):
            await tree.supervisor.stopped.wait()


async def refused(mailbox: Mailbox[Double]) -> None:
    with pytest.raises((ActorStopped, ActorCrashed)):
        await mailbox.ask(Double(1), timeout=60)


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait in virtual time until `condition` holds."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - virtual time costs nothing
            await trio.sleep(0.02)
