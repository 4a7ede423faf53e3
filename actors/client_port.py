"""Clients' settings as a port: what the settings guard does to them, so that tests can stand in."""

from __future__ import annotations

from typing import Protocol

from protocol.client_plan import ClientPlan
from protocol.pointing import ClientFile


class ClientPort(Protocol):
    """The clients' settings. Nothing here raises for what files can do: the answers say it."""

    def plan(self) -> ClientPlan | None:
        """What the configuration in force asks for; None: leave clients alone."""
        ...

    async def answers(self) -> bool:
        """Whether a client would reach this program."""
        ...

    async def point(self, plan: ClientPlan) -> tuple[ClientFile, ...]:
        """Points every file, or stands back."""
        ...

    async def changed_by_others(self, paths: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        """Those of `paths`, which we pointed, that somebody pointed elsewhere, each with what was
        found. They are let go."""
        ...

    async def held(self) -> tuple[ClientFile, ...]:
        """Files that were pointed here by hand (`client apply`)."""
        ...

    async def restore(self) -> float | None:
        """Puts back; None when that is all, else seconds until `finish` is due."""
        ...

    async def finish(self) -> None:
        """The second step."""
        ...
