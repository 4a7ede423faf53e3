"""The mailbox of an actor: bounded, and longer-lived than the actor.

The supervisor keeps the mailbox; each incarnation of the actor reads it through its own `Inbox`. So
what is queued is simply served by the next incarnation, and what the crashed one held is settled
here: open asks fail with `ActorCrashed` at once, a told message is put back (once) if its child
spec wants that.

A queue of our own and no channel of trio's: a channel takes each message through the scheduler, here
all that wait are read in one step of the reader, one by one. Each stays in the queue until its turn
has come, so a crash takes nothing along but the message that was being handled.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Generic, TypeVar, cast

import msgspec
import outcome
import trio

from actors.envelope import Envelope
from actors.reply import ActorCrashed, ActorStopped, AskFailed, AskTimeout, Expired, Reply
from protocol.question import Question

__all__ = [
    "ActorCrashed",
    "ActorStopped",
    "AskFailed",
    "AskTimeout",
    "Envelope",
    "Inbox",
    "Mailbox",
    "Reply",
]

M = TypeVar("M")
R = TypeVar("R")

CAPACITY = 64
"""Messages. Enough for a burst of requests; past it senders wait, which is the back-pressure."""

IN_A_ROW = 64
"""Messages that are read without giving others their turn. A reader that never catches up would
otherwise be the only task that runs."""


class Mailbox(Generic[M]):
    """The sending side, for everybody who knows the actor."""

    def __init__(self, name: str, capacity: int = CAPACITY) -> None:
        if capacity < 1:
            raise ValueError(f"mailbox {name}: capacity must be at least 1, not {capacity}")
        self.name = name
        self.capacity = capacity
        self.inbox: Inbox[M] | None = None
        self.queue: deque[Envelope[M]] = deque()
        """Messages that wait to be read, oldest first."""
        self.returned: deque[Envelope[M]] = deque()
        self.published: object = None
        """The state that this life of the actor published last; None before it has."""
        self.stopped = False
        self._senders: dict[Envelope[M], trio.lowlevel.Task] = {}

    async def tell(self, message: M) -> None:
        """Send without wanting an answer; waits for room as long as it takes (set a deadline).

        Raises ActorStopped if the actor is stopping or stopped for good.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._put(self._told(message))

    def tell_nowait(self, message: M) -> bool:
        """Send if there is room; False if there is none. Raises ActorStopped like `tell`."""
        return self._offer(self._told(message))

    async def ask(
        self,
        question: Question[R],
        *,
        timeout: float,  # noqa: ASYNC109 - it names itself in the error, unlike the deadline of a caller
        now: float | None = None,
    ) -> R:
        """The actor's answer, within `timeout` seconds, the wait for room included.

        `now`: trio time, from who knows it already.
        Raises ActorCrashed (ask again), ActorStopped, AskTimeout, or what the actor failed it with.
        A question whose asker has left is never executed afterwards.
        """
        if timeout <= 0:
            await trio.lowlevel.checkpoint()
            raise AskTimeout(self.name, timeout)
        reply: Reply[R] = Reply()
        if now is None:
            now = trio.current_time()
        envelope = Envelope(cast("M", question), reply, now)
        try:
            if not self._offer(envelope):
                with trio.CancelScope(deadline=now + timeout) as patience:
                    await self._put(envelope)
                if patience.cancelled_caught:
                    raise Expired
            return await reply.wait(now + timeout)
        except Expired:
            raise AskTimeout(self.name, timeout) from None
        finally:
            reply.leave()

    def _told(self, message: M) -> Envelope[M]:
        if isinstance(message, Question):
            # Refused at the sender, whose mistake it is; the actor would have nobody to answer.
            raise TypeError(f"{type(message).__name__} wants an answer: ask it, do not tell it")
        return Envelope(message, None, trio.current_time())

    def _offer(self, envelope: Envelope[M]) -> bool:
        if self.stopped:
            raise ActorStopped(self.name)
        if len(self.queue) >= self.capacity:
            return False
        self.queue.append(envelope)
        if self.inbox is not None:
            self.inbox.wake()
        return True

    async def _put(self, envelope: Envelope[M]) -> None:
        """Waits for room, in the order in which the senders came."""
        if self._offer(envelope):
            return
        self._senders[envelope] = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            del self._senders[envelope]  # nothing has been sent
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    @property
    def depth(self) -> int:
        """Messages waiting to be read; the one being handled is not counted."""
        return len(self.queue) + len(self.returned)

    def oldest_message_age(self, now: float) -> float:
        """Seconds since the oldest unfinished message was sent; 0.0 if there is none.

        Counts messages that wait for room and those being handled right now. `now` is trio time.
        """
        held = () if self.inbox is None else self.inbox.handling
        heads = (
            next(iter(all_), None) for all_ in (self.queue, self._senders, self.returned, held)
        )
        return max((now - head.sent_at for head in heads if head is not None), default=0.0)

    # What follows is for the reader, and for the supervisor, which owns the mailbox.

    def take(self) -> Envelope[M] | None:
        """The oldest message, which leaves the queue; whoever waited longest for room gets it."""
        if self.returned:
            return self.returned.popleft()
        if not self.queue:
            return None
        envelope = self.queue.popleft()
        if self._senders:
            waiting = next(iter(self._senders))
            self.queue.append(waiting)
            trio.lowlevel.reschedule(self._senders.pop(waiting))
        return envelope

    def open_inbox(self) -> Inbox[M]:
        """The receiving side for a new incarnation; a mailbox that was closed is opened again."""
        self.stopped = False
        self.published = None
        self.inbox = Inbox(self)
        return self.inbox

    def refuse(self) -> None:
        """Take no more messages; what is queued can still be read, then the inbox ends."""
        self.stopped = True
        for task in self._senders.values():
            trio.lowlevel.reschedule(task, outcome.Error(ActorStopped(self.name)))
        self._senders.clear()
        if self.inbox is not None:
            self.inbox.wake()

    def close(self) -> None:
        """The actor is gone for good: open and queued asks fail with ActorStopped."""
        self.refuse()
        if self.inbox is not None:
            self.inbox.fail_open(ActorStopped(self.name))
            self.inbox.end()
            self.inbox = None
        for envelope in self.queue:
            if envelope.reply is not None:
                envelope.reply.fail(ActorStopped(self.name))
        self.queue.clear()
        self.returned.clear()


