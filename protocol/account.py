"""The account machine: `(state, event, now) -> state`. Its actor is the shell around it.

Cooldowns: a 429 benches the account for the upstream's `retry-after`, else for
base x 2^level seconds; a refused credential for `auth` seconds. Every bench is capped by its
reason, is judged when somebody chooses, and ends at the first success.
"""

from __future__ import annotations

import msgspec

from protocol.accounts import AccountSpec, AccountState, Cooldown, Counters, Scope, Tokens
from protocol.quota import Quota, merged
from protocol.request_line import plain
from protocol.usage import Usage
from protocol.verdict import Verdict

SETTLED_KEPT = 32
"""Reports remembered by lease, so that one repeated after a crash is not counted twice; and as many
usages."""

RETRY_AFTER_CAP = 7 * 86400.0
"""Seconds: the longest window there is (seven days); a longer retry-after is nonsense."""


class CooldownPolicy(msgspec.Struct, frozen=True):
    """`interface.md` [cooldown]; all in seconds."""

    base: float = 1.0
    maximum: float = 600.0
    auth: float = 300.0


class Reported(msgspec.Struct, frozen=True):
    """One attempt's outcome: `lease` identifies it, `at` is epoch seconds, for people.

    `quota` is what the answer's headers said of the account's windows, whatever came of it.
    """

    lease: int
    verdict: Verdict
    at: float
    status: int | None
    message: str
    quota: Quota = Quota()


class Used(msgspec.Struct, frozen=True):
    """What the answer to one attempt cost; known only at its end, long after it was reported."""

    lease: int
    usage: Usage


def new_account(spec: AccountSpec) -> AccountState:
    """An account about which nothing is known yet."""
    return AccountState(spec=spec, enabled=spec.enabled)


def report(
    state: AccountState, event: Reported, policy: CooldownPolicy, now: float
) -> AccountState:
    """The account after an attempt; `now` is the monotonic clock in seconds."""
    if event.lease in state.settled:
        return state
    verdict = event.verdict
    state = msgspec.structs.replace(
        state,
        counters=_counted(state.counters, verdict),
        last_request_at=event.at,
        quota=merged(state.quota, event.quota),
        settled=(*state.settled, event.lease)[-SETTLED_KEPT:],
    )
    if verdict.success:
        return msgspec.structs.replace(state, cooldowns=(), level=0)
    state = msgspec.structs.replace(state, last_error=plain(event.message))
    if not verdict.benches or state.spec.kind == "client":
        return state  # a client's own credential is never refused by us (rule 13)
    return _benched(state, verdict, policy, now)


def _counted(counters: Counters, verdict: Verdict) -> Counters:
    return msgspec.structs.replace(
        counters,
        requests=counters.requests + 1,
        successes=counters.successes + verdict.success,
        errors=counters.errors + (not verdict.success),
        rate_limits=counters.rate_limits + (verdict.reason == "rate_limited"),
    )


def _benched(
    state: AccountState, verdict: Verdict, policy: CooldownPolicy, now: float
) -> AccountState:
    level = state.level
    active = state.active_cooldowns(now)
    standing = next((c for c in active if c.reason == verdict.reason), None)
    if verdict.reason == "auth":
        seconds, source = policy.auth, "status"
    elif verdict.retry_after is not None:
        seconds, source = min(verdict.retry_after, RETRY_AFTER_CAP), "retry-after"
    elif standing is not None:
        # Fifty parallel requests that meet one limit are one event: they must not climb the ladder.
        return state
    else:
        # 2^level would outgrow a float long before anybody notices; the cap ends it far earlier.
        seconds, source = min(policy.base * 2.0 ** min(level, 64), policy.maximum), "ladder"
        level += 1
    until = now + seconds
    if standing is not None and not (source == "retry-after" and standing.source == "ladder"):
        until = max(until, standing.until)  # two words of an upstream both hold; a guess does not
    bench = Cooldown(
        scope=Scope.ACCOUNT,
        target="",
        reason=verdict.reason,
        since=now,
        until=until,
        level=level,
        source=source,
    )
    others = tuple(c for c in active if c.reason != verdict.reason)
    return msgspec.structs.replace(state, cooldowns=(*others, bench), level=level)


def book(state: AccountState, event: Used) -> AccountState:
    """The account after an answer's usage is known; unknown numbers add nothing."""
    if event.lease in state.booked:
        return state
    tokens, usage = state.tokens, event.usage
    return msgspec.structs.replace(
        state,
        tokens=Tokens(
            input=tokens.input + (usage.input_tokens or 0),
            output=tokens.output + (usage.output_tokens or 0),
            cache_read=tokens.cache_read + (usage.cache_read_tokens or 0),
            cache_write=tokens.cache_write + (usage.cache_write_tokens or 0),
        ),
        booked=(*state.booked, event.lease)[-SETTLED_KEPT:],
    )


def set_enabled(state: AccountState, enabled: bool) -> AccountState:
    """Switched on or off by its owner; leases already given run to their end."""
    return msgspec.structs.replace(state, enabled=enabled)


def reset(state: AccountState) -> AccountState:
    """All benches lifted by its owner."""
    return msgspec.structs.replace(state, cooldowns=(), level=0, last_error=None)


def respecified(state: AccountState, spec: AccountSpec) -> AccountState:
    """The configuration of this account changed; a new credential starts without benches and
    readings."""
    changed = msgspec.structs.replace(state, spec=spec)
    if spec.enabled != state.spec.enabled:
        changed = set_enabled(changed, spec.enabled)
    if spec.credential == state.spec.credential:
        return changed
    return msgspec.structs.replace(reset(changed), quota=Quota())
