"""A group of children that live and fall together.

Everything that changes the plan of a group happens in plain functions, at once: a child ends, one
is added. What takes time (stopping siblings, waiting out a back-off, starting in order) happens in
a `Cycle`, a task that can be cancelled and replaced. With `one_for_one` each restart is its own
cycle, and a child in its back-off holds up nobody. The other strategies have one cycle at a time: a
crash that comes while one is under way replaces it by one that covers what both had to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

import trio

from protocol.restart import Escalate, Leave, Restart, affected, decide, wants_restart
from protocol.restart import RestartHistory as History
from protocol.status import CrashReport
from supervisor.child import ChildSpec, GroupSpec
from supervisor.crash import UnexpectedEnd, Unstoppable, crash_report
from supervisor.incarnation import Child, Ended


class Cycle:
    """Stop these (in reverse order), wait until `due`, start those (in order)."""

    def __init__(self, stop: list[Child], start: list[Child], due: float) -> None:
        self.stop = stop
        self.start = start
        self.due = due
        self.scope = trio.CancelScope()


def _pending(child: Child) -> bool:
    return child.settling or child.phase == "parked"


class Group:
    """One group. `live` is one life of it; the root decides whether another follows."""

    def __init__(
        self,
        spec: GroupSpec,
        *,
        random: Random,
        report: Callable[[CrashReport], None],
        wall_clock: Callable[[], float],
    ) -> None:
        self.spec = spec
        self.children = [Child(child) for child in spec.children]
        self.closing = False
        """The whole tree is being stopped: nobody is started any more."""
        self._random = random
        self._report = report
        self._wall_clock = wall_clock
        self._tasks: trio.Nursery | None = None
        self._control: trio.Nursery | None = None
        self._cycle: Cycle | None = None
        self._escalated: CrashReport | None = None

    async def live(self, tasks: trio.Nursery) -> CrashReport:
        """Start the children, in `tasks`, and keep them; when one is past its intensity stop the
        others (what is queued for them stays queued) and return that one's crash."""
        self._tasks = tasks
        for child in self.children:
            child.history = History()
            if child.startable:
                child.become("idle")
        try:
            async with trio.open_nursery() as self._control:
                self._begin(self._control, Cycle([], list(self.children), trio.current_time()))
                self._control.start_soon(trio.sleep_forever)  # `_escalate` or a stop cancels it
        finally:
            crash, self._escalated = self._escalated, None
            self._control, self._cycle = None, None
        await self.stop_children(self.children, final=False)
        if crash is None:
            raise RuntimeError(f"group {self.spec.name} ended its life for no reason")
        return crash

    async def settled(self) -> None:
        """Wait until every child runs, rests or is over."""
        while settling := [child for child in self.children if child.settling]:
            await settling[0].settled()

    async def close(self) -> None:
        """Stop all children for good; set `closing` first."""
        await self.stop_children(self.children, final=True)

    async def stop_children(self, children: Iterable[Child], *, final: bool) -> None:
        """Stop in reverse start order; those that were added while running, all at once."""
        listed = list(children)
        async with trio.open_nursery() as nursery:
            for child in listed:
                if child.dynamic:
                    nursery.start_soon(self._stop_child, child, final)
        for child in reversed(listed):
            if not child.dynamic:
                await self._stop_child(child, final)

    async def _stop_child(self, child: Child, final: bool) -> None:
        spent = child.spec.restart == "temporary" and child.incarnations > 0
        was_unstoppable = child.unstoppable
        await child.stop(final=final or spent or child.removed)
        if child.unstoppable and not (was_unstoppable or child.spec.lingers):
            self._report_unstoppable(child)

    def add(self, spec: ChildSpec) -> Child:
        """A new child at the end of the start order; it starts now if the group lives, else with
        its next life."""
        child = Child(spec, dynamic=True)
        self.children.append(child)
        if (life := self._life) is not None:
            self._begin(life, Cycle([], [child], trio.current_time()))
        return child

    async def remove(self, child: Child) -> None:
        """Stop one child for good and forget it."""
        child.removed = True
        await self._stop_child(child, True)
        if child in self.children:
            self.children.remove(child)

    def check(self, now: float, floor: float) -> None:
        """Look for stuck children (see `Child.check`)."""
        for child in self.children:
            if child.check(now, floor):
                child.give_up()
                self._report_unstoppable(child)

    @property
    def _life(self) -> trio.Nursery | None:
        """Where cycles run; None while nobody is to be started."""
        return None if self._escalated is not None or self.closing else self._control

    def _ended(self, child: Child, ended: Ended) -> None:
        """A child ended: report it if it should not have, and do what the rules say."""
        asked = child.phase == "stopping"
        error = ended.error
        if error is None and not asked and wants_restart(child.spec.restart, ended.how):
            error = UnexpectedEnd("it ended although it should run for ever")
        if error is not None:
            self._crashed(child, error, ended)
        life = self._life
        if self.closing or child.removed:
            child.finish()
        elif life is None:
            child.become("idle")
        elif not asked:
            self._decide(life, child, ended)
        else:
            child.become("idle")
            if ended.how == "abnormal":
                self._count_crash_in_stop(child)

    def _decide(self, life: trio.Nursery, child: Child, ended: Ended) -> None:
        now = trio.current_time()
        match decide(
            child.spec.restart,
            ended.how,
            child.spec.policy,
            child.history,
            now,
            self._random.random(),
        ):
            case Leave():
                child.finish(failed=ended.how == "abnormal")
            case Escalate():
                self._escalate(child)
            case Restart(after, history, parked):
                child.history = history
                child.become("parked" if parked else "waiting")
                position = self.children.index(child)
                concerned = affected(self.spec.strategy, len(self.children), position)
                siblings = [self.children[place] for place in concerned]
                self._begin(life, Cycle(siblings, siblings, now + after))

    def _count_crash_in_stop(self, child: Child) -> None:
        """It crashed while a sibling's restart stopped it: that counts, and may make the common
        restart later, but needs no further one."""
        now = trio.current_time()
        spec = child.spec
        jitter = self._random.random()
        match decide(spec.restart, "abnormal", spec.policy, child.history, now, jitter):
            case Restart(after, history):
                child.history = history
                if self._cycle is not None:
                    self._cycle.due = max(self._cycle.due, now + after)
            case Escalate():
                self._escalate(child)
            case Leave():
                child.finish(failed=True)

    def _escalate(self, child: Child) -> None:
        child.become("idle")
        self._escalated = child.last_crash
        if self._control is not None:
            self._control.cancel_scope.cancel()

    def _begin(self, life: trio.Nursery, cycle: Cycle) -> None:
        previous = self._cycle
        if self.spec.strategy != "one_for_one":
            for child in cycle.start:
                if child.phase == "done" and child.startable:
                    child.become("idle")
            if previous is not None:
                stop = {*previous.stop, *cycle.stop}
                # What it has not got to: to be started, or still running and to be stopped first.
                left = {child for child in previous.start if _pending(child)} | {*previous.stop}
                start = {*(child for child in previous.start if child in left), *cycle.start}
                cycle.stop = [child for child in self.children if child in stop]
                cycle.start = [child for child in self.children if child in start]
                cycle.due = max(previous.due, cycle.due)
                previous.scope.cancel()
            self._cycle = cycle
        life.start_soon(self._run_cycle, cycle)

    async def _run_cycle(self, cycle: Cycle) -> None:
        with cycle.scope:
            await self.stop_children(cycle.stop, final=False)
            cycle.stop = []
            # A loop: a crash in a sibling's cleanup may have moved it, and may again meanwhile.
            while trio.current_time() < cycle.due:  # noqa: ASYNC110 - the sleep has an end
                await trio.sleep_until(cycle.due)
            for child in cycle.start:
                if child.startable and _pending(child):
                    child.become("idle")
            await self._bring_up(cycle)
            if self._cycle is cycle:
                self._cycle = None

    async def _bring_up(self, cycle: Cycle) -> None:
        """Start what is to be started, each after the one before is ready; those that were added
        while running, all at once after these."""
        for child in cycle.start:
            if not child.dynamic:
                self._start(child)
                await child.settled()
        added = [child for child in cycle.start if child.dynamic]
        for child in added:
            self._start(child)
        for child in added:
            await child.settled()

    def _start(self, child: Child) -> None:
        if child.phase == "idle" and child.startable and self._tasks is not None:
            child.start(self._tasks, self._ended)

    def _crashed(self, child: Child, error: Exception, ended: Ended | None = None) -> None:
        child.last_crash = crash_report(
            child.spec.name,
            child.incarnations,
            error,
            at=self._wall_clock(),
            where=ended.where if ended else "",
            while_handling=ended.while_handling if ended else None,
        )
        self._report(child.last_crash)

    def _report_unstoppable(self, child: Child) -> None:
        self._crashed(child, Unstoppable("it went on after it was cancelled: given up"))
