"""The account machine: `(state, event, now) -> state`. Its actor is the shell around it.

Which failure benches what is in `protocol.verdict`, for how long in `protocol.benches`. A bench is
judged when somebody chooses, never by a timer.
"""

from __future__ import annotations

import math

import msgspec

from protocol.accounts import AccountSpec, AccountState, Counters, Credential, Tokens, is_limit
from protocol.asked import Asked
from protocol.benches import Benches, CooldownPolicy, benched, proved
from protocol.quota import Quota, merged
from protocol.request_line import plain
from protocol.usage import Usage
from protocol.verdict import AUTH, Verdict

SETTLED_KEPT = 32
"""Reports remembered by lease, so that one repeated after a crash is not counted twice; and as many
usages."""


class Reported(msgspec.Struct, frozen=True):
    """One attempt's outcome: `lease` identifies it, `at` is epoch seconds.

    `quota` is what the answer's headers said of the account's windows, whatever came of it.
    `began` (monotonic seconds), `asked` and `credential` say what exactly was tried: a success
    proves no more than that, and a failure of a credential that was replaced since proves nothing.
    `usage`: what the answer cost, where that is known as early. `awaited`: others may wait for this
    success (`Lease.ramped`), so the dispatcher has to hear of it even if nothing else has changed.
    """

    lease: int
    verdict: Verdict
    at: float
    status: int | None
    message: str
    quota: Quota = Quota()
    asked: Asked = Asked()
    began: float = math.inf
    credential: Credential | None = None
    usage: Usage | None = None
    awaited: bool = False


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
        settled=(*state.settled[1 - SETTLED_KEPT :], event.lease),
    )
    if event.usage is not None:
        state = book(state, Used(event.lease, event.usage))
    if not verdict.success:
        state = msgspec.structs.replace(state, last_error=plain(event.message))
    elif not state.cooldowns and not state.level:
        return state  # well before, and well now
    if event.credential is not None and event.credential != state.spec.credential:
        return state  # of a credential that was replaced meanwhile
    if state.spec.kind == "client":
        return state  # a client's own credential is never refused by us (rule 13)
    known = Benches(state.cooldowns, state.level)
    if verdict.success:
        after = proved(known, event.asked, event.began)
    elif verdict.benches:
        after = benched(known, verdict, policy, now=now, at=event.at)
    else:
        return state
    return msgspec.structs.replace(state, cooldowns=after.cooldowns, level=after.level)


def _counted(counters: Counters, verdict: Verdict) -> Counters:
    if verdict.success:
        return msgspec.structs.replace(
            counters, requests=counters.requests + 1, successes=counters.successes + 1
        )
    return msgspec.structs.replace(
        counters,
        requests=counters.requests + 1,
        errors=counters.errors + 1,
        rate_limits=counters.rate_limits + is_limit(verdict.reason),
    )


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
        booked=(*state.booked[1 - SETTLED_KEPT :], event.lease),
    )


def moved(before: AccountState, after: AccountState) -> bool:
    """Whether something has changed that a choice among accounts depends on.

    Counters are not: the dispatcher counts its leases itself. When a reading was made is not, as
    long as it says the same.
    """
    if (
        before.spec is not after.spec
        or before.enabled is not after.enabled
        or before.cooldowns != after.cooldowns
    ):
        return True
    old, new = before.quota.windows, after.quota.windows
    if old is new:
        return False
    return old.keys() != new.keys() or any(
        (old[name].utilization, old[name].resets_at) != (window.utilization, window.resets_at)
        for name, window in new.items()
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
    if _same_login(spec.credential, state.spec.credential):
        # A new token of the same login: its limits stay, what the old token was refused does not.
        return msgspec.structs.replace(
            changed,
            cooldowns=tuple(bench for bench in state.cooldowns if bench.reason != AUTH),
            counters=msgspec.structs.replace(
                state.counters, refreshes=state.counters.refreshes + 1
            ),
        )
    return msgspec.structs.replace(reset(changed), quota=Quota())


def _same_login(new: Credential | None, old: Credential | None) -> bool:
    return new is not None and old is not None and new.login != "" and new.login == old.login
