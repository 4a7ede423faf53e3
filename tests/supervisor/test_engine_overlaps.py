"""Crashes that come while another crash is being dealt with."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock

from actors.mailbox import ActorStopped, Mailbox
from actors.runtime import Run
from protocol.restart import RestartPolicy
from supervisor.child import ChildSpec, GroupSpec
from supervisor.engine import GaveUp
from tests.supervisor.actors import (
    AnyContext,
    Boom,
    Crash,
    Double,
    Log,
    Tree,
    idle,
    park,
    serve,
    shielded_until,
    slow_start,
    supervised,
    until,
)


def fails_to_stop(times: int) -> Run:
    """Crashes in the cleanup of its first `times` lives."""

    async def run(context: AnyContext) -> None:
        context.ready()
        await context.stopping.wait()
        if context.incarnation <= times:
            raise Boom("in cleanup")

    return run


@pytest.mark.promise("A2")
async def test_a_crash_in_a_siblings_stop_counts_but_needs_no_second_restart(
    autojump_clock: MockClock,
) -> None:
    log = Log()
    mailbox: Mailbox[Crash] = Mailbox("a")
    children = (
        ChildSpec("a", log.watch(serve), mailbox),
        ChildSpec("b", log.watch(fails_to_stop(1))),
    )
    async with supervised(GroupSpec("g", "one_for_all", children)) as tree:
        await mailbox.tell(Crash())
        await until(lambda: tree.status("b").incarnation == 2)
        await trio.sleep(5)
        assert log.texts == ["+a", "+b", "-a", "-b", "+a", "+b"]
        assert tree.crash_types == [("a", "Boom"), ("b", "Boom")]


@pytest.mark.promise("A2")
async def test_crashes_in_stops_are_counted_up_to_escalation(autojump_clock: MockClock) -> None:
    log = Log()
    mailbox: Mailbox[Crash] = Mailbox("a")
    children = (
        ChildSpec("a", log.watch(serve), mailbox, policy=RestartPolicy(intensity=100)),
        ChildSpec("b", log.watch(fails_to_stop(99)), policy=RestartPolicy(intensity=2)),
    )
    tree = Tree((GroupSpec("g", "one_for_all", children),), RestartPolicy(intensity=0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(crash_each_second, mailbox)
        with trio.fail_after(60), pytest.raises(GaveUp) as caught:
            await tree.supervisor.run()
        nursery.cancel_scope.cancel()
    assert caught.value.crash.actor == "b"
    assert log.texts.count("+b") == 3


async def crash_each_second(mailbox: Mailbox[Crash]) -> None:
    with suppress(ActorStopped):
        while True:
            await trio.sleep(1)
            await mailbox.tell(Crash())


async def test_a_crash_while_a_sibling_is_started_again_begins_from_the_earlier_one(
    autojump_clock: MockClock,
) -> None:
    log = Log()
    first: Mailbox[Crash] = Mailbox("a")
    third: Mailbox[Crash] = Mailbox("c")
    children = (
        ChildSpec("a", log.watch(serve), first),
        ChildSpec("b", log.watch(idle)),
        ChildSpec("c", log.watch(slow_start(2)), third),
        ChildSpec("d", log.watch(idle)),
    )
    async with supervised(GroupSpec("g", "rest_for_one", children)):
        log.entries.clear()
        await third.tell(Crash())
        await trio.sleep(1)
        assert log.texts == ["-c", "-d", "+c"] or log.texts == ["-d", "-c", "+c"]
        log.entries.clear()
        await first.tell(Crash())
        await trio.sleep(10)
        assert log.texts == ["-a", "-c", "-b", "+a", "+b", "+c", "+d"]


async def test_a_child_that_cannot_be_stopped_fails_and_the_others_go_on(
    autojump_clock: MockClock,
) -> None:
    log = Log()
    released = trio.Event()
    mailbox: Mailbox[Crash] = Mailbox("a")
    children = (
        ChildSpec("a", log.watch(serve), mailbox),
        ChildSpec("b", shielded_until(released)),
        ChildSpec("c", log.watch(idle)),
    )
    async with supervised(GroupSpec("g", "one_for_all", children)) as tree:
        await mailbox.tell(Crash())
        await trio.sleep(10)
        states = [tree.status(name).state for name in ("a", "b", "c")]
        assert states == ["running", "failed", "running"]
        assert tree.crash_types == [("a", "Boom"), ("b", "Unstoppable")]
        released.set()
        await trio.sleep(1)
        assert tree.status("b").state == "failed", "what was given up does not come back"


async def test_an_ask_is_served_by_the_next_incarnation_of_a_whole_group(
    autojump_clock: MockClock,
) -> None:
    """The queue outlives even the end of its group."""
    mailbox: Mailbox[Double] = Mailbox("good")

    async def bad_in_first_life(context: AnyContext) -> None:
        if context.incarnation <= 6:
            raise Boom("first life")
        await serve(context)

    children = (ChildSpec("good", serve, mailbox), ChildSpec("bad", bad_in_first_life))
    tree = Tree((GroupSpec("g", "one_for_one", children),), RestartPolicy(backoff=2.0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tree.supervisor.run)
        await until(lambda: len(tree.reports) == 6)
        await until(lambda: tree.status("good").state == "restarting")
        assert await mailbox.ask(Double(4), timeout=10) == 8
        tree.supervisor.stop()


async def test_a_later_crash_does_not_make_an_unfinished_restart_forget_anybody(
    autojump_clock: MockClock,
) -> None:
    """`b` is still running, and already meant to be stopped and started again."""
    log = Log()
    first: Mailbox[Crash] = Mailbox("a")
    third: Mailbox[Crash] = Mailbox("c")
    children = (
        ChildSpec("a", log.watch(serve), first),
        ChildSpec("b", log.watch(idle)),
        ChildSpec("c", log.watch(serve), third),
        ChildSpec("slow to stop", log.watch(park)),
    )
    async with supervised(GroupSpec("g", "rest_for_one", children)):
        log.entries.clear()
        await first.tell(Crash())
        await trio.sleep(1)
        await third.tell(Crash())
        await trio.sleep(10)
        assert log.texts == [
            *("-a", "-c", "-slow to stop", "-b"),
            *("+a", "+b", "+c", "+slow to stop"),
        ]


async def test_the_longest_back_off_of_a_common_restart_counts(autojump_clock: MockClock) -> None:
    log = Log()
    first: Mailbox[Crash] = Mailbox("a")
    second: Mailbox[Crash] = Mailbox("b")
    children = (
        ChildSpec("a", log.watch(serve), first),
        ChildSpec("b", log.watch(serve), second, policy=RestartPolicy(backoff=5)),
    )
    async with supervised(GroupSpec("g", "rest_for_one", children)):
        await second.tell(Crash())
        await trio.sleep(1)
        await first.tell(Crash())
        await trio.sleep(10)
        assert 5 <= log.times("+b")[1] == log.times("+a")[1] <= 6


async def test_a_crash_in_a_siblings_stop_makes_the_common_restart_wait_for_its_back_off(
    autojump_clock: MockClock,
) -> None:
    log = Log()
    mailbox: Mailbox[Crash] = Mailbox("a")
    patient = RestartPolicy(backoff=5)
    children = (
        ChildSpec("a", log.watch(serve), mailbox),
        ChildSpec("b", log.watch(fails_to_stop(1)), policy=patient),
    )
    async with supervised(GroupSpec("g", "one_for_all", children)):
        await mailbox.tell(Crash())
        await trio.sleep(10)
        assert 5 <= log.times("+a")[1] == log.times("+b")[1] <= 6


async def test_a_stop_for_a_restart_leaves_the_queue_to_the_next_incarnation(
    autojump_clock: MockClock,
) -> None:
    log = Log()
    first: Mailbox[Crash] = Mailbox("a")
    second: Mailbox[Double] = Mailbox("b")
    children = (ChildSpec("a", log.watch(serve), first), ChildSpec("b", log.watch(serve), second))
    async with supervised(GroupSpec("g", "one_for_all", children)):
        await first.tell(Crash())
        await until(lambda: log.texts[-1] == "-b")
        assert trio.current_time() < 1, "a reader ends at once"
        assert await second.ask(Double(2), timeout=5) == 4
        assert log.texts[-1] == "+b"
