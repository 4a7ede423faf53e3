"""Which accounts can serve a request now, and why the others cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protocol import routing
from protocol.accounts import AccountSpec, AccountState
from protocol.dispatch_state import DispatchState
from protocol.leases import Acquire
from protocol.members import Members

SHUNNED = "provider"
"""Why an account was passed over whose upstream failed the request and is not asked by it again."""


def passed_by(state: DispatchState, members: Members, ask: Acquire, now: float) -> dict[str, str]:
    """Who cannot serve `ask` now, and why; in the members' order."""
    places: Sequence[int] = members.closely
    closed = members.owners and not ask.owner and not state.strategy.any_use
    if not places and not closed and not ask.tried and not ask.shunned:
        return {}
    if closed or ask.tried:
        tried = [members.places[name] for name in ask.tried if name in members.places]
        places = sorted({*places, *tried, *(members.owners if closed else ())})
    if ask.shunned:
        places = range(len(members.states))
    passed: dict[str, str] = {}
    for place in places:
        member = members.states[place]
        reason = ineligible(state, member.spec, ask, member.enabled)
        if reason is None:
            reason = passed_over(state, member, ask, now)
        if reason is not None:
            passed[member.name] = reason
    return passed


def ineligible(state: DispatchState, spec: AccountSpec, ask: Acquire, enabled: bool) -> str | None:
    """Why an account may not serve `ask`, whatever its limits; None when it may."""
    if not enabled:
        return "disabled"
    if spec.needs_login:
        return "needs_login"
    if not spec.may_serve(ask.model):
        return "model"
    if not ask.owner and not state.strategy.any_use and spec.subscription:
        return "owner"
    return None


def passed_over(
    state: DispatchState, account: AccountState, ask: Acquire, now: float
) -> str | None:
    """Why an account that may serve `ask` cannot now; None when it can."""
    if account.name in ask.tried:
        return "tried"
    if account.spec.base_url in ask.shunned:
        return SHUNNED
    if account.available_at(now, ask.model, ask.betas) is not None:
        return "cooling"
    limited = routing.limited_until(state.routing, account, now)
    return None if limited is None else "requests_per_minute"


def back_at(state: DispatchState, account: AccountState, ask: Acquire, now: float) -> float | None:
    """When an account can serve `ask` again, cooldowns and our own limit together; None: now."""
    rests_until = account.available_at(now, ask.model, ask.betas)
    ends = (rests_until, routing.limited_until(state.routing, account, now))
    return max((end for end in ends if end is not None), default=None)


def out(state: DispatchState, passed: Mapping[str, str], ask: Acquire, now: float) -> list[str]:
    """Of those `passed` over, who would serve `ask` were they not benched or switched off."""
    return [
        name
        for name, why in passed.items()
        if why in ("cooling", "disabled")
        or (
            why == "tried"
            and state.accounts[name].available_at(now, ask.model, ask.betas) is not None
        )
    ]


def cannot_serve(state: DispatchState, name: str, ask: Acquire, now: float) -> bool:
    """Whether `ask` could not have this account now."""
    known = state.accounts.get(name)
    return (
        known is None
        or ineligible(state, known.spec, ask, known.enabled) is not None
        or passed_over(state, known, ask, now) is not None
    )
