"""Chooses who serves a request. The decisions are in `protocol.dispatch`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

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
    PublishYourself,
    Release,
    Restrategize,
)
from actors.runtime import Context
from protocol import dispatch as machine
from protocol import egress
from protocol.dispatch import DispatchState, Lease, Refusal

CLIENTS_MAX = 256
"""Credentials of clients that are followed one by one; those past it are served all the same."""


class DispatcherActor:
    """Answers every ask from its snapshots, at once.

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
        async for envelope in context.mailbox:
            message = envelope.message
            if isinstance(message, Acquire | Again):
                state, outcome = _choice(state, message)
                # Before it is handed over: a lease that the next life does not know of would be
                # given twice, and its release would count for another's.
                context.publish(state)
                state = self._hand_over(state, outcome, envelope.reply_to(message))
            else:
                state = self._step(state, message, envelope)
            context.publish(state)

    def _step(
        self,
        state: DispatchState,
        message: Release
        | EgressLimited
        | AccountChanged
        | AccountRemoved
        | Describe
        | Restrategize,
        envelope: Envelope[DispatcherMessage],
    ) -> DispatchState:
        match message:
            case Release() as release:
                return machine.released(state, release)
            case EgressLimited() as event:
                return egress.limited(state, event, trio.current_time())
            case AccountChanged() as event:
                return machine.changed(state, event)
            case AccountRemoved() as event:
                return machine.removed(state, event)
            case Describe() as question:
                envelope.reply_to(question).send(state)
                return state
            case Restrategize(strategy=strategy):
                return machine.restrategized(state, strategy)

    def _hand_over(
        self, state: DispatchState, outcome: Lease | Refusal, reply: Reply[Lease | Refusal]
    ) -> DispatchState:
        taken = reply.send(outcome)
        if isinstance(outcome, Refusal):
            return state
        if not taken:  # the asker has left: the lease comes back
            return machine.released(state, machine.Release(outcome.id, outcome.account))
        if not state.strategy.pool and outcome.account not in state.accounts:
            clients = sum(known.spec.kind == "client" for known in state.accounts.values())
            if clients < CLIENTS_MAX:
                self._adopt(outcome.account)
        return state


def _choice(
    state: DispatchState, message: Acquire | Again
) -> tuple[DispatchState, Lease | Refusal]:
    now = trio.current_time()
    if isinstance(message, Acquire):
        return egress.choose(state, message, now)
    return machine.choose_again(state, message, now)


def _ask_for_snapshot(mailbox: Mailbox[AccountMessage]) -> None:
    try:
        mailbox.tell_nowait(PublishYourself())
    except ActorStopped:
        return  # removed a moment ago
