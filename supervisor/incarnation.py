"""One child of a group, and one life of it after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NoReturn

import msgspec
import trio

from actors.mailbox import Inbox, Mailbox
from actors.runtime import Context, Shutdown, Snapshot
from protocol.restart import Exit, RestartHistory, ready
from protocol.status import ActorState, ActorStatus, CrashReport, LastCrash
from supervisor.child import ChildSpec
from supervisor.crash import StartTimeout, Stuck, leaves, place_of, place_of_task

CANCEL_GRACE = 0.05
"""Seconds between cancelling an actor that did not stop in time and giving it up. Unwinding takes
milliseconds; only a task that shields itself takes longer, and nothing but the end of the process
ends that one."""

Phase = Literal["idle", "starting", "running", "waiting", "parked", "stopping", "done", "failed"]
"""idle: to be started when its turn comes. waiting: for its back-off. parked: for its rest after
too many restarts. stopping: asked to end. done: over, as it should. failed: over, otherwise."""

_UNSETTLED: frozenset[Phase] = frozenset({"idle", "starting", "waiting", "stopping"})


class Ended(msgspec.Struct, frozen=True):
    """How an incarnation ended. `error` is None unless `how` is abnormal."""

    how: Exit
    error: Exception | None
    where: str
    while_handling: str | None


class Incarnation:
    """One life of a child: the task that runs the actor, and what surrounds it."""

    def __init__(self, spec: ChildSpec, context: Context[Any, Any], inbox: Inbox[Any]) -> None:
        self.context = context
        self.inbox = inbox
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        self.ready_at: float | None = None
        self.stop_deadline: float | None = None
        self.cancel_seen_at: float | None = None
        self.verdict: Exception | None = None
        self._spec = spec
        self._task: trio.lowlevel.Task | None = None
        self._where = ""

    async def live(self, on_end: Callable[[Incarnation, Ended], None]) -> None:
        """Run the actor to its end and say how it ended.

        Cancellation from outside, KeyboardInterrupt and SystemExit pass through: they are no
        business of an actor, nobody is told, and everything is being torn down.
        """
        error: Exception | None = None
        interrupted = True
        try:
            self._task = trio.lowlevel.current_task()
            self.scope.deadline = trio.current_time() + self._spec.start_timeout
            with self.scope:
                await self._run()
                interrupted = False
        except Exception as raised:  # noqa: BLE001 - this is the place where crashes are caught
            error = raised
        except BaseException as interruption:  # noqa: ASYNC103, BLE001 - it is raised again
            self.inbox.abandon(redeliver=False)
            self.ended.set()
            _raise_without_crashes(interruption)
        ended = self._judge(error)
        self.inbox.abandon(redeliver=self._spec.redeliver and interrupted)
        self.ended.set()
        on_end(self, ended)

    async def _run(self) -> None:
        try:
            await self._spec.run(self.context)
        except trio.Cancelled as cancelled:
            # For the report, in case this becomes a crash: the scope throws the place away.
            self._where = self._where or place_of(cancelled)
            raise

    def _judge(self, error: Exception | None) -> Ended:
        stopping = self.context.stopping.is_set()
        verdict = self.verdict
        if verdict is None and not stopping and self.scope.cancel_called:
            seconds = self._spec.start_timeout
            verdict = StartTimeout(f"was not ready within {seconds:g} s")
        handled = next(reversed(self.inbox.handling), None)
        while_handling = None if handled is None else type(handled.message).__name__
        if verdict is not None:
            if error is not None:
                verdict = type(verdict)(f"{verdict}; then {type(error).__name__}: {error}")
            return Ended("abnormal", verdict, self._where, while_handling)
        if error is None:
            return Ended("shutdown" if stopping else "normal", None, "", None)
        if all(isinstance(leaf, Shutdown) for leaf in leaves(error)):
            return Ended("shutdown", None, "", None)
        return Ended("abnormal", error, "", while_handling)

    def condemn(self, verdict: Exception) -> None:
        """Cancel it, and count that as a crash with `verdict` as its error."""
        self.verdict = verdict
        if self._task is not None:
            self._where = place_of_task(self._task)
        self.scope.cancel()


def _raise_without_crashes(interruption: BaseException) -> NoReturn:
    """An actor with tasks of its own may crash in its cleanup: that comes in one group with the
    cancellation, and would end the whole run as a failure though it was asked for."""
    if isinstance(interruption, BaseExceptionGroup):
        _, rest = interruption.split(Exception)
        if rest is not None:
            raise rest
    raise interruption


class Child:
    """A child over all its lives: what survives a crash is here."""

    def __init__(self, spec: ChildSpec, *, dynamic: bool = False) -> None:
        self.spec = spec
        self.dynamic = dynamic
        self.mailbox: Mailbox[Any] = spec.mailbox or Mailbox(spec.name)
        self.snapshot: Snapshot[Any] = Snapshot()
        self.history = RestartHistory()
        self.phase: Phase = "idle"
        self.alive: Incarnation | None = None
        self.incarnations = 0
        self.last_crash: CrashReport | None = None
        self.unstoppable = False
        self.lingering: Incarnation | None = None
        """The life that was given up although it goes on, where that is no crash."""
        self.removed = False
        self._changed = trio.Event()

    def become(self, phase: Phase) -> None:
        """Change the phase and wake whoever waits for that."""
        self.phase = phase
        self._changed.set()
        self._changed = trio.Event()

    async def settled(self) -> None:
        """Wait until it runs, rests, or is over. (No deadline: it follows from the restarts.)"""
        while self.phase in _UNSETTLED:
            await self._changed.wait()

    @property
    def settling(self) -> bool:
        """True while `settled` would wait."""
        return self.phase in _UNSETTLED

    @property
    def startable(self) -> bool:
        """A temporary child has one life, and an unstoppable one still lives somewhere."""
        spent = self.spec.restart == "temporary" and self.incarnations > 0
        return self.alive is None and not (spent or self.unstoppable or self.removed)

    def start(self, tasks: trio.Nursery, on_end: Callable[[Child, Ended], None]) -> None:
        """Begin the next life, in a task of `tasks`."""
        self.incarnations += 1
        inbox = self.mailbox.open_inbox()
        context: Context[Any, Any] = Context(
            self.spec.name, self.incarnations, inbox, self.snapshot, self._ready
        )
        self.alive = Incarnation(self.spec, context, inbox)
        self.become("starting")

        def ended(incarnation: Incarnation, how: Ended) -> None:
            if incarnation is self.alive:
                self.alive = None
                if how.how == "abnormal":
                    self.snapshot.crashed()
                on_end(self, how)

        tasks.start_soon(self.alive.live, ended, name=self.spec.name)

    def _ready(self) -> None:
        incarnation, now = self.alive, trio.current_time()
        if incarnation is None or incarnation.ready_at is not None:
            return
        incarnation.ready_at = now
        incarnation.scope.deadline = float("inf")
        self.history = ready(self.history, now)
        if self.phase == "starting":
            self.become("running")

    async def stop(self, *, final: bool) -> None:
        """Ask it to end, wait `shutdown_timeout`, cancel it, wait a little, give it up.

        `final`: no life follows; its mailbox refuses from now on and is closed at the end. May be
        called again, or by several at once: the deadline is counted from the first call.
        """
        incarnation = self.alive
        if incarnation is not None:
            self._ask_to_stop(incarnation, final=final)
            with trio.move_on_at(incarnation.stop_deadline or 0.0):
                await incarnation.ended.wait()
            if not incarnation.ended.is_set():
                incarnation.scope.cancel()
                with trio.move_on_after(CANCEL_GRACE):
                    await incarnation.ended.wait()
            if self.spec.lingers and not final:
                await incarnation.ended.wait()  # there will be another life, and time for this one
            if not incarnation.ended.is_set():
                self.give_up()
        if final:
            self.finish()

    def _ask_to_stop(self, incarnation: Incarnation, *, final: bool) -> None:
        if incarnation.stop_deadline is None:
            incarnation.stop_deadline = trio.current_time() + self.spec.shutdown_timeout
        if self.phase != "stopping":
            self.become("stopping")
        incarnation.context.stopping.set()
        if final:
            self.mailbox.refuse()
        else:
            incarnation.inbox.end()

    def give_up(self) -> None:
        """It cannot be ended: make sure that nobody waits for it, and go on without it."""
        if self.alive is not None:
            self.unstoppable = True
            self.lingering = self.alive if self.spec.lingers else None
            self.alive.inbox.abandon(redeliver=False)
            self.alive = None
            self.finish(failed=True)

    def finish(self, *, failed: bool = False) -> None:
        """No life follows."""
        self.mailbox.close()
        if self.phase != "failed":
            self.become("failed" if failed else "done")

    def check(self, now: float, floor: float) -> bool:
        """Notice a stuck incarnation and cancel it; True if it has to be given up even so.

        Nothing before `floor` counts against it: the process itself did not run then.
        """
        incarnation = self.alive
        if incarnation is None or incarnation.stop_deadline is not None:
            return False  # its stop has its own deadlines
        if incarnation.scope.cancel_called:
            if incarnation.cancel_seen_at is None:
                incarnation.cancel_seen_at = now
            waited = now - max(incarnation.cancel_seen_at, floor)
            return waited > self.spec.shutdown_timeout and not self.spec.lingers
        limit = self.spec.stuck_after
        if limit is not None and incarnation.ready_at is not None:
            last_step = max(incarnation.ready_at, incarnation.inbox.last_read_at or 0.0, floor)
            # The age alone would condemn an actor that is slow but gets on with a long queue, and
            # each new life of one whose queue grew old while it was down.
            idle = min(self.mailbox.oldest_message_age(now), now - last_step)
            if idle > limit:
                incarnation.condemn(Stuck(f"finished no message for {idle:.1f} s"))
        return False

    def status(self, now: float) -> ActorStatus:
        """Its entry in `/status`; `now` is trio time."""
        crash = self.last_crash
        return ActorStatus(
            name=self.spec.name,
            state=self._state(),
            incarnation=self.incarnations,
            restarts=max(0, self.incarnations - 1),
            last_crash=None
            if crash is None
            else LastCrash(crash.at, crash.type, crash.message, crash.where),
            mailbox=self.mailbox.depth,
            oldest_message_age=self.mailbox.oldest_message_age(now),
        )

    def _state(self) -> ActorState:
        match self.phase:
            case "running" | "failed":
                return self.phase
            case "idle" if self.incarnations == 0:
                return "stopped"
            case "done":
                return "stopped"
            case "stopping":
                return "running"
            case _:
                return "restarting"
