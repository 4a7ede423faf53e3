"""What the running instance says of its accounts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from supervisor.cli import auth_place
from supervisor.stored_accounts import Shown

REFUSED = "the upstream refuses its credential"

ORIGIN = "the running instance"


class Bench(msgspec.Struct, frozen=True):
    """As on `/status`."""

    scope: str = ""
    reason: str = ""


class SeenAccount(msgspec.Struct, frozen=True):
    """One account as the instance shows it; kind `client` is no account of ours."""

    name: str
    state: str
    kind: str = ""
    expires_at: datetime | None = None
    email: str | None = None
    cooldowns: tuple[Bench, ...] = ()

    @property
    def problem(self) -> str:
        """What upstream has against it."""
        refused = any((one.scope, one.reason) == ("account", "auth") for one in self.cooldowns)
        return REFUSED if refused else ""

    def shown(self) -> Shown:
        """For an account that only the instance knows of."""
        expires = None if self.expires_at is None else self.expires_at.timestamp()
        return Shown(self.name, self.kind, ORIGIN, self.state, self.email, expires, self.problem)


def seen() -> dict[str, SeenAccount]:
    """By name; none where no instance answers, or one that speaks otherwise."""
    from supervisor.instance_client import NothingAnswers, Refused

    instance = auth_place.runs()
    if instance is None:
        return {}
    try:
        document: Any = instance.get("/status/accounts")
        found = msgspec.convert(document["accounts"], tuple[SeenAccount, ...])
    except (NothingAnswers, Refused, msgspec.ValidationError, KeyError, TypeError):
        return {}
    return {account.name: account for account in found if account.kind != "client"}
