"""One credential, and the truth about it. The decisions are in `protocol.account`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import trio

from actors.mailbox import ActorStopped, Envelope, Mailbox
from actors.messages import (
    AccountChanged,
    AccountMessage,
    DispatcherMessage,
    Probed,
    PublishYourself,
    Report,
    Reported,
    Reset,
    Respecify,
    SetEnabled,
    Used,
)
from actors.runtime import Context
from protocol import account as machine
from protocol.accounts import AccountSpec, AccountState
from protocol.benches import CooldownPolicy
from protocol.probe_answers import probed


class AccountActor:
    """Applies reports and its owner's wishes, and pushes every change to the dispatcher.

    `begin` gives the state of a life that finds none published.
    """

    def __init__(
        self,
        spec: AccountSpec,
        dispatcher: Mailbox[DispatcherMessage],
        policy: Callable[[], CooldownPolicy],
        begin: Callable[[AccountSpec], AccountState] = machine.new_account,
    ) -> None:
        self._spec = spec
        self._dispatcher = dispatcher
        self._policy = policy
        self._begin = begin

    async def run(self, context: Context[AccountMessage, AccountState]) -> None:
        """Until it is removed or the program stops."""
        state = context.restored
        if state is None:
            state = self._begin(self._spec)
            context.publish(state)  # what is left of an earlier program is told once
        await self._dispatcher.tell(AccountChanged(state))
        context.ready()
        owed = False  # the dispatcher has yet to be told
        async for envelope in context.mailbox:
            message = envelope.message
            changed = self._step(state, message)
            if changed is not state:
                owed = owed or _awaited(message) or machine.moved(state, changed)
                state = changed
                context.publish(state)
            elif isinstance(message, PublishYourself):
                owed = True
            # Of several changes that came together one snapshot tells; but who asks is answered
            # when the dispatcher has it.
            if owed and (envelope.reply is not None or not context.mailbox.more()):
                await self._push(state)
                owed = False
            _confirm(envelope, state)

    async def _push(self, state: AccountState) -> None:
        snapshot = AccountChanged(state)
        with contextlib.suppress(ActorStopped):  # it ended before us, in a drain: nobody chooses
            if not self._dispatcher.tell_nowait(snapshot):
                await self._dispatcher.tell(snapshot)

    def _step(self, state: AccountState, message: AccountMessage) -> AccountState:
        now = trio.current_time()
        match message:
            case Report(event=event) | (Reported() as event):
                return machine.report(state, event, self._policy(), now)
            case Used():
                return machine.book(state, message)
            case Probed():
                return probed(state, message, self._policy(), now)
            case SetEnabled(enabled=enabled):
                return machine.set_enabled(state, enabled)
            case Reset():
                return machine.reset(state)
            case Respecify(spec=spec):
                self._spec = spec  # also for a life that has to start clean
                return machine.respecified(state, spec)
            case PublishYourself():
                return state


def _awaited(message: AccountMessage) -> bool:
    return isinstance(message, Reported) and message.awaited


def _confirm(envelope: Envelope[AccountMessage], state: AccountState) -> None:
    """Answers once the dispatcher has the new snapshot: a next choice can only follow it."""
    message = envelope.message
    if isinstance(message, Report):
        envelope.reply_to(message).send(None)
    elif isinstance(message, SetEnabled | Reset):
        envelope.reply_to(message).send(state)
