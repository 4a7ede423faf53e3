"""The account actors while the program runs: who exists, and keeping that in line."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import TypeAlias

import trio

from actors.mailbox import ActorStopped, Mailbox
from actors.messages import AccountMessage, AccountRemoved, DispatcherMessage, Respecify
from protocol.account import respecified
from protocol.accounts import AccountSpec, AccountState
from supervisor.child import ChildSpec
from supervisor.engine import Supervisor

GROUP = "accounts"
PREFIX = "account/"


CLIENT_KIND = "client"
TELL_SECONDS = 5.0
"""For an actor to take a message; one that has not by then is replaced."""

log = logging.getLogger("supervisor")

MakeActor: TypeAlias = Callable[[AccountSpec, Mailbox[AccountMessage]], ChildSpec]


class Roster:
    """`client` gives the spec of a credential that is not ours (passthrough mode)."""

    def __init__(
        self, dispatcher: Mailbox[DispatcherMessage], client: Callable[[str], AccountSpec]
    ) -> None:
        self._dispatcher = dispatcher
        self._client = client
        self._members: dict[str, tuple[AccountSpec, Mailbox[AccountMessage]]] = {}
        self._make: MakeActor | None = None
        self._engine: Supervisor | None = None
        self._nursery: trio.Nursery | None = None

    def start_with(self, specs: Iterable[AccountSpec], make: MakeActor) -> tuple[ChildSpec, ...]:
        """The children that the tree starts with; `make` makes them and all that come later."""
        self._make = make
        return tuple(self._enlist(spec) for spec in specs)

    def bind(self, engine: Supervisor, nursery: trio.Nursery) -> None:
        """From here on actors can be added and removed; `nursery` starts those of clients."""
        self._engine = engine
        self._nursery = nursery

    def mailbox(self, name: str) -> Mailbox[AccountMessage] | None:
        """The mailbox of an account's actor, if there is such an account."""
        member = self._members.get(name)
        return member[1] if member else None

    def mailboxes(self) -> list[Mailbox[AccountMessage]]:
        """Everybody's."""
        return [mailbox for _, mailbox in self._members.values()]

    def known(self, spec: AccountSpec) -> AccountState | None:
        """The account as its actor published it last, under its present configuration."""
        published = self._engine.published(PREFIX + spec.name) if self._engine else None
        return respecified(published, spec) if isinstance(published, AccountState) else None

    def adopt(self, name: str) -> None:
        """Starts an actor for a client's credential; returns at once."""
        if name not in self._members and self._nursery is not None:
            child = self._enlist(self._client(name))
            self._nursery.start_soon(self._add, child)

    async def align(self, wanted: Iterable[AccountSpec]) -> None:
        """Adds, changes and removes actors so that they are `wanted`; requests in flight go on.

        In this order, so that there is never a moment without an account.
        """
        specs = {spec.name: spec for spec in wanted}
        for name, spec in specs.items():
            if name not in self._members:
                await self._add(self._enlist(spec))
            elif spec != self._members[name][0]:
                await self._change(spec)
        for name, (known, _) in list(self._members.items()):
            if name not in specs and known.kind != CLIENT_KIND:
                await self._dismiss(name)

    async def _change(self, spec: AccountSpec) -> None:
        _, mailbox = self._members[spec.name]
        with trio.move_on_after(TELL_SECONDS), contextlib.suppress(ActorStopped):
            await mailbox.tell(Respecify(spec))
            self._members[spec.name] = (spec, mailbox)
            return
        # Given up, or too far behind to be told: a new one, which knows nothing of old benches.
        log.warning("account %s is started anew with its new configuration", spec.name)
        await self._add(self._enlist(spec))

    async def _dismiss(self, name: str) -> None:
        del self._members[name]
        # First the choice, then the actor: no lease is given for an actor that is going.
        await self._tell_removed(name)
        await self._remove(name)
        await self._tell_removed(name)  # a last snapshot may have come

    async def _tell_removed(self, name: str) -> None:
        with trio.move_on_after(TELL_SECONDS) as limit, contextlib.suppress(ActorStopped):
            await self._dispatcher.tell(AccountRemoved(name))
        if limit.cancelled_caught:
            log.error("the dispatcher was not told that account %s is gone", name)

    def _enlist(self, spec: AccountSpec) -> ChildSpec:
        if self._make is None:
            raise RuntimeError("an account before the tree was made")
        mailbox: Mailbox[AccountMessage] = Mailbox(PREFIX + spec.name)
        self._members[spec.name] = (spec, mailbox)
        return self._make(spec, mailbox)

    async def _add(self, child: ChildSpec) -> None:
        if self._engine is None:
            raise RuntimeError("an account is added before the program runs")
        try:
            await self._engine.add(GROUP, child)
        except ActorStopped:
            return  # the program is stopping
        except ValueError:  # one of that name is still there, given up or on its way out
            await self._remove(child.name.removeprefix(PREFIX))
            await self._engine.add(GROUP, child)

    async def _remove(self, name: str) -> None:
        if self._engine is not None:
            with contextlib.suppress(KeyError):  # it has just gone
                await self._engine.remove(GROUP, PREFIX + name)
