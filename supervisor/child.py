"""What to supervise, as data: `supervisor/tree.py` is a literal made of these."""

from __future__ import annotations

from typing import Any

import msgspec

from actors.mailbox import Mailbox
from actors.runtime import Run
from protocol.restart import Restarting, RestartPolicy, Strategy


class ChildSpec(msgspec.Struct, frozen=True):
    """One actor: how it starts, what its end means, how long it may take. Times in seconds."""

    name: str
    run: Run
    mailbox: Mailbox[Any] | None = None
    """None: the actor reads no messages (the engine gives it an empty mailbox of its own)."""
    restart: Restarting = "permanent"
    policy: RestartPolicy = RestartPolicy()
    start_timeout: float = 10.0
    """From its start to `context.ready()`; past it, it is cancelled and that counts as a crash."""
    shutdown_timeout: float = 5.0
    """From being asked to stop to being cancelled."""
    lingers: bool = False
    """What it shields itself for has an end, and breaking that off does harm: past its time the stop
    goes on without it, which is no crash, and the process waits for it (`Supervisor.linger`)."""
    redeliver: bool = False
    """Give a told message that was being handled in a crash once more to the next incarnation."""
    stuck_after: float | None = 30.0
    """Restart it when messages wait and it has finished none for this long. None: never."""


class GroupSpec(msgspec.Struct, frozen=True):
    """Actors that live and fall together as `strategy` says, in start order."""

    name: str
    strategy: Strategy
    children: tuple[ChildSpec, ...] = ()
