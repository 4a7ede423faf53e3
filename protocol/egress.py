"""When it is not an account that is limited but this machine: the egress.

An upstream that counts requests by where they come from refuses one account after the other, and
each refusal looks like a burst of that account. Two accounts that meet a short limit at the same
time are the evidence. Only the dispatcher sees all accounts, so the bench of the egress is its own.

Why fifty parallel requests touch two accounts at most, whatever strategy spreads them later:

1. The first burst benches its account. Requests that were limited with it may try one other.
2. From then on, while any account rests for a burst, every lease of another one says `after_burst`:
   that attempt is the second account's. If it meets a short limit, it does not move on but reports
   the egress (`protocol.hops`).
3. Who wants to move on after a burst while an account that he did not try rests for one as well has
   both halves of the evidence before him: no lease, the egress is benched here.
4. While the bench of the egress lasts nobody gets a lease; it ends with the upstream's retry-after.
"""

from __future__ import annotations

import math

import msgspec

from protocol import dispatch
from protocol.accounts import Cooldown, Scope
from protocol.dispatch import Acquire, DispatchState, Later, Lease, Refusal
from protocol.request import Route
from protocol.verdict import BURST, BURST_SECONDS_MAX


class EgressLimited(msgspec.Struct, frozen=True):
    """A second account met a short limit; `seconds` is its retry-after, if it gave one."""

    seconds: float | None = None


def choose(
    state: DispatchState, ask: Acquire, now: float
) -> tuple[DispatchState, Lease | Refusal | Later]:
    """`dispatch.choose`, for requests that may have to wait for the egress."""
    if not state.strategy.pool or ask.route is Route.OTHER:
        return dispatch.choose(state, ask, now)
    if ask.after_burst and _bursting(state, now, besides=ask.tried):
        state = limited(state, EgressLimited(), now)
    refusal = refused(state, now)
    if refusal is not None:
        return state, refusal
    after, outcome = dispatch.choose(state, ask, now)
    if isinstance(outcome, Refusal) and ask.betas and not ask.tried:
        # A beta that no account is known to have: the upstream's own refusal tells the client more
        # than ours could, and a granted beta is found so.
        # Nobody waits for that.
        bare = msgspec.structs.replace(ask, betas=(), patient_until=0.0)
        after, outcome = dispatch.choose(state, bare, now)
    if isinstance(outcome, Lease) and (
        ask.after_burst or _bursting(state, now, besides=(outcome.account,))
    ):
        outcome = msgspec.structs.replace(outcome, after_burst=True)
    return after, outcome


def limited(state: DispatchState, event: EgressLimited, now: float) -> DispatchState:
    """The egress rests for the second account's retry-after, else until the burst of the first one
    is over; never longer than a burst may last."""
    seconds = event.seconds
    if seconds is None:
        seconds = max((end - now for end in _bursting(state, now)), default=0.0)
    until = now + min(seconds, BURST_SECONDS_MAX)
    if state.egress is not None:
        until = max(until, state.egress.until)
    bench = Cooldown(Scope.EGRESS, "", BURST, now, until, 0, "retry-after")
    return msgspec.structs.replace(state, egress=bench)


def refused(state: DispatchState, now: float) -> Refusal | None:
    """Why nobody gets a lease now; None when the egress is free."""
    if state.egress is None or not state.egress.active(now):
        return None
    seconds = max(math.ceil(state.egress.until - now), 1)
    return Refusal(
        "limited",
        f"the upstream limits all accounts from here at once; it takes requests again in {seconds} s",
        float(seconds),
        state.egress.until - now,
    )


def _bursting(state: DispatchState, now: float, besides: tuple[str, ...] = ()) -> list[float]:
    """When the benches end of the accounts that rest for a burst (monotonic seconds)."""
    members = state.pool()
    closely = [members.states[place] for place in members.closely]  # who rests is among them
    return [
        cooldown.until
        for account in closely
        if account.cooldowns and account.name not in besides
        for cooldown in account.cooldowns
        if cooldown.reason == BURST and cooldown.active(now)
    ]
