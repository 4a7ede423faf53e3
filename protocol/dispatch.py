"""Who serves a request: the dispatcher's machine, `(state, event, now) -> (state, answer)`.

It decides over snapshots that the accounts push, so it never waits on anybody. What only makes
sense over all accounts (how many requests each has in flight, which lease comes next) is its own.
"""

from __future__ import annotations

import math

import msgspec

from protocol.accounts import AccountSpec, AccountState, Credential
from protocol.question import Question
from protocol.request import Route

SHOWN_CHARACTERS = 80
"""Of what a client wrote, in a message: a model's name may be as long as a body."""


class Lease(msgspec.Struct, frozen=True):
    """Permission for one attempt: who pays, with which credential, at which upstream.

    `credential` None means the client's own. `reasons` says why this account, for people.
    """

    id: int
    account: str
    credential: Credential | None
    base_url: str
    reasons: tuple[str, ...] = ()


class Refusal(msgspec.Struct, frozen=True):
    """Nobody may serve. `cause`: limited | no_credential | unknown_account | wrong_model.

    `retry_after` is in whole seconds: when the first eligible account is back, if that is known;
    `available_in` is the same without rounding, for who would rather wait.
    """

    cause: str
    message: str
    retry_after: float | None = None
    available_in: float | None = None


class Acquire(Question[Lease | Refusal], frozen=True):
    """A request asks for an account; `tried` names those that already failed it."""

    route: Route
    model: str | None = None
    pinned: str | None = None
    owner: bool = False
    client: str = ""
    tried: tuple[str, ...] = ()


class Again(Question[Lease | Refusal], frozen=True):
    """The same account once more, without a new choice (overload, `interface.md` rule 5)."""

    account: str
    ask: Acquire


class Release(msgspec.Struct, frozen=True):
    """The attempt of this lease is over."""

    lease: int
    account: str


class AccountChanged(msgspec.Struct, frozen=True):
    """An account's snapshot."""

    state: AccountState


class AccountRemoved(msgspec.Struct, frozen=True):
    """The account is gone from the configuration."""

    name: str


class Strategy(msgspec.Struct, frozen=True):
    """How to choose. Without `pool` no account is configured: the client's own credential passes.

    `base_url` is where such a request goes.
    """

    pool: bool
    base_url: str
    name: str = "fill-first"
    any_use: bool = False


class DispatchState(msgspec.Struct, frozen=True):
    """Snapshots by name, requests in flight by name, and the next lease's number.

    A lease below `first_lease` was given by a life whose state is lost: it is not counted here.
    """

    strategy: Strategy
    accounts: dict[str, AccountState] = {}
    in_flight: dict[str, int] = {}
    next_lease: int = 1
    first_lease: int = 1

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
    """The account for `ask` at `now` (monotonic seconds), or why there is none.

    Fill-first: the first account in order that may serve and has not been tried.
    """
    if not state.strategy.pool:
        return _pass_through(state, ask)
    if ask.pinned is not None:
        return _pinned(state, ask, now)
    eligible = [s for s in state.members() if _ineligible(state, s.spec, ask, s.enabled) is None]
    if not eligible:
        return state, _nobody(state, ask)
    if ask.route is Route.OTHER:
        return _lease(state, eligible[0].spec, ("first by priority",))
    for candidate in eligible:
        if candidate.name not in ask.tried and candidate.available_at(now) is None:
            return _lease(state, candidate.spec, _reasons(candidate, eligible, ask, now))
    return state, _exhausted(eligible, now)


def choose_again(
    state: DispatchState, ask: Again, now: float
) -> tuple[DispatchState, Lease | Refusal]:
    """A second lease on the same account, if it may still serve."""
    account = state.accounts.get(ask.account)
    if account is None or (account.spec.kind != "client" and account.status(now) != "available"):
        return choose(state, ask.ask, now)
    return _lease(state, account.spec, ("again after overload",))


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
    return msgspec.structs.replace(state, accounts=accounts)


def restrategized(state: DispatchState, strategy: Strategy) -> DispatchState:
    """The routing part of the configuration changed."""
    return msgspec.structs.replace(state, strategy=strategy)


