"""One answer, handed over exactly once.

A memory channel of size one would not do here: `send` on it succeeds when the value is buffered,
and an asker that is cancelled a moment later leaves it there for nobody. Whoever answered with
something worth keeping (a lease) would believe it given. So the handover goes straight into the
asking task: trio either wakes that task with the value, and then no cancellation can come in
between, or the task has left, and the answerer hears so.
"""

from __future__ import annotations

import math
from typing import Generic, TypeVar

import outcome
import trio

from actors.overdue import overdue

R = TypeVar("R")


class AskFailed(Exception):
    """Base of everything that `Mailbox.ask` raises of its own accord."""

    def __init__(self, actor: str, message: str) -> None:
        super().__init__(message)
        self.actor = actor


class ActorCrashed(AskFailed):
    """The actor ended while it held the question; a restart follows, so asking again is sensible."""

    def __init__(self, actor: str) -> None:
        super().__init__(actor, f"{actor} crashed before it answered")


class ActorStopped(AskFailed):
    """The actor is stopping or stopped for good: nobody will read what is sent to it."""

    def __init__(self, actor: str) -> None:
        super().__init__(actor, f"{actor} is stopped")


class AskTimeout(AskFailed):
    """No answer in `seconds`, the wait for room in the mailbox included."""

    def __init__(self, actor: str, seconds: float) -> None:
        super().__init__(actor, f"{actor} did not answer within {seconds:g} s")
        self.seconds = seconds


class Expired(Exception):
    """No answer came in time."""


class Reply(Generic[R]):
    """The answering end of one ask. It may be kept and used later, by whichever task has it.

    Only the first of all `send` and `fail` calls can win: it returns True when the asker certainly
    gets this answer. Every other call returns False, and so does the first when the asker has left
    (cancelled, or past its deadline): then the answer is still the caller's to use otherwise.
    """

    __slots__ = ("_asker", "_holder", "_settled", "_stored", "due")

    def __init__(self) -> None:
        self.due = math.inf
        self._settled = False
        self._stored: outcome.Value[R] | outcome.Error | None = None
        self._asker: trio.lowlevel.Task | None = None
        self._holder: dict[Reply[R], None] | None = None

    @property
    def open(self) -> bool:
        """True while an answer would still reach the asker."""
        return not self._settled

    def send(self, value: R) -> bool:
        """Answer with `value`; True if the asker certainly gets it, False if it stays with you."""
        return self._settle(outcome.Value(value))

    def fail(self, error: Exception) -> bool:
        """Let the ask raise `error`; True if the asker certainly sees it."""
        return self._settle(outcome.Error(error))

    def _settle(self, answer: outcome.Value[R] | outcome.Error) -> bool:
        if self._settled:
            return False
        self._close()
        if self._asker is None:
            # The asker is between having sent its question and waiting for the answer. It cannot
            # be cancelled there, and `wait` looks here before it waits.
            self._stored = answer
        else:
            trio.lowlevel.reschedule(self._asker, answer)
        return True

    async def wait(self, due: float) -> R:
        """The answer, for the asker (`Mailbox.ask`); raises Expired past `due` (trio time). Not a
        checkpoint if it is there already.

        That is on purpose: after `send` has said True no cancellation may come in between.
        """
        if self._stored is not None:
            return self._stored.unwrap()
        self._asker = trio.lowlevel.current_task()
        self.due = due
        deadlines = overdue()
        deadlines.add(self)
        try:
            answer: R = await trio.lowlevel.wait_task_rescheduled(self._abort)
        finally:
            deadlines.discard(self)
        return answer

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self.leave()
        return trio.lowlevel.Abort.SUCCEEDED

    def expire(self) -> None:
        """Its asker has waited long enough."""
        if not self._settled and self._asker is not None:
            self._close()
            trio.lowlevel.reschedule(self._asker, outcome.Error(Expired()))

    def leave(self) -> None:
        """The asker goes away: whoever answers from now on hears False."""
        if not self._settled:
            self._close()

    def held_in(self, holder: dict[Reply[R], None]) -> None:
        """Stay listed in `holder` for as long as this reply is open."""
        self._holder = holder
        holder[self] = None

    def _close(self) -> None:
        self._settled = True
        if self._holder is not None:
            self._holder.pop(self, None)
            self._holder = None
