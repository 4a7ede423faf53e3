"""Who serves a request: the dispatcher's machine, `(state, event, now) -> (state, answer)`.

It decides over snapshots that the accounts push, so it never waits on anybody. What only makes
sense over all accounts (how many requests each has in flight, which lease comes next) is its own.
"""

from __future__ import annotations

import math

import msgspec

from protocol import routing
from protocol.accounts import AccountSpec, AccountState, Cooldown
from protocol.affinity import Outage
from protocol.leases import (
    AccountChanged,
    AccountRemoved,
    Acquire,
    Again,
    Lease,
    Refusal,
    Release,
)
from protocol.refusals import INELIGIBLE, exhausted, nobody, shown
from protocol.request import Route
from protocol.routing import Considered, Policy, Routing, Wish

__all__ = [
    "AccountChanged",
    "AccountRemoved",
    "Acquire",
    "Again",
    "DispatchState",
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
]


class Strategy(msgspec.Struct, frozen=True):
    """How to choose. Without `pool` no account is configured: the client's own credential passes.

    `base_url` is where such a request goes.
    """

    pool: bool
    base_url: str
    any_use: bool = False
    policy: Policy = Policy()

    @property
    def name(self) -> str:
        """As in the configuration."""
        return self.policy.name


class DispatchState(msgspec.Struct, frozen=True):
    """Snapshots by name, requests in flight by name, and the next lease's number.

    A lease below `first_lease` was given by a life whose state is lost: it is not counted here.
    """

    strategy: Strategy
    accounts: dict[str, AccountState] = {}
    in_flight: dict[str, int] = {}
    next_lease: int = 1
    first_lease: int = 1
    routing: Routing = Routing()
    egress: Cooldown | None = None

    def members(self) -> list[AccountState]:
        """The configured accounts, first choice first: by priority, ties by configuration order."""
        configured = [s for s in self.accounts.values() if s.spec.kind != "client"]
        return sorted(configured, key=lambda s: (s.spec.priority, s.spec.order))


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


def choose(state: DispatchState, ask: Acquire, now: float) -> tuple[DispatchState, Lease | Refusal]:
    """The account for `ask` at `now` (monotonic seconds), or why there is none."""
    if not state.strategy.pool:
        return _pass_through(state, ask, now)
    if ask.pinned is not None:
        return _pinned(state, ask, now)
    passed: dict[str, str] = {}
    eligible: list[AccountState] = []
    free: list[AccountState] = []
    for member in state.members():
        reason = _ineligible(state, member.spec, ask, member.enabled)
        if reason is None:
            eligible.append(member)
            reason = _passed_over(state, member, ask, now)
        if reason is None:
            free.append(member)
        else:
            passed[member.name] = reason
    if not eligible:
        return state, nobody(ask, passed)
    if ask.route is Route.OTHER:
        return _lease(state, eligible[0].spec, ("first by priority",), now, why="priority")
    if not free:
        return state, _exhausted(state, eligible, ask, now, passed)
    return _among(state, free, ask, now, passed)


def _passed_over(
    state: DispatchState, account: AccountState, ask: Acquire, now: float
) -> str | None:
    """Why an account that may serve `ask` cannot now; None when it can."""
    if account.name in ask.tried:
        return "tried"
    if account.available_at(now, ask.model, ask.betas) is not None:
        return "cooling"
    limited = routing.limited_until(state.routing, account, now)
    return None if limited is None else "requests_per_minute"


def _back_at(state: DispatchState, account: AccountState, ask: Acquire, now: float) -> float | None:
    """When an account can serve `ask` again, cooldowns and our own limit together; None: now."""
    rests_until = account.available_at(now, ask.model, ask.betas)
    ends = (rests_until, routing.limited_until(state.routing, account, now))
    return max((end for end in ends if end is not None), default=None)


