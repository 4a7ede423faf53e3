"""The root supervisor: starts groups in order, restarts them, stops them in reverse order.

A group whose child is past its intensity is restarted as a whole; when that has happened too often
the root gives up, which ends the program.

About the end. Every actor runs in one nursery of `run`, so no task outlives it. The price: an actor
that shields itself from cancellation for ever keeps `run` from returning, and nothing in trio can
change that. So `stopped` is set as soon as everybody has been stopped or given up, each within its
own deadline, and `gave_up` holds the reason if there is one. Whoever ends the process waits for
`stopped`, not for `run`, puts things in order, and may then leave by `os._exit`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from random import Random

import trio

from actors.mailbox import ActorStopped
from protocol.restart import ROOT_POLICY, Restart, RestartHistory, RestartPolicy, decide, ready
from protocol.status import ActorStatus, CrashReport
from supervisor.child import ChildSpec, GroupSpec
from supervisor.group import Group
from supervisor.incarnation import CANCEL_GRACE, Child

CHECK_EVERY = 1.0
"""Seconds between two looks for stuck actors. One task does it for all; a stuck actor is noticed
this much later than its `stuck_after` at most."""


class GaveUp(Exception):
    """The root supervisor gave up: restarting did not help."""

    def __init__(self, crash: CrashReport) -> None:
        super().__init__(f"{crash.actor} kept crashing: {crash.type}: {crash.message}")
        self.crash = crash


class Supervisor:
    """The engine. `report` is called for each crash, at once; `wall_clock` gives Unix seconds."""

    def __init__(
        self,
        groups: Iterable[GroupSpec],
        *,
        random: Random,
        report: Callable[[CrashReport], None],
        wall_clock: Callable[[], float],
        root_policy: RestartPolicy = ROOT_POLICY,
    ) -> None:
        self.stopped = trio.Event()
        """Set when everybody has been stopped or given up."""
        self.gave_up: CrashReport | None = None
        """The crash that made the root give up."""
        self.failed_reports = 0
        """How often `report` raised."""
        self._random = random
        self._user_report = report
        self._root_policy = root_policy
        self._groups = {
            spec.name: Group(spec, random=random, report=self._report, wall_clock=wall_clock)
            for spec in groups
        }
        self._stop = trio.Event()
        self._at_once = False
        self._was_ready = False
        self._tasks: trio.Nursery | None = None
        names = [child.spec.name for child in self._children()]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"actors of the same name: {', '.join(twice)}")

    async def run(self, *, task_status: trio.TaskStatus[bool] = trio.TASK_STATUS_IGNORED) -> None:
        """Start everything, supervise until `stop`, stop everything in reverse order.

        `task_status.started(True)` when all actors are ready; `started(False)` if a stop was
        requested before that. Raises GaveUp when the root gives up, after having stopped the rest.
        Call it once.
        """
        try:
            async with trio.open_nursery() as self._tasks:
                try:
                    if not self._stop.is_set():
                        await self._supervise(self._tasks, task_status)
                        await self._stop_in_order()
                finally:
                    await self._finish(self._tasks)  # noqa: ASYNC102 - it shields itself
        finally:
            self._tasks = None
        if self.gave_up is not None:
            raise GaveUp(self.gave_up)
        if not self._was_ready:
            task_status.started(False)

    async def _supervise(self, tasks: trio.Nursery, task_status: trio.TaskStatus[bool]) -> None:
        async with trio.open_nursery() as control:
            control.start_soon(self._cancel_on_stop, control.cancel_scope)
            control.start_soon(self._watch)
            for group in self._groups.values():
                control.start_soon(self._keep, group, tasks)
                await group.settled()
            self._was_ready = True
            task_status.started(True)

    async def _cancel_on_stop(self, scope: trio.CancelScope) -> None:
        await self._stop.wait()
        # In the same step: who crashes a moment later must not be restarted in a nursery that is over.
        for group in self._groups.values():
            group.closing = True
        scope.cancel()

    async def _keep(self, group: Group, tasks: trio.Nursery) -> None:
        """One life of the group after the other, as the root policy allows."""
        history = RestartHistory()
        while True:
            history = ready(history, trio.current_time())
            crash = await group.live(tasks)
            now, jitter = trio.current_time(), self._random.random()
            decision = decide("permanent", "abnormal", self._root_policy, history, now, jitter)
            if not isinstance(decision, Restart):
                self.gave_up = self.gave_up or crash
                self.stop()
                return
            history = decision.history
            await trio.sleep(decision.after)

    async def _watch(self) -> None:
        """Look for stuck actors now and then.

        The process may not have run for a while (suspended, stopped by a debugger, its one thread
        held up): then every message looks old, and nobody is to blame. This task's own lateness
        tells, and restarts the count for all.
        """
        last, floor = trio.current_time(), 0.0
        while True:
            await trio.sleep(CHECK_EVERY)
            now = trio.current_time()
            if now - last > 2 * CHECK_EVERY:
                floor = now
            last = now
            for group in self._groups.values():
                group.check(now, floor)

    def stop(self) -> None:
        """Request the stop; `run` then stops everything and returns. At any time, repeatedly."""
        self._stop.set()

    def stop_at_once(self) -> None:
        """Cancel everybody now, without asking; otherwise like `stop`."""
        self._at_once = True
        self.stop()
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()

    async def _stop_in_order(self) -> None:
        for group in reversed(list(self._groups.values())):
            await group.close()

    async def _finish(self, tasks: trio.Nursery) -> None:
        """Cancel what is left, see it end, and let nobody wait for an answer any longer."""
        self._stop.set()
        tasks.cancel_scope.cancel()
        for group in self._groups.values():
            group.closing = True
        with trio.move_on_after(CANCEL_GRACE, shield=True):
            for child in list(self._children()):
                if child.alive is not None:
                    await child.alive.ended.wait()
        for child in self._children():
            child.give_up()
            child.finish()
        self.stopped.set()

    @property
    def lingering(self) -> tuple[str, ...]:
        """Who goes on after `stopped`, and is to be waited for."""
        return tuple(
            child.spec.name
            for child in self._children()
            if child.lingering is not None and not child.lingering.ended.is_set()
        )

    async def linger(self) -> None:
        """After `stopped`: waits for them. (No deadline: what they do has one.)"""
        for child in list(self._children()):
            if child.lingering is not None:
                await child.lingering.ended.wait()

    async def add(self, group: str, spec: ChildSpec) -> None:
        """Start one more child, and wait until it is ready, over, or at rest.

        A group that is just being restarted takes it along. Cancelling the wait does not undo it.
        Raises KeyError (no such group), ValueError (name taken), ActorStopped (all is stopping).
        """
        into = self._groups[group]
        if self._stop.is_set():
            raise ActorStopped(spec.name)
        if any(child.spec.name == spec.name for child in self._children()):
            raise ValueError(f"an actor named {spec.name} exists already")
        await into.add(spec).settled()

    async def remove(self, group: str, name: str) -> None:
        """Stop one child for good, gracefully, and forget it. Cancelled, it goes on by itself.

        Raises KeyError if there is none of that name.
        """
        of = self._groups[group]
        child = next((child for child in of.children if child.spec.name == name), None)
        if child is None:
            raise KeyError(name)
        gone = trio.Event()

        async def remove() -> None:
            try:
                await of.remove(child)
            finally:
                gone.set()

        if self._tasks is None:
            await remove()  # not running: nothing to wait for
        else:
            self._tasks.start_soon(remove)
            await gone.wait()

    def statuses(self, now: float) -> list[ActorStatus]:
        """Everybody, in start order; `now` is trio time."""
        return [child.status(now) for child in self._children()]

    def published(self, name: str) -> object | None:
        """The state that the child of that name published last, if there is one."""
        found = (child for child in self._children() if child.spec.name == name)
        return next((child.snapshot.state for child in found), None)

    def _children(self) -> Iterator[Child]:
        for group in self._groups.values():
            yield from group.children

    def _report(self, crash: CrashReport) -> None:
        try:
            self._user_report(crash)
        except Exception:  # noqa: BLE001 - supervision goes on when the log does not
            self.failed_reports += 1
