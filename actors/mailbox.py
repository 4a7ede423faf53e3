"""The mailbox of an actor: bounded, and longer-lived than the actor.

The supervisor keeps the mailbox; each incarnation of the actor reads it through its own `Inbox`, a
clone of the receiving end. If the incarnation's end were the only one, a crash would break every
sender and lose the queue. So what is queued is simply served by the next incarnation, and what the
crashed one held is settled here: open asks fail with `ActorCrashed` at once, a told message is put
back (once) if its child spec wants that.

Arrival times are kept beside the channel because a trio channel cannot be looked into, and the age
of the oldest message is what tells a stuck actor from an idle one.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Generic, TypeVar, cast

import msgspec
import trio

from actors.reply import ActorCrashed, ActorStopped, AskFailed, AskTimeout, Reply
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


class Envelope(msgspec.Struct, Generic[M], frozen=True, eq=False):
    """A message on its way. `reply` is None for a told message; `sent_at` is trio time.

    `redelivered` marks a told message whose first reader crashed over it.
    """

    message: M
    reply: Reply[Any] | None
    sent_at: float
    redelivered: bool = False

    def reply_to(self, question: Question[R]) -> Reply[R]:
        """This envelope's reply, typed by the question it carries (pass `envelope.message`).

        Never fails for a message out of a mailbox: `tell` refuses questions.
        """
        if self.reply is None or question is not self.message:
            raise TypeError(f"no reply to {type(question).__name__} in this envelope")
        return self.reply


class Mailbox(Generic[M]):
    """The sending side, for everybody who knows the actor."""

    def __init__(self, name: str, capacity: int = CAPACITY) -> None:
        if capacity < 1:
            raise ValueError(f"mailbox {name}: capacity must be at least 1, not {capacity}")
        self.name = name
        self.capacity = capacity
        self.inbox: Inbox[M] | None = None
        self.returned: deque[Envelope[M]] = deque()
        self._queued: dict[Envelope[M], None] = {}
        self._open_channel()

    def _open_channel(self) -> None:
        self._send, self._receive = trio.open_memory_channel[Envelope[M]](self.capacity)
        self._stopped = False

    async def tell(self, message: M) -> None:
        """Send without wanting an answer; waits for room as long as it takes (set a deadline).

        Raises ActorStopped if the actor is stopping or stopped for good.
        """
        await self._put(self._told(message))

    def tell_nowait(self, message: M) -> bool:
        """Send if there is room; False if there is none. Raises ActorStopped like `tell`."""
        envelope = self._told(message)
        self._queued[envelope] = None
        try:
            self._send.send_nowait(envelope)
        except trio.WouldBlock:
            del self._queued[envelope]
            return False
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            del self._queued[envelope]
            raise ActorStopped(self.name) from None
        return True

    async def ask(
        self,
        question: Question[R],
        *,
        timeout: float,  # noqa: ASYNC109 - it names itself in the error, unlike the deadline of a caller
    ) -> R:
        """The actor's answer, within `timeout` seconds, the wait for room included.

        Raises ActorCrashed (ask again), ActorStopped, AskTimeout, or what the actor failed it with.
        A question whose asker has left is never executed afterwards.
        """
        reply: Reply[R] = Reply()
        envelope = Envelope(cast("M", question), reply, trio.current_time())
        try:
            with trio.move_on_after(max(0.0, timeout)):
                await self._put(envelope)
                return await reply.wait()
        finally:
            reply.leave()
        raise AskTimeout(self.name, timeout)

    def _told(self, message: M) -> Envelope[M]:
        if isinstance(message, Question):
            # Refused at the sender, whose mistake it is; the actor would have nobody to answer.
            raise TypeError(f"{type(message).__name__} wants an answer: ask it, do not tell it")
        return Envelope(message, None, trio.current_time())

    async def _put(self, envelope: Envelope[M]) -> None:
        self._queued[envelope] = None
        try:
            await self._send.send(envelope)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            self._queued.pop(envelope, None)
            raise ActorStopped(self.name) from None
        except BaseException:
            # Cancelled while it waited for room: nothing has been sent.
            self._queued.pop(envelope, None)
            raise

    @property
    def depth(self) -> int:
        """Messages waiting to be read; the one being handled is not counted."""
        return self._receive.statistics().current_buffer_used + len(self.returned)

    def oldest_message_age(self, now: float) -> float:
        """Seconds since the oldest unfinished message was sent; 0.0 if there is none.

        Counts messages that wait for room and those being handled right now. `now` is trio time.
        """
        heads = [next(iter(self._queued), None), self.returned[0] if self.returned else None]
        if self.inbox is not None:
            heads.append(next(iter(self.inbox.handling), None))
        return max((now - head.sent_at for head in heads if head is not None), default=0.0)

    # What follows is for the supervisor, which owns the mailbox.

    def open_inbox(self) -> Inbox[M]:
        """The receiving side for a new incarnation; a mailbox that was closed is opened again."""
        if self._stopped:
            self._open_channel()
        self.inbox = Inbox(self, self._receive.clone())
        return self.inbox

    def refuse(self) -> None:
        """Take no more messages; what is queued can still be read, then the inbox ends."""
        self._stopped = True
        self._send.close()

    def close(self) -> None:
        """The actor is gone for good: open and queued asks fail with ActorStopped."""
        self.refuse()
        if self.inbox is not None:
            self.inbox.fail_open(ActorStopped(self.name))
            self.inbox.end()
            self.inbox = None
        self._receive.close()
        for envelope in self._queued:
            if envelope.reply is not None:
                envelope.reply.fail(ActorStopped(self.name))
        self._queued.clear()
        self.returned.clear()

    def forget(self, envelope: Envelope[M]) -> None:
        """It has left the queue."""
        self._queued.pop(envelope, None)


class Inbox(Generic[M]):
    """The receiving side that one incarnation works on, from one task.

    `async for envelope in inbox` ends when a stop is requested and, on a stop for good, what was
    queued has been read. (On a stop for a restart it ends at once: the queue is for the next
    incarnation.) A message counts as being handled until the next `receive`.
    """

    def __init__(
        self, mailbox: Mailbox[M], channel: trio.MemoryReceiveChannel[Envelope[M]]
    ) -> None:
        self._mailbox = mailbox
        self._channel = channel
        self._ended = False
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

        Cancelled, it leaves the queue as it was. Raises trio.EndOfChannel when the actor is to end.
        """
        self.handling.clear()
        while not self._ended:
            if self._mailbox.returned:
                await trio.lowlevel.checkpoint()
            else:
                try:
                    envelope = await self._channel.receive()
                except trio.ClosedResourceError:
                    break
                # No checkpoint between here and the return: the envelope exists nowhere else.
                if self._accept(envelope):
                    return envelope
            returned = self.receive_nowait()
            if returned is not None:
                return returned
        raise trio.EndOfChannel

    def receive_nowait(self) -> Envelope[M] | None:
        """The next message if one is waiting. What was read before goes on being handled."""
        while not self._ended:
            if self._mailbox.returned:
                envelope = self._mailbox.returned.popleft()
            else:
                try:
                    envelope = self._channel.receive_nowait()
                except (trio.WouldBlock, trio.EndOfChannel):
                    return None
            if self._accept(envelope):
                return envelope
        return None

    def receive_waiting(self, limit: int) -> list[Envelope[M]]:
        """Up to `limit` messages that are waiting now, for batches: all of them, together with the
        one `receive` gave, are being handled until the next `receive`."""
        batch: list[Envelope[M]] = []
        while len(batch) < limit and (envelope := self.receive_nowait()) is not None:
            batch.append(envelope)
        return batch

    def _accept(self, envelope: Envelope[M]) -> bool:
        self._mailbox.forget(envelope)
        self.last_read_at = trio.current_time()
        if envelope.reply is not None:
            if not envelope.reply.open:
                return False
            envelope.reply.held_in(self._open)
        self.handling[envelope] = True
        return True

    # What follows is for the runtime and the supervisor.

    def published(self) -> None:
        """State that may contain the effect of what is being handled is safe: never hand it out
        again."""
        self.handling = dict.fromkeys(self.handling, False)

    def end(self) -> None:
        """Ends the iteration now, a waiting `receive` included. The queue stays as it is."""
        self._ended = True
        self._channel.close()

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
