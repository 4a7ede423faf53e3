"""Who is started again after which end, when, and how often."""

from __future__ import annotations

import itertools
import time

import pytest
import trio
from trio.testing import MockClock

from actors.mailbox import Mailbox
from actors.runtime import Run, Shutdown
from protocol.restart import Exit, Restarting, RestartPolicy, Strategy
from supervisor.child import ChildSpec, GroupSpec
from supervisor.engine import GaveUp
from tests.kit.promises import Measured
from tests.supervisor.actors import (
    AnyContext,
    Boom,
    Crash,
    Leave,
    Log,
    Tree,
    crash_at_once,
    idle,
    never_ready,
    serve,
    supervised,
)

PERMANENT_SIBLINGS = {
    "one_for_one": ["+b"],
    "rest_for_one": ["-c", "+b", "+c"],
    "one_for_all": ["-c", "-a", "+a", "+b", "+c"],
}
ENDS: list[Exit] = ["normal", "shutdown", "abnormal"]
RESTARTS: list[Restarting] = ["permanent", "transient", "temporary"]
STRATEGIES: list[Strategy] = ["one_for_one", "rest_for_one", "one_for_all"]


def ends_once(how: Exit) -> Run:
    """Its first life ends like that after a second; the others serve."""

    async def run(context: AnyContext) -> None:
        if context.incarnation > 1:
            await serve(context)
            return
        context.ready()
        await trio.sleep(1)
        if how == "shutdown":
            raise ExceptionGroup("from a nursery", [Shutdown()])
        if how == "abnormal":
            raise Boom("as scripted")

    return run


@pytest.mark.promise("A2")
@pytest.mark.parametrize(
    ("restart", "how", "strategy"), list(itertools.product(RESTARTS, ENDS, STRATEGIES))
)
async def test_every_kind_of_child_end_and_strategy_has_its_exact_outcome(
    restart: Restarting, how: Exit, strategy: Strategy, autojump_clock: MockClock
) -> None:
    log = Log()
    group = GroupSpec(
        "group",
        strategy,
        (
            ChildSpec("a", log.watch(idle)),
            ChildSpec("b", log.watch(ends_once(how)), restart=restart),
            ChildSpec("c", log.watch(idle)),
        ),
    )
    restarted = restart == "permanent" or (restart == "transient" and how == "abnormal")
    async with supervised(group) as tree:
        await trio.sleep(5)
        expected = ["+a", "+b", "+c", "-b"]
        assert log.texts == expected + (PERMANENT_SIBLINGS[strategy] if restarted else [])
        status = tree.status("b")
        if restarted:
            assert (status.state, status.incarnation, status.restarts) == ("running", 2, 1)
            assert 0.1 <= log.times("+b")[1] - log.times("-b")[0] <= 0.12
        else:
            state = "failed" if how == "abnormal" else "stopped"
            assert (status.state, status.incarnation, status.restarts) == (state, 1, 0)
        reported = restarted or how == "abnormal"
        kind = "Boom" if how == "abnormal" else "UnexpectedEnd"
        assert tree.crash_types == ([("b", kind)] if reported else [])


@pytest.mark.parametrize("strategy", ["rest_for_one", "one_for_all"])
async def test_a_temporary_sibling_is_stopped_by_a_strategy_and_not_started_again(
    strategy: Strategy, autojump_clock: MockClock
) -> None:
    log = Log()
    group = GroupSpec(
        "group",
        strategy,
        (
            ChildSpec("a", log.watch(ends_once("abnormal"))),
            ChildSpec("b", log.watch(idle), restart="temporary"),
        ),
    )
    async with supervised(group) as tree:
        await trio.sleep(5)
        assert log.texts == ["+a", "+b", "-a", "-b", "+a"]
        assert tree.status("b").state == "stopped"


