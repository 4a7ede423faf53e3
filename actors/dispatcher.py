"""Chooses who serves a request. The decisions are in `protocol.dispatch` and `protocol.waiting`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
import trio

from actors.mailbox import ActorStopped, Envelope, Mailbox, Reply
from actors.messages import (
    AccountChanged,
    AccountMessage,
    AccountRemoved,
    Acquire,
    Again,
    Describe,
    DispatcherMessage,
    EgressLimited,
    FreeEgress,
    PublishYourself,
    Release,
    Restrategize,
)
from actors.runtime import Context
from protocol import dispatch as machine
from protocol import egress, waiting
from protocol.accounts import AccountState
from protocol.dispatch import DispatchState, Later, Lease, Refusal
from protocol.waiting import Line, Waiter

CLIENTS_MAX = 256
"""Credentials of clients that are followed one by one; those past it are served all the same."""


class DispatcherActor:
    """Answers every ask from its snapshots: at once, or when the ramp of an account lets it.

    `initial` gives the state before any snapshot has come, `accounts` the mailboxes of the
    account actors, and `adopt` starts an actor for a client's credential seen for the first time.
    """

    def __init__(
        self,
        initial: Callable[[], DispatchState],
        accounts: Callable[[], Iterable[Mailbox[AccountMessage]]],
        adopt: Callable[[str], None],
    ) -> None:
        self._initial = initial
        self._accounts = accounts
        self._adopt = adopt

    async def run(self, context: Context[DispatcherMessage, DispatchState]) -> None:
        """Until the program stops."""
        state = machine.begun(self._initial(), context.restored, context.incarnation)
        for mailbox in self._accounts():
            # No wait: an account whose mailbox is full pushes a snapshot with its next message.
            _ask_for_snapshot(mailbox)
        context.ready()
        await _Life(context, state, self._accounts, self._adopt).run()


class _Life:
    """One incarnation: its state, and who waits in line. The replies of those are open asks of the
    inbox, so a crash fails them and they are asked again."""

    def __init__(
        self,
        context: Context[DispatcherMessage, DispatchState],
        state: DispatchState,
        accounts: Callable[[], Iterable[Mailbox[AccountMessage]]],
        adopt: Callable[[str], None],
    ) -> None:
        self._context = context
        self._state = state
        self._known: DispatchState | None = None  # to the next life
        self._accounts = accounts
        self._adopt = adopt
        self._line = Line()
        self._replies: dict[int, Reply[Lease | Refusal]] = {}
        self._tickets = 0

    async def run(self) -> None:
        try:
            while True:
                envelope = await self._next()
                if self._replies and (envelope is None or envelope.reply is not None):
                    # Who waits comes before who has just come. (A told message comes first: to
                    # publish anything before it has taken effect would lose it in a crash.)
                    self._let_through()
                if envelope is not None:
                    self._handle(envelope)
                    if self._replies:
                        self._let_through()
        except trio.EndOfChannel:
            self._let_through(patient=False)

    async def _next(self) -> Envelope[DispatcherMessage] | None:
        """The next message; None when somebody in line is due before one comes."""
        if not self._replies:
            # No deadline: an actor waits for its next message as long as it takes.
            return await self._context.mailbox.receive()
        with trio.move_on_at(waiting.due(self._state, self._line)):
            return await self._context.mailbox.receive()
        return None

    def _handle(self, envelope: Envelope[DispatcherMessage]) -> None:
        message = envelope.message
        if isinstance(message, Acquire | Again):
            self._choose(message, envelope.reply_to(message))
        else:
            self._note(envelope)
        if self._state is not self._known:
            self._publish()

    def _publish(self) -> None:
        self._known = self._state
        self._context.publish(self._state)

    def _note(self, envelope: Envelope[DispatcherMessage]) -> None:
        state = self._state
        match envelope.message:
            case Release() as release:
                self._state = machine.released(state, release)
            case EgressLimited() as event:
                self._state = egress.limited(state, event, trio.current_time())
            case FreeEgress() as question:
                envelope.reply_to(question).send(None)
                self._state = egress.freed(state, question.account)
            case AccountChanged() as event:
                self._state = machine.changed(state, event)
            case AccountRemoved() as event:
                self._state = machine.removed(state, event)
            case Describe() as question:
                envelope.reply_to(question).send(machine.seen(state, self._published()))
            case Restrategize(strategy=strategy):
                self._state = machine.restrategized(state, strategy)

    def _published(self) -> Iterable[AccountState]:
        """The accounts as they are now: what no choice depends on, they publish and do not tell."""
        for mailbox in self._accounts():
            if isinstance(mailbox.published, AccountState):
                yield mailbox.published

    def _choose(self, question: Acquire | Again, reply: Reply[Lease | Refusal]) -> None:
        now = trio.current_time()
        if isinstance(question, Acquire):
            ask = question
            self._state, outcome = waiting.choose(self._state, self._line, ask, now)
        else:
            ask = question.ask
            self._state, outcome = machine.choose_again(self._state, question, now)
        if isinstance(outcome, Later):
            self._tickets += 1
            self._wait(Waiter(self._tickets, ask, now, outcome.account), reply)
        else:
            self._hand_over(outcome, reply)

    def _wait(self, waiter: Waiter, reply: Reply[Lease | Refusal]) -> None:
        self._line = waiting.joined(self._line, waiter)
        self._replies[waiter.ticket] = reply

    def _let_through(self, *, patient: bool = True) -> None:
        """Everybody in line who need not wait any more; all of them without patience."""
        now = trio.current_time()
        at = now if patient else waiting.NEVER
        while (waiter := waiting.ready(self._state, self._line, at)) is not None:
            self._line = waiting.left(self._line, waiter)
            reply = self._replies.pop(waiter.ticket)
            if not reply.open:
                continue  # the asker has left
            self._state, outcome = waiting.choose_for(self._state, waiter, now, patient=patient)
            if isinstance(outcome, Later):
                self._wait(msgspec.structs.replace(waiter, account=outcome.account), reply)
            else:
                self._hand_over(outcome, reply)

    def _hand_over(self, outcome: Lease | Refusal, reply: Reply[Lease | Refusal]) -> None:
        # Before it is handed over: a lease that the next life does not know of would be given
        # twice, and its release would count for another's.
        self._publish()
        taken = reply.send(outcome)
        if isinstance(outcome, Refusal):
            return
        state = self._state
        if not taken:  # the asker has left: the lease comes back
            self._state = machine.released(state, Release(outcome.id, outcome.account))
            self._publish()
        elif not state.strategy.pool and outcome.account not in state.accounts:
            clients = sum(known.spec.kind == "client" for known in state.accounts.values())
            if clients < CLIENTS_MAX:
                self._adopt(outcome.account)


def _ask_for_snapshot(mailbox: Mailbox[AccountMessage]) -> None:
    try:
        mailbox.tell_nowait(PublishYourself())
    except ActorStopped:
        return  # removed a moment ago
