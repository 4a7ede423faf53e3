"""What `/status/actors` says, and the report of a crash."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

ActorState = Literal["running", "restarting", "failed", "stopped"]
"""restarting: not ready yet, or waiting for its next start. failed: over, through no wish of ours.
stopped: over as asked, or by its own normal end."""


class CrashReport(msgspec.Struct, frozen=True):
    """An actor's unwanted end, fit for logs: one line each, bounded, without credentials."""

    actor: str
    incarnation: int
    at: datetime
    """UTC."""
    type: str
    """Class of the exception, or `Stuck`, `StartTimeout`, `UnexpectedEnd`."""
    message: str
    where: str
    """`file.py:line in function`, the innermost frame of our own code; may be empty."""
    while_handling: str | None
    """Type of the message that was being handled."""


class LastCrash(msgspec.Struct, frozen=True):
    """The part of a crash report that `/status` shows."""

    at: datetime
    type: str
    message: str
    where: str


class ActorStatus(msgspec.Struct, frozen=True):
    """One entry of `actors` in `/status`."""

    name: str
    state: ActorState
    incarnation: int
    restarts: int
    last_crash: LastCrash | None
    mailbox: int
    """Messages waiting."""
    oldest_message_age: float
    """Seconds; counts the message being handled."""
