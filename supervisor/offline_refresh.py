"""`auth refresh` while no instance runs: the same renewal, under the same locks."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Literal

import trio

from actors.login_writing import renew_once
from protocol.config import Config
from protocol.credentials import login_of
from protocol.login import CredentialsUnusable
from protocol.refreshing import Outcome, held_back
from supervisor.credential_disk import of_this_machine
from supervisor.logins import Logins
from supervisor.pkce_login import endpoint_of


def refresh(config: Config, state_directory: Path, name: str) -> Outcome | None:
    """What came of it; None where no login has that name."""
    disk = of_this_machine(random.Random())
    logins = Logins(disk, state_directory, lambda: config)
    subject = next((one for one in logins.subjects() if one.name == name), None)
    if subject is None:
        return None
    problem = login_of(logins.known, subject.source).problem
    if problem:
        return Outcome("unusable", problem)
    if not subject.renewable:
        kind: Literal["dead", "unusable"] = "dead" if subject.needs_login else "unusable"
        return Outcome(kind, held_back(subject))

    async def run() -> Outcome:
        post = endpoint_of(config).post
        client, now = logins.client(), time.time()
        return await renew_once(disk, logins.store, logins.notes, subject, post, client, now)

    try:
        return trio.run(run)
    except CredentialsUnusable as reason:
        return Outcome("unusable", str(reason))
    except OSError as error:
        return Outcome("unusable", str(error))
