"""Starting in order, stopping in reverse order, each within its deadline."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.mailbox import ActorStopped, Mailbox
from protocol.restart import ROOT_POLICY
from supervisor.child import ChildSpec, GroupSpec
from tests.supervisor.actors import (
    AnyContext,
    Boom,
    Crash,
    Double,
    Log,
    Note,
    Tree,
    group,
    idle,
    never_ready,
    park,
    refused,
    serve,
    shielded_until,
    slow_start,
    supervised,
)

# ------------------------------------------------------------------------------- start and stop


async def test_children_start_in_order_when_the_one_before_is_ready_and_stop_in_reverse(
    autojump_clock: MockClock,
) -> None:
    log = Log()
    first = group(
        ChildSpec("a", log.watch(slow_start(2))), ChildSpec("b", log.watch(idle)), name="first"
    )
    second = group(ChildSpec("c", log.watch(slow_start(1))), name="second")
    async with supervised(first, second):
        assert log.entries == [("+a", 0.0), ("+b", 2.0), ("+c", 2.0)]
        assert trio.current_time() == 3.0
    assert log.texts[3:] == ["-c", "-b", "-a"]


async def test_a_stop_lets_an_actor_read_its_queue_to_the_end(autojump_clock: MockClock) -> None:
    read: list[str] = []

    async def slow(context: AnyContext) -> None:
        context.ready()
        async for envelope in context.mailbox:
            await trio.sleep(1)
            read.append(envelope.message.text)

    mailbox: Mailbox[Note] = Mailbox("slow")
    async with supervised(group(ChildSpec("slow", slow, mailbox))) as tree:
        for text in "abc":
            await mailbox.tell(Note(text))
        await trio.sleep(0.5)
        tree.supervisor.stop()
        await tree.supervisor.stopped.wait()
        assert (read, trio.current_time()) == (["a", "b", "c"], 3.0)
        with pytest.raises(ActorStopped):
            await mailbox.tell(Note("late"))
        assert tree.reports == []


@pytest.mark.promise("A4")
async def test_an_actor_that_does_not_stop_is_cancelled_at_its_deadline(
    autojump_clock: MockClock,
) -> None:
    log = Log()
    children = (ChildSpec("a", log.watch(idle)), ChildSpec("b", log.watch(park)))
    async with supervised(group(*children)) as tree:
        await trio.sleep(1)
    assert log.entries[2:] == [("-b", 6.0), ("-a", 6.0)]
    assert tree.reports == []


@pytest.mark.promise("A4")
async def test_an_actor_that_shields_itself_is_given_up_and_the_stop_goes_on(
    autojump_clock: MockClock,
) -> None:
    log = Log()
    released = trio.Event()
    mailbox: Mailbox[Double] = Mailbox("b")
    tree = Tree(
        (
            group(
                ChildSpec("a", log.watch(idle)),
                ChildSpec("b", log.watch(shielded_until(released)), mailbox),
            ),
        ),
        ROOT_POLICY,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(tree.supervisor.run)
        nursery.start_soon(refused, mailbox)
        await wait_all_tasks_blocked()
        tree.supervisor.stop()
        await tree.supervisor.stopped.wait()
        assert 5.0 < trio.current_time() <= 5.1
        assert log.texts == ["+a", "+b", "-a"]
        assert (tree.status("a").state, tree.status("b").state) == ("stopped", "failed")
        assert tree.crash_types == [("b", "Unstoppable")]
        await trio.sleep(100)
        assert len(nursery.child_tasks) == 1, "only the end of the task ends run()"
        released.set()


@pytest.mark.parametrize("steps", range(6))
async def test_a_crash_in_the_very_moment_of_a_stop_ends_nothing_else(
    autojump_clock: MockClock, steps: int
) -> None:
    """Between the end of restarts and the first stop of a child there are steps of the scheduler."""
    for _ in range(20):
        asked = trio.Event()

        async def crash(context: AnyContext, asked: trio.Event = asked) -> None:
            context.ready()
            await asked.wait()
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            raise Boom

        tree = Tree((group(ChildSpec("a", idle), ChildSpec("b", crash)),), ROOT_POLICY)
        async with trio.open_nursery() as nursery:
            await nursery.start(tree.supervisor.run)
            asked.set()
            tree.supervisor.stop()
        assert tree.crash_types in ([("b", "Boom")], [])


async def test_an_actor_that_lingers_is_waited_for_when_everybody_else_is_stopped(
    autojump_clock: MockClock,
) -> None:
    log = Log()
    released = trio.Event()
    lingering = ChildSpec("b", log.watch(shielded_until(released)), lingers=True)
    tree = Tree((group(ChildSpec("a", log.watch(idle)), lingering),), ROOT_POLICY)
    async with trio.open_nursery() as nursery:
        await nursery.start(tree.supervisor.run)
        assert tree.supervisor.lingering == ()
        tree.supervisor.stop()
        await tree.supervisor.stopped.wait()
        assert 5.0 < trio.current_time() <= 5.1
        assert log.texts == ["+a", "+b", "-a"]
        assert tree.supervisor.lingering == ("b",)
        with trio.move_on_after(20) as waited:
            await tree.supervisor.linger()
        assert waited.cancelled_caught
        released.set()
        await tree.supervisor.linger()
        assert tree.supervisor.lingering == ()
    assert tree.crash_types == []
    assert log.texts[-1] == "-b"


async def test_an_actor_that_lingers_has_another_life_when_its_group_has(
    autojump_clock: MockClock,
) -> None:
    log = Log()
    released = trio.Event()
    lives = iter([shielded_until(released), idle])

    async def run(context: AnyContext) -> None:
        await next(lives)(context)

    lingering = ChildSpec("b", log.watch(run), lingers=True)
    mailbox: Mailbox[Crash] = Mailbox("a")
    crashing = ChildSpec("a", log.watch(serve), mailbox)
    tree = Tree((GroupSpec("g", "one_for_all", (crashing, lingering)),), ROOT_POLICY)
    async with trio.open_nursery() as nursery:
        await nursery.start(tree.supervisor.run)
        await mailbox.tell(Crash())
        await trio.sleep(20)
        assert log.texts == ["+a", "+b", "-a"]
        released.set()
        await trio.sleep(1)
        assert log.texts[3:] == ["-b", "+a", "+b"]
        tree.supervisor.stop()
    assert tree.crash_types == [("a", "Boom")]


async def test_a_stop_before_everybody_is_ready_ends_the_start(autojump_clock: MockClock) -> None:
    log = Log()
    children = (
        ChildSpec("a", log.watch(idle)),
        ChildSpec("b", log.watch(never_ready)),
        ChildSpec("c", log.watch(idle)),
    )
    tree = Tree((group(*children),), ROOT_POLICY)
    async with trio.open_nursery() as nursery:

        async def stop_soon() -> None:
            await trio.sleep(2)
            tree.supervisor.stop()
            tree.supervisor.stop()

        nursery.start_soon(stop_soon)
        assert await nursery.start(tree.supervisor.run) is False
    assert log.entries == [("+a", 0.0), ("+b", 0.0), ("-b", 7.0), ("-a", 7.0)]


async def test_a_stop_before_the_run_starts_nobody(autojump_clock: MockClock) -> None:
    for at_once in (False, True):
        log = Log()
        tree = Tree((group(ChildSpec("a", log.watch(idle))),), ROOT_POLICY)
        tree.supervisor.stop_at_once() if at_once else tree.supervisor.stop()
        await tree.supervisor.run()
        assert tree.supervisor.stopped.is_set()
        assert log.texts == []
        assert tree.status("a").state == "stopped"


async def test_stop_at_once_cancels_everybody_now(autojump_clock: MockClock) -> None:
    log = Log()
    mailbox: Mailbox[Double] = Mailbox("b")
    children = (ChildSpec("a", log.watch(park)), ChildSpec("b", log.watch(park), mailbox))
    async with supervised(group(*children)) as tree, trio.open_nursery() as nursery:
        nursery.start_soon(refused, mailbox)
        await trio.sleep(1)
        tree.supervisor.stop()
        await trio.sleep(1)
        tree.supervisor.stop_at_once()
        await tree.supervisor.stopped.wait()
        assert trio.current_time() == 2.0
        assert sorted(log.texts[2:]) == ["-a", "-b"]


async def test_stop_at_once_is_no_failure_when_an_actor_crashes_in_its_cleanup(
    autojump_clock: MockClock,
) -> None:
    """One with tasks of its own: its crash leaves it in one group with the cancellation of these."""
    log = Log()

    async def crash_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise RuntimeError("in its cleanup")

    async def crashing(context: AnyContext) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crash_when_cancelled)
            context.ready()
            await trio.sleep_forever()

    children = (ChildSpec("a", log.watch(park)), ChildSpec("b", crashing))
    async with supervised(group(*children)) as tree:
        tree.supervisor.stop_at_once()
        await tree.supervisor.stopped.wait()
    assert log.texts[-1] == "-a"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_an_interrupt_in_an_actor_ends_everything(
    error: type[BaseException], autojump_clock: MockClock
) -> None:
    log = Log()

    async def interrupted(context: AnyContext) -> None:
        context.ready()
        await trio.sleep(1)
        raise error

    tree = Tree((group(ChildSpec("a", log.watch(idle)), ChildSpec("b", interrupted)),), ROOT_POLICY)
    with pytest.raises(BaseExceptionGroup) as caught:  # noqa: ASYNC401 - any depth will do
        await tree.supervisor.run()
    assert caught.value.subgroup(error) is not None
    assert log.texts == ["+a", "-a"]
    assert tree.reports == []


async def test_cancellation_from_outside_passes_through_and_leaves_nobody_waiting(
    autojump_clock: MockClock,
) -> None:
    log = Log()
    mailbox: Mailbox[Double] = Mailbox("a")
    tree = Tree((group(ChildSpec("a", log.watch(park), mailbox)),), ROOT_POLICY)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(refused, mailbox)
        with trio.move_on_after(1) as scope:
            await tree.supervisor.run()
        assert scope.cancelled_caught
    assert log.entries == [("+a", 0.0), ("-a", 1.0)]
    assert tree.reports == []
    assert tree.supervisor.stopped.is_set()