async def test_a_transient_sibling_that_was_done_is_started_again_with_all(
    autojump_clock: MockClock,
) -> None:
    """It may have prepared something that the others need anew."""
    log = Log()
    done: Mailbox[Leave] = Mailbox("a")
    mailbox: Mailbox[Crash] = Mailbox("b")
    children = (
        ChildSpec("a", log.watch(serve), done, restart="transient"),
        ChildSpec("b", log.watch(serve), mailbox),
    )
    async with supervised(GroupSpec("g", "one_for_all", children)) as tree:
        await done.tell(Leave())
        await trio.sleep(1)
        assert tree.status("a").state == "stopped"
        await mailbox.tell(Crash())
        await trio.sleep(1)
        assert log.texts == ["+a", "+b", "-a", "-b", "+a", "+b"]
        await done.tell(Leave())
        await trio.sleep(1)
        assert tree.status("a").state == "stopped"


# ------------------------------------------------------------------------------------ escalation


async def give_up(*groups: GroupSpec) -> tuple[Tree, GaveUp]:
    tree = Tree(groups, RestartPolicy(intensity=3, period=60, backoff=0.5))
    with pytest.raises(GaveUp) as caught:
        await tree.supervisor.run()
    return tree, caught.value


@pytest.mark.promise("A3")
async def test_an_always_crashing_child_is_started_24_times_before_the_root_gives_up(
    autojump_clock: MockClock,
) -> None:
    log = Log()
    bad = ChildSpec("bad", log.watch(crash_at_once))
    good = ChildSpec("good", log.watch(idle))
    other = ChildSpec("other", log.watch(idle))
    tree, gave_up = await give_up(
        GroupSpec("others", "one_for_one", (other,)), GroupSpec("g", "one_for_one", (good, bad))
    )
    assert len(log.times("+bad")) == len(tree.reports) == 24
    assert len(log.times("+good")) == 4, "one per life of its group"
    assert log.times("+other") == [0.0], "another group is left alone"
    assert log.texts[-2:] == ["-good", "-other"]
    assert gave_up.crash is tree.reports[-1] is tree.supervisor.gave_up
    assert tree.supervisor.stopped.is_set()
    assert "bad kept crashing: Boom: at once" in str(gave_up)


@pytest.mark.promise("A3")
async def test_a_crash_loop_leaves_the_processor_to_others(
    autojump_clock: MockClock, measured: Measured
) -> None:
    """What 24 starts and their reports cost, over the time that the back-offs between them take."""
    began, used = trio.current_time(), time.process_time()
    await give_up(GroupSpec("g", "one_for_one", (ChildSpec("bad", crash_at_once),)))
    share = (time.process_time() - used) / (trio.current_time() - began)
    assert share < 0.05
    measured("A3", "processor used in a crash loop", 100 * share, "%", rounds=24)


@pytest.mark.promise("A3", control=True)
async def test_without_a_back_off_the_same_loop_takes_all_of_it(autojump_clock: MockClock) -> None:
    began, used = trio.current_time(), time.process_time()
    policy = RestartPolicy(backoff=0.0, maximum_backoff=0.0)
    bad = ChildSpec("bad", crash_at_once, policy=policy)
    tree = Tree((GroupSpec("g", "one_for_one", (bad,)),), RestartPolicy(intensity=3, backoff=0.0))
    with pytest.raises(GaveUp):
        await tree.supervisor.run()
    assert (time.process_time() - used) > 0.05 * (trio.current_time() - began)


@pytest.mark.promise("A3")
async def test_each_back_off_is_at_most_a_fifth_longer_than_its_step(
    autojump_clock: MockClock,
) -> None:
    log = Log()
    await give_up(GroupSpec("g", "one_for_one", (ChildSpec("bad", log.watch(crash_at_once)),)))
    starts, ends = log.times("+bad"), log.times("-bad")
    waits = [start - end for start, end in zip(starts[1:], ends[:-1], strict=True)]
    life = [0.1, 0.2, 0.4, 0.8, 1.6]
    for wait, step in zip(waits, [*life, 0.5, *life, 1.0, *life, 2.0, *life], strict=True):
        assert step - 1e-9 <= wait <= 1.2 * step + 1e-9
    assert len(set(waits)) == len(waits), "the jitter is drawn anew each time"


