"""`GET /status` as data: the fields of `interface.md`, made from what the actors know."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any

import msgspec

from protocol.accounts import AccountState, Cooldown, Scope
from protocol.dispatch import Acquire, DispatchState, Lease
from protocol.egress import choose
from protocol.quota import Quota
from protocol.request import Route
from protocol.status import ActorStatus


class Clocks(msgspec.Struct, frozen=True):
    """The same moment on both clocks: `monotonic` and `wall` (epoch) seconds."""

    monotonic: float
    wall: float

    def text(self, monotonic: float) -> str:
        """A moment of the monotonic clock as RFC 3339 UTC."""
        return utc(self.wall + monotonic - self.monotonic)


def utc(epoch: float) -> str:
    """Epoch seconds as RFC 3339 UTC, to the second."""
    moment = datetime.datetime.fromtimestamp(epoch, datetime.UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def account_view(state: DispatchState, account: AccountState, clocks: Clocks) -> dict[str, Any]:
    """One entry of `accounts`."""
    return {
        "name": account.name,
        "kind": account.spec.kind,
        "state": account.status(clocks.monotonic),
        "enabled": account.enabled,
        "expires_at": _expires_at(account),
        "email": account.spec.email,
        "cooldowns": [
            _cooldown_view(cooldown, clocks)
            for cooldown in account.active_cooldowns(clocks.monotonic)
        ],
        "quota": _quota_view(account.quota, clocks.wall),
        "representative_claim": account.quota.representative_claim,
        "counters": msgspec.to_builtins(account.counters),
        "tokens": msgspec.to_builtins(account.tokens),
        "in_flight": state.in_flight.get(account.name, 0),
        "last_request_at": None
        if account.last_request_at is None
        else utc(account.last_request_at),
        "last_error": account.last_error,
    }


def _expires_at(account: AccountState) -> str | None:
    credential = account.spec.credential
    if credential is None or credential.expires_at is None:
        return None
    return utc(credential.expires_at)


def _quota_view(quota: Quota, now: float) -> dict[str, Any]:
    """Each window as it has to be taken now; `read_at` and `source` say what that rests on."""
    view: dict[str, Any] = {}
    for name, window in quota.at(now).items():
        view[name] = {
            "utilization": window.utilization,
            "status": window.status,
            "resets_at": None if window.resets_at is None else utc(window.resets_at),
            "read_at": utc(window.read_at),
            "source": window.source,
        }
        if window.limit is not None or window.remaining is not None:
            view[name] |= {"limit": window.limit, "remaining": window.remaining}
    return view


def _cooldown_view(cooldown: Cooldown, clocks: Clocks) -> dict[str, Any]:
    return {
        "scope": cooldown.scope.value,
        "target": cooldown.target,
        "reason": cooldown.reason,
        "until": clocks.text(cooldown.until),
        "level": cooldown.level,
        "source": cooldown.source,
    }


def accounts_view(state: DispatchState, clocks: Clocks) -> list[dict[str, Any]]:
    """`accounts`: the configured ones in order of choice, then clients' own by name."""
    clients = sorted(
        (known for known in state.accounts.values() if known.spec.kind == "client"),
        key=lambda known: known.name,
    )
    return [account_view(state, account, clocks) for account in (*state.members(), *clients)]


def pool_view(
    state: DispatchState, clocks: Clocks, providers: Iterable[Cooldown] = ()
) -> dict[str, Any]:
    """The part of `/status` that sums up the pool; `providers` are the upstreams that fail."""
    members = state.members()
    states = [member.status(clocks.monotonic) for member in members]
    egress = [bench for bench in state.egress.values() if bench.active(clocks.monotonic)]
    benched = [*egress, *providers]
    return {
        "strategy": state.strategy.name,
        "mode": "pool" if state.strategy.pool else "passthrough",
        "totalAccounts": len(members),
        "availableAccounts": states.count("available"),
        "rateLimitedAccounts": sum(
            any(
                cooldown.limits and cooldown.scope is Scope.ACCOUNT
                for cooldown in member.active_cooldowns(clocks.monotonic)
            )
            for member in members
        ),
        "nextAccount": _next_account(state, clocks),
        "cooldowns": [_cooldown_view(cooldown, clocks) for cooldown in benched],
        "accounts": accounts_view(state, clocks),
        "in_flight": sum(state.in_flight.values()),
    }


def _next_account(state: DispatchState, clocks: Clocks) -> str:
    """Who would serve the owner's next request; "" when nobody could, or none is configured."""
    if not state.strategy.pool:
        return ""
    ask = Acquire(Route.MESSAGES, owner=True, at=clocks.wall)
    _, outcome = choose(state, ask, clocks.monotonic)
    return outcome.account if isinstance(outcome, Lease) else ""


def health_view(
    state: DispatchState, clocks: Clocks, version: str, uptime: float
) -> tuple[int, dict[str, Any]]:
    """Status and body of `GET /health`: 503 when accounts are configured and none could serve."""
    members = state.members()
    available = sum(member.status(clocks.monotonic) == "available" for member in members)
    degraded = bool(members) and not available
    return (
        503 if degraded else 200,
        {
            "status": "degraded" if degraded else "ok",
            "version": version,
            "uptime": round(uptime, 3),
            "accounts": {"total": len(members), "available": available},
        },
    )


def actors_view(statuses: Iterable[ActorStatus]) -> list[dict[str, Any]]:
    """`actors`."""
    return [msgspec.to_builtins(status) for status in statuses]
