"""Actors that are alive and get nothing done."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from actors.mailbox import ActorStopped, Mailbox
from actors.runtime import Run
from supervisor.child import ChildSpec
from tests.supervisor.actors import (
    AnyContext,
    Note,
    group,
    shielded_until,
    supervised,
)


def sleeps_on_notes(seconds: float) -> Run:
    async def run(context: AnyContext) -> None:
        context.ready()
        async for envelope in context.mailbox:
            if isinstance(envelope.message, Note):
                await trio.sleep(seconds)

    return run


@pytest.mark.promise("A6")
async def test_an_actor_that_leaves_its_messages_lying_is_restarted(
    autojump_clock: MockClock,
) -> None:
    mailbox: Mailbox[Note] = Mailbox("a")
    spec = ChildSpec("a", sleeps_on_notes(1000), mailbox)
    async with supervised(group(spec)) as tree:
        await trio.sleep(100)
        assert tree.reports == [], "without messages it is idle, not stuck"
        await mailbox.tell(Note("x"))
        await trio.sleep(29.9)
        assert tree.reports == []
        await trio.sleep(1.2)
        (report,) = tree.reports
        assert (report.type, report.while_handling) == ("Stuck", "Note")
        assert report.message.startswith("finished no message for 3")
        assert "in run" in report.where
        assert "test_engine_stuck.py" in report.where
        await trio.sleep(1)
        assert tree.status("a").state == "running"
        await trio.sleep(100)
        assert len(tree.reports) == 1


@pytest.mark.promise("A6")
async def test_an_actor_that_gets_on_slowly_is_not_stuck(autojump_clock: MockClock) -> None:
    mailbox: Mailbox[Note] = Mailbox("a")
    async with supervised(group(ChildSpec("a", sleeps_on_notes(20), mailbox))) as tree:
        for _ in range(10):
            await mailbox.tell(Note("x"))
        await trio.sleep(150)
        assert tree.status("a").oldest_message_age > 100
        assert tree.reports == []


@pytest.mark.promise("A6", "T1")
async def test_being_suspended_makes_nobody_stuck(autojump_clock: MockClock) -> None:
    mailbox: Mailbox[Note] = Mailbox("a")
    async with supervised(group(ChildSpec("a", sleeps_on_notes(4000), mailbox))) as tree:
        await mailbox.tell(Note("x"))
        await trio.sleep(5)
        autojump_clock.jump(3600)
        await trio.sleep(25)
        assert tree.reports == []
        await trio.sleep(10)
        assert tree.crash_types == [("a", "Stuck")], "the count goes on after the suspension"


@pytest.mark.promise("A6")
async def test_a_stuck_actor_that_cannot_be_cancelled_is_given_up(
    autojump_clock: MockClock,
) -> None:
    released = trio.Event()
    mailbox: Mailbox[Note] = Mailbox("a")
    async with supervised(
        group(ChildSpec("a", shielded_until(released), mailbox, stuck_after=10.0))
    ) as tree:
        await mailbox.tell(Note("x"))
        await trio.sleep(30)
        assert tree.status("a").state == "failed"
        assert tree.crash_types == [("a", "Unstoppable")]
        with pytest.raises(ActorStopped):
            await mailbox.tell(Note("late"))
        released.set()