class Inbox(Generic[M]):
    """The receiving side that one incarnation works on, from one task.

    `async for envelope in inbox` ends when a stop is requested and, on a stop for good, what was
    queued has been read. (On a stop for a restart it ends at once: the queue is for the next
    incarnation.) A message counts as being handled until the next `receive`.
    """

    def __init__(self, mailbox: Mailbox[M]) -> None:
        self._mailbox = mailbox
        self._ended = False
        self._reader: trio.lowlevel.Task | None = None
        self._in_a_row = 0
        self._open: dict[Reply[Any], None] = {}
        self.handling: dict[Envelope[M], bool] = {}
        """Messages read and not finished; True: nothing has been published since."""
        self.last_read_at: float | None = None
        """Trio time when a message was read last."""

    def __aiter__(self) -> Inbox[M]:
        return self

    async def __anext__(self) -> Envelope[M]:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def receive(self) -> Envelope[M]:
        """The next message; what was read before counts as done. Safe under a deadline.

        No checkpoint while messages wait (see `IN_A_ROW`). Cancelled, it leaves the queue as it
        was. Raises trio.EndOfChannel when the actor is to end.
        """
        self.handling.clear()
        while not self._ended:
            if self._in_a_row < IN_A_ROW:
                envelope = self.receive_nowait()
                if envelope is not None:
                    self._in_a_row += 1
                    return envelope
                if self._mailbox.stopped:
                    break
                await self._arrival()
            else:
                await trio.lowlevel.checkpoint()
            self._in_a_row = 0
        raise trio.EndOfChannel

    async def _arrival(self) -> None:
        """Waits until there may be something to do. (No deadline: an actor waits for its next
        message as long as it takes.)"""
        self._reader = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._reader = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def more(self) -> bool:
        """Whether the next `receive` gives a message at once, without a turn for others."""
        if self._ended or self._in_a_row >= IN_A_ROW:
            return False
        mailbox = self._mailbox
        while mailbox.returned or mailbox.queue:
            head = mailbox.returned[0] if mailbox.returned else mailbox.queue[0]
            if head.reply is None or head.reply.open:
                return True
            mailbox.take()  # its asker has left
        return False

    @property
    def waiting(self) -> int:
        """How many messages are waiting."""
        return self._mailbox.depth

    def receive_nowait(self) -> Envelope[M] | None:
        """The next message if one is waiting. What was read before goes on being handled."""
        while not self._ended:
            envelope = self._mailbox.take()
            if envelope is None:
                return None
            reply = envelope.reply
            if reply is not None:
                if not reply.open:
                    continue  # the asker has left
                reply.held_in(self._open)
            self.last_read_at = trio.current_time()
            self.handling[envelope] = True
            return envelope
        return None

    def receive_waiting(self, limit: int) -> list[Envelope[M]]:
        """Up to `limit` messages that are waiting now, for batches: all of them, together with the
        one `receive` gave, are being handled until the next `receive`."""
        batch: list[Envelope[M]] = []
        while len(batch) < limit and (envelope := self.receive_nowait()) is not None:
            batch.append(envelope)
        return batch

    # What follows is for the mailbox, the runtime and the supervisor.

    def wake(self) -> None:
        """There may be something to do."""
        reader = self._reader
        if reader is not None:
            self._reader = None
            trio.lowlevel.reschedule(reader)

    def published(self, state: object) -> None:
        """State that may contain the effect of what is being handled is safe: never hand it out
        again."""
        self._mailbox.published = state
        for envelope in self.handling:
            self.handling[envelope] = False

    def end(self) -> None:
        """Ends the iteration now, a waiting `receive` included. The queue stays as it is."""
        self._ended = True
        self.wake()

    def fail_open(self, error: AskFailed) -> None:
        """Every ask that this incarnation has read and not answered fails with `error`."""
        for reply in list(self._open):
            reply.fail(error)

    def abandon(self, *, redeliver: bool) -> None:
        """The incarnation is over. `redeliver`: put back the told messages it was handling."""
        self.end()
        self.fail_open(ActorCrashed(self._mailbox.name))
        if redeliver:
            self._mailbox.returned.extendleft(
                msgspec.structs.replace(envelope, redelivered=True)
                for envelope, unpublished in reversed(self.handling.items())
                if unpublished and envelope.reply is None and not envelope.redelivered
            )
        self.handling.clear()