def _lease(
    state: DispatchState, spec: AccountSpec, reasons: tuple[str, ...]
) -> tuple[DispatchState, Lease]:
    name, number = spec.name, state.next_lease
    counts = {**state.in_flight, name: state.in_flight.get(name, 0) + 1}
    counted = msgspec.structs.replace(state, in_flight=counts, next_lease=number + 1)
    return counted, Lease(number, name, spec.credential, spec.base_url, reasons)


def _pass_through(state: DispatchState, ask: Acquire) -> tuple[DispatchState, Lease | Refusal]:
    if ask.pinned is not None:
        return state, Refusal(
            "unknown_account",
            f"there is no account {_shown(ask.pinned)}: none is configured, and requests pass through "
            "with the client's own credential; remove the x-account-name header",
        )
    if ask.tried:
        return state, Refusal("limited", "the client's own credential is the only one")
    client = AccountSpec(ask.client, "client", None, state.strategy.base_url)
    return _lease(state, client, ("client's own credential",))


def _pinned(
    state: DispatchState, ask: Acquire, now: float
) -> tuple[DispatchState, Lease | Refusal]:
    account = next((s for s in state.members() if s.name == ask.pinned), None)
    if account is None:
        return state, Refusal(
            "unknown_account",
            f"there is no account {_shown(ask.pinned)}; `supervisor status` lists the accounts",
        )
    reason = _ineligible(state, account.spec, ask, account.enabled)
    if reason is not None:
        cause = "wrong_model" if reason == "model" else "no_credential"
        return state, Refusal(cause, f"account {account.name!r} {_INELIGIBLE[reason]}")
    if account.name in ask.tried or account.available_at(now) is not None:
        return state, _exhausted([account], now)
    return _lease(state, account.spec, ("asked for by name",))


_INELIGIBLE = {
    "disabled": "is disabled",
    "model": "may not serve this model",
    "owner": "is a subscription, which serves only its owner's own Claude Code",
}


def _ineligible(state: DispatchState, spec: AccountSpec, ask: Acquire, enabled: bool) -> str | None:
    """Why an account may not serve `ask`, whatever its limits; None when it may."""
    if not enabled:
        return "disabled"
    if not spec.may_serve(ask.model):
        return "model"
    subscription = spec.credential is not None and spec.credential.subscription
    if subscription and not ask.owner and not state.strategy.any_use:
        return "owner"
    return None


def _nobody(state: DispatchState, ask: Acquire) -> Refusal:
    reasons = {_ineligible(state, s.spec, ask, s.enabled) for s in state.members()}
    if reasons == {"disabled"}:
        return Refusal("no_credential", "every account is disabled; enable one or add another")
    if "owner" in reasons:
        return Refusal(
            "no_credential",
            "only subscription accounts are left, and they serve their owner's Claude Code alone; "
            "add an account with an API key",
        )
    return Refusal("no_credential", f"no account may serve the model {_shown(ask.model)}")


def _shown(text: str | None) -> str:
    return repr(text if text is None else text[:SHOWN_CHARACTERS])


def _exhausted(eligible: list[AccountState], now: float) -> Refusal:
    """Everybody rests or was tried: limits are the cause as soon as one account rests for one."""
    ends = [(end, s) for s in eligible if (end := s.available_at(now)) is not None]
    if not ends:
        return Refusal("limited", "every account was tried")
    available_in = min(end for end, _ in ends) - now
    earliest = max(math.ceil(available_in), 1)
    refused = [s for s in eligible if any(c.reason == "auth" for c in s.active_cooldowns(now))]
    if len(refused) == len(eligible):
        return Refusal(
            "no_credential",
            "the upstream refuses the credential of every account; check them with "
            "`supervisor status`",
            float(earliest),
        )
    return Refusal(
        "limited",
        f"every account is at its limit; the first is back in {earliest} s"
        if len(eligible) > 1
        else f"account {eligible[0].name!r} is at its limit; it is back in {earliest} s",
        float(earliest),
        available_in,
    )


def _reasons(
    chosen: AccountState, eligible: list[AccountState], ask: Acquire, now: float
) -> tuple[str, ...]:
    reasons = ["fill-first"]
    for other in eligible:
        if other.name == chosen.name:
            break
        if other.name in ask.tried:
            reasons.append(f"{other.name} was tried")
        else:
            reasons.append(f"{other.name} is cooling")
    return tuple(reasons)
