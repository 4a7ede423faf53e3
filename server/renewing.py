"""A request's side of keeping logins fresh: it waits for a new token only when it must."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from actors.asking import insist
from actors.mailbox import AskFailed, Mailbox
from actors.messages import RefreshMessage, Renew
from protocol.config import Refresh
from protocol.dispatch import Lease
from protocol.verdict import AUTH
from server.attempt import Failed, Served

MORE_SECONDS = 2.0
"""Beside the token endpoint's own time; a request does not wait for locks and second tries."""

UNAUTHORIZED = 401


class RefreshPorts(Protocol):
    """What this needs of `server.desk.Ports`."""

    @property
    def refresh(self) -> Mailbox[RefreshMessage]: ...

    @property
    def refresh_policy(self) -> Callable[[], Refresh]: ...

    @property
    def wall_clock(self) -> Callable[[], float]: ...


def time_left(lease: Lease, ports: RefreshPorts) -> float | None:
    """Seconds until the token of a login expires; None for all other credentials."""
    credential = lease.credential
    if credential is None or not credential.login or credential.expires_at is None:
        return None
    return credential.expires_at - ports.wall_clock()


def refused(lease: Lease, result: Failed | Served) -> bool:
    """Whether the upstream refused a token that could be renewed."""
    return (
        isinstance(result, Failed)
        and result.status == UNAUTHORIZED
        and result.verdict.reason == AUTH
        and lease.credential is not None
        and bool(lease.credential.login)
    )


async def renewed(lease: Lease, ports: RefreshPorts, *, forced: bool) -> Lease | None:
    """`lease` with the token that there is after a renewal; None when it is the same one."""
    credential = lease.credential
    if credential is None or not credential.login:
        return None
    question = Renew(lease.account, credential.secret, forced)
    try:
        found = await insist(
            ports.refresh, question, timeout=ports.refresh_policy().timeout + MORE_SECONDS
        )
    except AskFailed:
        return None  # in time it is not to be had: the old token will have to do
    if found is None or found.secret == credential.secret:
        return None
    return msgspec.structs.replace(lease, credential=found)
