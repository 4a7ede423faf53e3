"""Clients' settings in memory, for the settings guard in virtual time."""

from __future__ import annotations

from collections.abc import Callable

import trio

from protocol.client_plan import ClientPlan, plan
from protocol.config import Config
from protocol.pointing import ClientFile
from protocol.secrets import Secret

SETTINGS = "/home/me/.claude/settings.json"


class MemoryClients:
    """`done` is what happened, in order, with its time. The rest says how the world is."""

    def __init__(self, config: Callable[[], Config]) -> None:
        self.config = config
        self.key: Secret | None = None
        self.reachable = True
        self.pointed = False
        self.pending = False
        self.two_steps = False
        self.refuses = ""
        self.taken = ""
        self.by_hand = False
        self.done: list[tuple[float, str]] = []

    def plan(self) -> ClientPlan | None:
        return plan(self.config(), SETTINGS, "", tls=False)

    async def answers(self) -> bool:
        await trio.lowlevel.checkpoint()
        return self.reachable

    async def point(self, plan: ClientPlan) -> tuple[ClientFile, ...]:
        await trio.lowlevel.checkpoint()
        if self.refuses:
            return (ClientFile(SETTINGS, "stood back", self.refuses),)
        if not self.pointed:
            self._note("pointed")
        self.pointed, self.pending = True, False
        return (ClientFile(SETTINGS, "pointed", "", ("ANTHROPIC_BASE_URL",)),)

    async def changed_by_others(self, paths: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        await trio.lowlevel.checkpoint()
        if not self.taken or SETTINGS not in paths:
            return ()
        self.pointed = False
        return ((SETTINGS, self.taken),)

    async def held(self) -> tuple[ClientFile, ...]:
        await trio.lowlevel.checkpoint()
        if not self.by_hand:
            return ()
        self.pointed = True
        return (ClientFile(SETTINGS, "pointed", "", ("ANTHROPIC_BASE_URL",)),)

    async def restore(self) -> float | None:
        await trio.lowlevel.checkpoint()
        if self.pointed:
            self._note("restored")
            self.pointed, self.pending = False, self.two_steps
        return 5.0 if self.pending else None

    async def finish(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.pending:
            self._note("finished")
        self.pending = False

    def _note(self, what: str) -> None:
        self.done.append((trio.current_time(), what))

    @property
    def what(self) -> list[str]:
        """What happened, without the times."""
        return [what for _, what in self.done]