@pytest.mark.promise("A3")
@pytest.mark.parametrize("strategy", ["rest_for_one", "one_for_all"])
async def test_the_figures_are_the_same_when_siblings_restart_too(
    strategy: Strategy, autojump_clock: MockClock
) -> None:
    log = Log()
    good, bad = ChildSpec("good", log.watch(idle)), ChildSpec("bad", log.watch(crash_at_once))
    await give_up(GroupSpec("g", strategy, (good, bad)))
    assert len(log.times("+bad")) == 24
    assert len(log.times("+good")) == (24 if strategy == "one_for_all" else 4)
    assert log.texts.count("+good") == log.texts.count("-good")


async def test_a_child_that_may_rest_does_not_take_its_group_down(
    autojump_clock: MockClock,
) -> None:
    log = Log()
    bad = ChildSpec("bad", log.watch(crash_at_once), policy=RestartPolicy(park=30))
    good = ChildSpec("good", log.watch(idle))
    async with supervised(GroupSpec("g", "one_for_one", (bad, good))) as tree:
        assert len(log.times("+bad")) == 6, "the start goes on without a child at rest"
        await trio.sleep(300)
        assert 12 <= len(log.times("+bad")) <= 24
        assert len(log.times("+good")) == 1
        assert tree.status("bad").state == "restarting"


async def test_a_permanent_child_that_keeps_returning_escalates_too(
    autojump_clock: MockClock,
) -> None:
    async def returns(context: AnyContext) -> None:
        context.ready()

    _, gave_up = await give_up(GroupSpec("g", "one_for_one", (ChildSpec("short", returns),)))
    assert gave_up.crash.type == "UnexpectedEnd"


# --------------------------------------------------------------------------------- crash in start


@pytest.mark.promise("A2")
async def test_a_child_that_is_not_ready_in_time_has_crashed(autojump_clock: MockClock) -> None:
    log = Log()
    tree, gave_up = await give_up(
        GroupSpec(
            "g",
            "one_for_one",
            (
                ChildSpec(
                    "mute",
                    log.watch(never_ready),
                    start_timeout=3.0,
                    policy=RestartPolicy(intensity=1),
                ),
            ),
        )
    )
    assert log.times("-mute")[0] == 3.0
    assert len(tree.reports) == 8
    assert gave_up.crash.type == "StartTimeout"
    assert gave_up.crash.message == "was not ready within 3 s"
    assert gave_up.crash.where.endswith(" in never_ready")


@pytest.mark.promise("A2")
async def test_who_starts_later_waits_until_a_crashing_start_succeeds(
    autojump_clock: MockClock,
) -> None:
    log = Log()

    async def third_time_lucky(context: AnyContext) -> None:
        if context.incarnation < 3:
            raise Boom("not yet")
        await serve(context)

    first, second = ChildSpec("a", log.watch(third_time_lucky)), ChildSpec("b", log.watch(idle))
    async with supervised(GroupSpec("g", "one_for_one", (first, second))):
        assert log.texts == ["+a", "-a", "+a", "-a", "+a", "+b"]


async def test_while_one_child_waits_to_be_restarted_others_are_supervised(
    autojump_clock: MockClock,
) -> None:
    log = Log()
    slow = RestartPolicy(backoff=10.0)
    children = (
        ChildSpec("a", log.watch(ends_once("abnormal")), policy=slow),
        ChildSpec("b", log.watch(ends_once("abnormal"))),
    )
    async with supervised(GroupSpec("g", "one_for_one", children)) as tree:
        await trio.sleep(2)
        assert (tree.status("a").state, tree.status("b").state) == ("restarting", "running")
        assert tree.status("b").incarnation == 2
        await trio.sleep(12)
        assert tree.status("a").state == "running"


def test_two_actors_of_one_name_are_refused() -> None:
    child = ChildSpec("same", idle)
    groups = (GroupSpec("a", "one_for_one", (child,)), GroupSpec("b", "one_for_one", (child,)))
    with pytest.raises(ValueError, match="actors of the same name: same"):
        Tree(groups, RestartPolicy())
