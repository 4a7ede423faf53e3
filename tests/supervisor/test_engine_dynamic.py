"""Children that come and go while the tree runs."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from actors.mailbox import ActorStopped, Mailbox
from supervisor.child import ChildSpec
from tests.supervisor.actors import (
    AnyContext,
    Boom,
    Crash,
    Double,
    Log,
    Note,
    group,
    idle,
    park,
    serve,
    slow_start,
    supervised,
    until,
)


async def test_children_come_and_go_while_running(autojump_clock: MockClock) -> None:
    log = Log()
    mailbox: Mailbox[Double] = Mailbox("new")
    async with supervised(group(ChildSpec("a", log.watch(idle)))) as tree:
        await tree.supervisor.add("g", ChildSpec("new", log.watch(slow_start(2)), mailbox))
        assert trio.current_time() == 2.0, "it returns when the new one is ready"
        assert await mailbox.ask(Double(2), timeout=1) == 4
        await tree.supervisor.remove("g", "new")
        assert log.texts == ["+a", "+new", "-new"]
        with pytest.raises(ActorStopped):
            await mailbox.ask(Double(2), timeout=1)
        assert [status.name for status in tree.supervisor.statuses(0.0)] == ["a"]
        await tree.supervisor.add("g", ChildSpec("new", log.watch(serve)))
        assert tree.status("new").state == "running"


async def test_adding_and_removing_say_what_is_wrong(autojump_clock: MockClock) -> None:
    spec = ChildSpec("a", idle)
    async with supervised(group(spec)) as tree:
        with pytest.raises(ValueError, match="an actor named a exists already"):
            await tree.supervisor.add("g", spec)
        with pytest.raises(KeyError):
            await tree.supervisor.add("nowhere", ChildSpec("b", idle))
        with pytest.raises(KeyError):
            await tree.supervisor.remove("g", "b")
        tree.supervisor.stop()
        with pytest.raises(ActorStopped):
            await tree.supervisor.add("g", ChildSpec("b", idle))


async def test_added_children_are_stopped_all_at_once_and_first(autojump_clock: MockClock) -> None:
    log = Log()
    async with supervised(group(ChildSpec("a", log.watch(idle)))) as tree:
        for number in range(5):
            await tree.supervisor.add("g", ChildSpec(f"n{number}", log.watch(park)))
    assert trio.current_time() == 5.0
    assert log.texts[-1] == "-a"


async def test_children_are_added_and_removed_while_their_group_is_down(
    autojump_clock: MockClock,
) -> None:
    log = Log()
    lives = 0

    async def bad(context: AnyContext) -> None:
        nonlocal lives
        lives += 1
        if 2 <= lives <= 7:
            raise Boom("for one life of the group")
        await serve(context)

    mailbox: Mailbox[Crash] = Mailbox("bad")
    gone: Mailbox[Note] = Mailbox("gone")
    async with supervised(group(ChildSpec("bad", bad, mailbox))) as tree:
        await tree.supervisor.add("g", ChildSpec("gone", log.watch(idle), gone))
        await mailbox.tell(Crash())
        await until(lambda: tree.status("gone").state == "restarting")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tree.supervisor.remove, "g", "gone")
            nursery.start_soon(tree.supervisor.add, "g", ChildSpec("new", log.watch(idle)))
        assert [tree.status(name).state for name in ("bad", "new")] == ["running", "running"]
        assert log.texts == ["+gone", "-gone", "+new"]
        with pytest.raises(ActorStopped):
            await gone.tell(Note("late"))


@pytest.mark.parametrize("restarted", [True, False])
async def test_a_child_waiting_for_its_restart_can_be_removed(
    restarted: bool, autojump_clock: MockClock
) -> None:
    log = Log()
    mailbox: Mailbox[Crash] = Mailbox("a")
    async with supervised(group()) as tree:
        await tree.supervisor.add("g", ChildSpec("a", log.watch(serve), mailbox))
        await mailbox.tell(Crash())
        await until(lambda: tree.status("a").state == "restarting")
        if restarted:
            await until(lambda: tree.status("a").state == "running")
        await tree.supervisor.remove("g", "a")
        await trio.sleep(5)
        assert log.texts == ["+a", "-a"] + (["+a", "-a"] if restarted else [])


async def test_a_removal_goes_on_when_its_caller_is_cancelled(autojump_clock: MockClock) -> None:
    async with supervised(group(ChildSpec("a", park))) as tree:
        with trio.move_on_after(1):
            await tree.supervisor.remove("g", "a")
        assert len(tree.supervisor.statuses(0.0)) == 1
        await trio.sleep(5)
        assert tree.supervisor.statuses(0.0) == []
