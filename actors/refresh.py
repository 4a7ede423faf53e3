"""Keeps logins fresh: one renewal per login however many ask, ahead of expiry, without traffic.

When and what for is `protocol.refreshing`; how is the vault's. Each renewal is a task of its own,
so a token endpoint that hangs holds up nobody but those who wait for that login.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from actors.asking import insist
from actors.mailbox import AskFailed, Envelope, Mailbox, Reply
from actors.messages import (
    DeclareDead,
    Exchange,
    LoginsKnown,
    LookAt,
    RefreshMessage,
    VaultMessage,
)
from actors.runtime import Context
from protocol import refreshing as machine
from protocol.accounts import Credential
from protocol.credentials import Subject
from protocol.refreshing import Outcome, Policy, Refreshing
from protocol.status_view import Clocks

log = logging.getLogger("actors.refresh")

LOCK_AND_WRITE_SECONDS = 60.0
"""On top of the request's own time, and again for its second try: locks are waited for."""

DECLARE_SECONDS = 30.0
LOOK_SECONDS = 1.0
"""A request waits for it, with a token that it could as well send."""


class RefreshActor:
    """`subjects` are the logins at its start; `draw` gives a number from 0 to 1. `counted` is told of
    each renewal's account and the kind of its outcome."""

    def __init__(
        self,
        vault: Mailbox[VaultMessage],
        subjects: Callable[[], tuple[Subject, ...]],
        policy: Callable[[], Policy],
        wall_clock: Callable[[], float],
        draw: Callable[[], float],
        counted: Callable[[str, str], None] = lambda account, outcome: None,
    ) -> None:
        self._counted = counted
        self._vault = vault
        self._subjects = subjects
        self._policy = policy
        self._wall_clock = wall_clock
        self._draw = draw

    async def run(self, context: Context[RefreshMessage, Refreshing]) -> None:
        """Until the program stops."""
        self._context = context
        self._waiting: dict[str, list[Reply[Credential | None]]] = {}
        self._looking: dict[str, list[Reply[Credential | None]]] = {}
        restored = context.restored or Refreshing()
        # What was under way is so no longer; whoever waited has been told, and asks again.
        self._state = machine.at_rest(restored)
        subjects = self._subjects()
        self._learn(LoginsKnown(subjects))
        context.ready()
        async with trio.open_nursery() as nursery:
            for name in machine.undeclared(self._state, subjects):
                nursery.start_soon(
                    self._declare_dead, name
                )  # the life that found it did not get to it
            while True:
                envelope = None
                wait = machine.pause(self._state, self._policy(), self._clocks())
                with trio.move_on_after(wait):
                    try:
                        envelope = await context.mailbox.receive()
                    except trio.EndOfChannel:
                        break
                if envelope is not None:
                    self._handle(envelope, nursery)
                self._state, names = machine.due(
                    self._state, self._policy(), self._clocks(), self._draw
                )
                for name in names:
                    self._begin(name, nursery)
            nursery.cancel_scope.cancel()

    def _handle(self, envelope: Envelope[RefreshMessage], nursery: trio.Nursery) -> None:
        message = envelope.message
        if isinstance(message, LoginsKnown):
            self._learn(message)
            return
        reply = envelope.reply_to(message)
        decision = machine.asked(
            self._state,
            message.name,
            message.held,
            self._policy(),
            self._clocks(),
            forced=message.forced,
            by_hand=message.by_hand,
        )
        if decision == "no" and machine.worth_a_look(
            self._state, message.name, self._clocks(), forced=message.forced
        ):
            self._look_first(message.name, reply, nursery)
            return
        if decision not in ("begin", "join"):
            reply.send(self._credential(message.name))
            return
        self._waiting.setdefault(message.name, []).append(reply)
        if decision == "begin":
            self._begin(message.name, nursery)

    def _look_first(
        self, name: str, reply: Reply[Credential | None], nursery: trio.Nursery
    ) -> None:
        """The vault looks once a second; whoever is about to send a token that is no good does not
        wait for that."""
        waiting = self._looking.setdefault(name, [])
        waiting.append(reply)
        if len(waiting) == 1:
            nursery.start_soon(self._look_at, name, self._state.entries[name].subject)

    async def _look_at(self, name: str, known: Subject) -> None:
        try:
            found = await insist(self._vault, LookAt(known.source), timeout=LOOK_SECONDS)
        except AskFailed:
            found = None  # the token there is will have to do
        credential = self._credential(name) if found is None else found.credential
        for reply in self._looking.pop(name):
            reply.send(credential)

    def _learn(self, message: LoginsKnown) -> None:
        state = machine.learned(self._state, message.subjects, self._clocks(), self._draw)
        if state != self._state:
            self._publish(state)

    def _begin(self, name: str, nursery: trio.Nursery) -> None:
        subject = self._state.entries[name].subject
        self._publish(machine.begun(self._state, name))
        nursery.start_soon(self._renew, subject)

    async def _renew(self, subject: Subject) -> None:
        name = subject.name
        outcome = await self._exchange(subject)
        self._counted(name, outcome.kind)
        state, follows = machine.ended(
            self._state, name, outcome, self._policy(), self._clocks(), self._draw
        )
        self._publish(state)
        if follows.warning:
            log.warning("%s", follows.warning)
        elif follows.note:
            log.info("%s", follows.note)
        if follows.dead:
            await self._declare_dead(subject.name)
        for reply in self._waiting.pop(name, []):
            reply.send(self._credential(name))

    async def _exchange(self, subject: Subject) -> Outcome:
        limit = 2 * self._policy().timeout + LOCK_AND_WRITE_SECONDS
        try:
            return await insist(self._vault, Exchange(subject), timeout=limit)
        except AskFailed as failure:
            return Outcome("unusable", str(failure))

    async def _declare_dead(self, name: str) -> None:
        entry = self._state.entries.get(name)
        if entry is None:
            return
        try:
            await insist(self._vault, DeclareDead(entry.subject), timeout=DECLARE_SECONDS)
        except AskFailed as failure:
            log.error("that account %s needs a login is not remembered: %s", name, failure)

    def _credential(self, name: str) -> Credential | None:
        entry = self._state.entries.get(name)
        return None if entry is None else entry.subject.credential

    def _publish(self, state: Refreshing) -> None:
        self._state = state
        self._context.publish(state)

    def _clocks(self) -> Clocks:
        return Clocks(trio.current_time(), self._wall_clock())
