"""A client's head as it goes upstream, worked out once for all requests that say it again.

A client on a kept connection sends the same head again and again, but for the length of its body
(`server/express_head.py`), so what is made of it is kept with it: for each account, and only for as
long as that account's credential is the same object. A renewed or a changed credential is another one.
"""

from __future__ import annotations

import msgspec

from protocol.accounts import Credential
from protocol.asked import Asked, asked
from protocol.headers import to_upstream
from protocol.leases import Acquire, Lease
from protocol.request import RequestHead, upstream_target
from server.upstream_port import UpstreamRequest

KEPT_MAX = 4
"""Accounts for which a head is kept: one, where a session stays with its account; few in a failover."""


class _Kept(msgspec.Struct, frozen=True):
    credential: Credential | None
    target: bytes
    headers: list[tuple[bytes, bytes]]
    openings: dict[tuple[bytes, bytes], bytes]


def as_sent(head: RequestHead, lease: Lease, body: bytes) -> UpstreamRequest:
    """The request of an attempt on `lease`."""
    accounts: dict[str, _Kept] = head.remembered.setdefault("as sent", {})
    kept = accounts.get(lease.account)
    if kept is None or kept.credential is not lease.credential:
        if len(accounts) >= KEPT_MAX:
            accounts.clear()
        headers = to_upstream(head.headers, lease.credential)
        kept = _Kept(lease.credential, upstream_target(head.target), headers, {})
        accounts[lease.account] = kept
    return UpstreamRequest(head.method, kept.target, kept.headers, body, kept.openings)


def asked_by(head: RequestHead, ask: Acquire) -> Asked:
    """What a request with this head asks for, of the model that `ask` names."""
    kept: Asked | None = head.remembered.get("asked")
    if kept is None or kept.model != ask.model or head.route is not ask.route:
        kept = asked(ask.route, ask.model, head.headers)
        if head.route is ask.route:
            head.remembered["asked"] = kept
    return kept