def _among(
    state: DispatchState,
    free: list[AccountState],
    ask: Acquire,
    now: float,
    passed: dict[str, str],
) -> tuple[DispatchState, Lease | Refusal]:
    """A lease on one of `free`, which all can serve; `passed` are the others, and why."""
    policy = state.strategy.policy
    candidates = [routing.candidate(s, state.in_flight.get(s.name, 0), _windows(s)) for s in free]

    def outage(name: str) -> Outage | None:
        known = state.accounts.get(name)
        if known is not None and passed.get(name) in ("model", "owner"):
            return None
        back_at = None if known is None else _back_at(state, known, ask, now)
        return routing.outage_of(known, back_at, tried=name in ask.tried, now=now)

    wish = Wish(ask.session, now, ask.at)
    after, arranged = routing.arrange(state.routing, policy, wish, candidates, outage)
    choice = routing.considered(arranged, policy, ask.at, passed)
    state = msgspec.structs.replace(state, routing=after)
    spec = state.accounts[arranged.order[0].name].spec
    return _lease(state, spec, routing.told(choice, state.accounts), now, choice=choice)


def _windows(account: AccountState) -> dict[str, tuple[float, float]]:
    """Utilization and reset of the known windows; one without a reset never ends by itself."""
    return {
        name: (window.utilization, math.inf if window.resets_at is None else window.resets_at)
        for name, window in account.quota.windows.items()
        if window.utilization is not None
    }


def choose_again(
    state: DispatchState, ask: Again, now: float
) -> tuple[DispatchState, Lease | Refusal]:
    """A second lease on the same account, if it may still serve."""
    account = state.accounts.get(ask.account)
    if account is None or (
        account.spec.kind != "client" and not _can_serve(state, account, ask.ask, now)
    ):
        return choose(state, ask.ask, now)
    return _lease(state, account.spec, ("again after overload",), now, why="again")


def _can_serve(state: DispatchState, account: AccountState, ask: Acquire, now: float) -> bool:
    return account.status(now) == "available" and _back_at(state, account, ask, now) is None


def released(state: DispatchState, event: Release) -> DispatchState:
    """One request less in flight; a release unknown after a restart changes nothing."""
    if not state.first_lease <= event.lease < state.next_lease:
        return state
    counts = dict(state.in_flight)
    left = counts.pop(event.account, 0) - 1
    if left > 0:
        counts[event.account] = left
    return msgspec.structs.replace(state, in_flight=counts)


def changed(state: DispatchState, event: AccountChanged) -> DispatchState:
    """The newest snapshot of an account."""
    return msgspec.structs.replace(
        state, accounts={**state.accounts, event.state.name: event.state}
    )


def removed(state: DispatchState, event: AccountRemoved) -> DispatchState:
    """Leases already given run to their end; no new one names this account."""
    accounts = {name: known for name, known in state.accounts.items() if name != event.name}
    kept = routing.forgotten(state.routing, event.name)
    return msgspec.structs.replace(state, accounts=accounts, routing=kept)


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
    choice: tuple[Considered, ...] = (),
) -> tuple[DispatchState, Lease]:
    name, number = spec.name, state.next_lease
    counted = msgspec.structs.replace(
        state,
        in_flight={**state.in_flight, name: state.in_flight.get(name, 0) + 1},
        next_lease=number + 1,
        routing=routing.counted(state.routing, name, spec.requests_per_minute, now),
    )
    choice = choice or (Considered(name, "taken", why),)
    return counted, Lease(number, name, spec.credential, spec.base_url, reasons, choice)


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
    reason = _ineligible(state, account.spec, ask, account.enabled)
    if reason is not None:
        cause = "wrong_model" if reason == "model" else "no_credential"
        return state, Refusal(cause, f"account {account.name!r} {INELIGIBLE[reason]}")
    reason = _passed_over(state, account, ask, now)
    if reason is not None:
        return state, _exhausted(state, [account], ask, now, {account.name: reason})
    return _lease(state, account.spec, ("asked for by name",), now, why="pinned")


def _ineligible(state: DispatchState, spec: AccountSpec, ask: Acquire, enabled: bool) -> str | None:
    """Why an account may not serve `ask`, whatever its limits; None when it may."""
    if not enabled:
        return "disabled"
    if not spec.may_serve(ask.model):
        return "model"
    if not ask.owner and not state.strategy.any_use and spec.credential is not None:
        return "owner" if spec.credential.subscription else None
    return None


def _exhausted(
    state: DispatchState,
    eligible: list[AccountState],
    ask: Acquire,
    now: float,
    passed: dict[str, str],
) -> Refusal:
    ends = [end for s in eligible if (end := _back_at(state, s, ask, now)) is not None]
    return exhausted(eligible, ends, now, passed)
