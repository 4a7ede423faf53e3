"""Who serves a request: the dispatcher's machine, `(state, event, now) -> (state, answer)`.

It decides over snapshots that the accounts push, so it never waits on anybody. What only makes
sense over all accounts (how many requests each has in flight, which lease comes next) is its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from protocol import ramp, routing
from protocol.accounts import AccountSpec, AccountState
from protocol.affinity import Outage
from protocol.dispatch_state import DispatchState, Strategy
from protocol.eligibility import SHUNNED, back_at, ineligible, out, passed_by, passed_over
from protocol.leases import (
    AccountChanged,
    AccountRemoved,
    Acquire,
    Again,
    Later,
    Lease,
    Refusal,
    Release,
)
from protocol.members import Members, members_of, with_account, with_load
from protocol.refusals import INELIGIBLE, exhausted, nobody, shown
from protocol.request import Route
from protocol.routing import Choice, Considered, Wish
from protocol.strategies import Candidate

__all__ = [
    "AccountChanged",
    "AccountRemoved",
    "Acquire",
    "Again",
    "DispatchState",
    "Later",
    "Lease",
    "Refusal",
    "Release",
    "Strategy",
    "begun",
    "changed",
    "choose",
    "choose_again",
    "released",
    "removed",
    "restrategized",
    "seen",
]


LEASES_PER_LIFE = 2**32
"""So that no two lives give the same number: accounts take one that they have seen for a repeat."""


def begun(fresh: DispatchState, restored: DispatchState | None, life: int) -> DispatchState:
    """At the start of a life (1 is the first): what is `restored`, in the configuration of `fresh`."""
    if restored is None:
        first = (life - 1) * LEASES_PER_LIFE + 1
        return msgspec.structs.replace(fresh, next_lease=first, first_lease=first)
    kept = {
        name: known
        for name, known in restored.accounts.items()
        if name in fresh.accounts or known.spec.kind == "client"
    }
    return msgspec.structs.replace(
        restored, strategy=fresh.strategy, accounts={**fresh.accounts, **kept}
    )


def choose(
    state: DispatchState, ask: Acquire, now: float
) -> tuple[DispatchState, Lease | Refusal | Later]:
    """The account for `ask` at `now` (monotonic seconds), or why there is none.

    Later only for who is patient (`Acquire.patient_until`); he has used his turn all the same, so
    that the next one may get an account that has room.
    """
    if not state.strategy.pool:
        return _pass_through(state, ask, now)
    if ask.pinned is not None:
        return _pinned(state, ask, now)
    members = state.pool()
    passed = passed_by(state, members, ask, now)
    free: Sequence[Candidate] = members.candidates
    if passed:
        free = [candidate for candidate in free if candidate.name not in passed]
    if not free or ask.route is Route.OTHER:
        eligible = [s for s in members.states if passed.get(s.name) not in INELIGIBLE]
        if not eligible:
            return state, nobody(ask, passed)
        if ask.route is Route.OTHER:
            return _lease(state, eligible[0].spec, ("first by priority",), now, why="priority")
        return state, _exhausted(state, eligible, ask, now, passed)
    return _among(state, members, free, ask, now, passed)


def _among(
    state: DispatchState,
    members: Members,
    free: Sequence[Candidate],
    ask: Acquire,
    now: float,
    passed: dict[str, str],
) -> tuple[DispatchState, Lease | Later]:
    """A lease on one of `free`, which all can serve; `passed` are the others, and why."""
    policy = state.strategy.policy

    def outage(name: str) -> Outage | None:
        known = state.accounts.get(name)
        if known is not None and passed.get(name) in ("model", "owner"):
            return None
        end = None if known is None else back_at(state, known, ask, now)
        tried = name in ask.tried or passed.get(name) == SHUNNED
        return routing.outage_of(known, end, tried=tried, now=now)

    over: list[str] = []
    if members.crowded:
        crowded = [members.candidates[place] for place in members.crowded]
        over = [
            c.name for c in crowded if c.name not in passed and c.over(policy.switch_at, ask.at)
        ]
    wish = Wish(ask.session, now, ask.at)
    after, arranged = routing.arrange(state.routing, policy, wish, free, outage, over)
    chosen, traffic = arranged.first, state.traffic
    at_home = arranged.why == "session"  # who is at home here is no part of the herd
    known = state.accounts[chosen.name]
    if known.cooldowns and all(state.accounts[c.name].limited_until for c in free):
        # Nobody is known to be well, so others have waited for this as well.
        rested = known.limited_until
        traffic = ramp.returned(traffic, chosen.name, chosen.in_flight, rested, now)
    if not at_home and (passed or over):
        missing = out(state, passed, ask, now) + (over if chosen.name not in over else [])
        traffic = ramp.began(traffic, chosen.name, chosen.in_flight, missing, now)
    if traffic.ramps and now < ask.patient_until:
        opens_at = traffic.opens_at(chosen.name, chosen.in_flight, at_home=at_home)
        if now < opens_at:
            turned = msgspec.structs.replace(state.routing, turn=after.turn)
            later = msgspec.structs.replace(state, routing=turned, prepared=members)
            return later, Later(chosen.name)
    reasons = routing.told(arranged, passed, over, state.accounts)
    ready = msgspec.structs.replace(state, routing=after, traffic=traffic, prepared=members)
    return _lease(ready, known.spec, reasons, now, choice=Choice(arranged, passed))


def choose_again(
    state: DispatchState, ask: Again, now: float
) -> tuple[DispatchState, Lease | Refusal | Later]:
    """A second lease on the same account, if it may still serve."""
    account = state.accounts.get(ask.account)
    if account is None or (
        account.spec.kind != "client" and not _can_serve(state, account, ask.ask, now)
    ):
        return choose(state, ask.ask, now)
    return _lease(state, account.spec, ("again after overload",), now, why="again")


def _can_serve(state: DispatchState, account: AccountState, ask: Acquire, now: float) -> bool:
    return account.status(now) == "available" and back_at(state, account, ask, now) is None


def released(state: DispatchState, event: Release) -> DispatchState:
    """One request less in flight; a release unknown after a restart changes nothing."""
    if not state.first_lease <= event.lease < state.next_lease:
        return state
    counts = dict(state.in_flight)
    left = counts.pop(event.account, 0) - 1
    if left > 0:
        counts[event.account] = left
    prepared = with_load(state.pool(), event.account, counts, state.given)
    return msgspec.structs.replace(state, in_flight=counts, prepared=prepared)


def changed(state: DispatchState, event: AccountChanged) -> DispatchState:
    """The newest snapshot of an account."""
    new, known = event.state, state.accounts.get(event.state.name)
    accounts = {**state.accounts, new.name: new}
    gained = 0 if known is None else new.counters.successes - known.counters.successes
    given = state.given
    if given.get(new.name, 0) < new.counters.requests:
        # We have forgotten leases of ours, in a crash; the account has not.
        given = {**given, new.name: new.counters.requests}
    return msgspec.structs.replace(
        state,
        accounts=accounts,
        given=given,
        traffic=ramp.succeeded(state.traffic, new.name, gained),
        prepared=with_account(state.pool(), new, accounts, given),
    )


def seen(state: DispatchState, published: Iterable[AccountState]) -> DispatchState:
    """For who looks: the accounts as they have `published` themselves, their counters included.

    Nothing to go on with: a snapshot that is on its way may be older than what is seen here.
    """
    news = {
        new.name: new
        for new in published
        if (known := state.accounts.get(new.name)) is not None and known is not new
    }
    if not news:
        return state
    accounts, switch_at = {**state.accounts, **news}, state.strategy.policy.switch_at
    prepared = members_of(accounts, state.in_flight, switch_at, state.given)
    return msgspec.structs.replace(state, accounts=accounts, prepared=prepared)


def removed(state: DispatchState, event: AccountRemoved) -> DispatchState:
    """Leases already given run to their end; no new one names this account."""
    accounts = {name: known for name, known in state.accounts.items() if name != event.name}
    given = {name: count for name, count in state.given.items() if name != event.name}
    kept = routing.forgotten(state.routing, event.name)
    traffic = ramp.forgotten(state.traffic, event.name)
    return msgspec.structs.replace(
        state, accounts=accounts, given=given, routing=kept, traffic=traffic
    )


def restrategized(state: DispatchState, strategy: Strategy) -> DispatchState:
    """The routing part of the configuration changed."""
    return msgspec.structs.replace(state, strategy=strategy)


def _lease(
    state: DispatchState,
    spec: AccountSpec,
    reasons: tuple[str, ...],
    now: float,
    *,
    why: str = "",
    choice: Choice | None = None,
) -> tuple[DispatchState, Lease]:
    name, number = spec.name, state.next_lease
    in_flight = {**state.in_flight, name: state.in_flight.get(name, 0) + 1}
    counted = msgspec.structs.replace(state, in_flight=in_flight, next_lease=number + 1)
    if state.strategy.pool:
        given = {**state.given, name: state.given.get(name, 0) + 1}
        counted = msgspec.structs.replace(
            counted,
            given=given,
            routing=routing.counted(state.routing, name, spec.requests_per_minute, now),
            traffic=ramp.leased(state.traffic, name, now),
            prepared=with_load(state.pool(), name, in_flight, given),
        )
    told = choice or (Considered(name, "taken", why),)
    ramped = bool(state.traffic.ramps) and state.traffic.ramping(name, now)
    return counted, Lease(
        number, name, spec.credential, spec.base_url, reasons, told, ramped=ramped
    )


def _pass_through(
    state: DispatchState, ask: Acquire, now: float
) -> tuple[DispatchState, Lease | Refusal]:
    if ask.pinned is not None:
        return state, Refusal(
            "unknown_account",
            f"there is no account {shown(ask.pinned)}: none is configured, and requests pass through "
            "with the client's own credential; remove the x-account-name header",
        )
    if ask.tried:
        return state, Refusal("limited", "the client's own credential is the only one")
    client = AccountSpec(ask.client, "client", None, state.strategy.base_url)
    return _lease(state, client, ("client's own credential",), now, why="client")


def _pinned(
    state: DispatchState, ask: Acquire, now: float
) -> tuple[DispatchState, Lease | Refusal]:
    account = next((s for s in state.members() if s.name == ask.pinned), None)
    if account is None:
        return state, Refusal(
            "unknown_account",
            f"there is no account {shown(ask.pinned)}; `supervisor status` lists the accounts",
        )
    reason = ineligible(state, account.spec, ask, account.enabled)
    if reason is not None:
        cause = "wrong_model" if reason == "model" else "no_credential"
        return state, Refusal(cause, f"account {account.name!r} {INELIGIBLE[reason]}")
    reason = passed_over(state, account, ask, now)
    if reason is not None:
        return state, _exhausted(state, [account], ask, now, {account.name: reason})
    return _lease(state, account.spec, ("asked for by name",), now, why="pinned")


def _exhausted(
    state: DispatchState,
    eligible: list[AccountState],
    ask: Acquire,
    now: float,
    passed: dict[str, str],
) -> Refusal:
    asked = [s for s in eligible if passed.get(s.name) != SHUNNED]
    ends = [end for s in asked if (end := back_at(state, s, ask, now)) is not None]
    return exhausted(eligible, ends, now, passed)
