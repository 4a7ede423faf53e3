"""When it is not an account that is limited but this machine: the egress.

An upstream that counts requests by where they come from refuses one account after the other, and
each refusal looks like a burst of that account. Two accounts of one upstream that meet a short limit
at the same time are the evidence. Only the dispatcher sees all accounts, so the bench of the egress
is its own: one for each base URL, since an account behind another one is not behind that limit.

Why fifty parallel requests touch two accounts at most, whatever strategy spreads them later:

1. The first burst benches its account. Requests that were limited with it may try one other.
2. From then on, while any account rests for a burst, every lease of another one says `after_burst`:
   that attempt is the second account's. If it meets a short limit, it does not move on but reports
   the egress (`protocol.hops`).
3. Who wants to move on after a burst while an account that he did not try rests for one as well has
   both halves of the evidence before him: the egress is benched here.
4. While the bench of an egress lasts no account behind it gets a lease; it ends with the upstream's
   retry-after, or by the owner's reset.
"""

from __future__ import annotations

import math
from urllib.parse import urlsplit

import msgspec

from protocol import dispatch
from protocol.accounts import AccountState, Cooldown, Scope
from protocol.dispatch import AccountChanged, Acquire, DispatchState, Later, Lease, Refusal
from protocol.question import Question
from protocol.request import Route
from protocol.routing import Considered
from protocol.verdict import BURST, BURST_SECONDS_MAX

EGRESS = "egress"
"""Why an account was passed over while the egress to its upstream rests."""


class EgressLimited(msgspec.Struct, frozen=True):
    """A second account of `base_url` met a short limit; `seconds` is its retry-after, if it gave
    one."""

    base_url: str
    seconds: float | None = None


class FreeEgress(Question[None], frozen=True):
    """The owner lifts the bench of the egress that `account` is behind."""

    account: str


def choose(
    state: DispatchState, ask: Acquire, now: float
) -> tuple[DispatchState, Lease | Refusal | Later]:
    """`dispatch.choose`, for requests that may have to wait for the egress."""
    if not state.strategy.pool or ask.route is Route.OTHER:
        return dispatch.choose(state, ask, now)
    if not state.egress and not ask.after_burst and not state.pool().closely:
        return dispatch.choose(state, ask, now)  # nobody rests, so there is no evidence of any
    tried = _base_urls(state, ask.tried)
    if ask.after_burst:
        for base_url in tried:
            if _bursting(state, now, base_url, besides=ask.tried):
                state = limited(state, EgressLimited(base_url), now)
    refusal = refused(state, now)
    if refusal is not None:
        return state, refusal
    after, outcome = _among_the_free(state, ask, now)
    if isinstance(outcome, Refusal) and ask.betas and not ask.tried:
        # A beta that no account is known to have: the upstream's own refusal tells the client more
        # than ours could, and a granted beta is found so. Nobody waits for that.
        bare = msgspec.structs.replace(ask, betas=(), patient_until=0.0)
        after, outcome = _among_the_free(state, bare, now)
    if isinstance(outcome, Lease) and (
        (ask.after_burst and outcome.base_url in tried)
        or _bursting(state, now, outcome.base_url, besides=(outcome.account,))
    ):
        outcome = msgspec.structs.replace(outcome, after_burst=True)
    return after, outcome


def _among_the_free(
    state: DispatchState, ask: Acquire, now: float
) -> tuple[DispatchState, Lease | Refusal | Later]:
    """A choice in which the accounts behind a resting egress rest as well, for as long."""
    resting = {url: bench for url, bench in state.egress.items() if bench.active(now)}
    if not resting:
        return dispatch.choose(state, ask, now)
    behind = [account for account in state.members() if account.spec.base_url in resting]
    seen = state
    for account in behind:
        seen = dispatch.changed(seen, _resting(account, resting[account.spec.base_url]))
    after, outcome = dispatch.choose(seen, ask, now)
    for account in behind:
        after = dispatch.changed(after, AccountChanged(account))
    return after, _named(outcome, {a.name for a in behind if a.available_at(now) is None})


def _resting(account: AccountState, bench: Cooldown) -> AccountChanged:
    rest = msgspec.structs.replace(bench, scope=Scope.ACCOUNT, target="")
    cooldowns = (*account.cooldowns, rest)
    return AccountChanged(msgspec.structs.replace(account, cooldowns=cooldowns))


def _named(outcome: Lease | Refusal | Later, behind: set[str]) -> Lease | Refusal | Later:
    """`outcome`, with the egress named where it was the cause, not the account itself."""
    if isinstance(outcome, Later):
        return outcome
    considered = tuple(
        Considered(entry.account, entry.outcome, EGRESS)
        if entry.account in behind and entry.why == "cooling"
        else entry
        for entry in outcome.considered
    )
    if isinstance(outcome, Lease):
        return msgspec.structs.replace(outcome, choice=considered)
    return msgspec.structs.replace(outcome, considered=considered)


def limited(state: DispatchState, event: EgressLimited, now: float) -> DispatchState:
    """The egress rests for the second account's retry-after, else until the burst of the first one
    is over; never longer than a burst may last."""
    seconds = event.seconds
    if seconds is None:
        ends = _bursting(state, now, event.base_url)
        seconds = max((end - now for end in ends), default=0.0)
    until = now + min(seconds, BURST_SECONDS_MAX)
    known = state.egress.get(event.base_url)
    if known is not None:
        until = max(until, known.until)
    host = urlsplit(event.base_url).hostname or ""
    bench = Cooldown(Scope.EGRESS, host, BURST, now, until, 0, "retry-after")
    others = {url: other for url, other in state.egress.items() if other.active(now)}
    return msgspec.structs.replace(state, egress={**others, event.base_url: bench})


def freed(state: DispatchState, account: str) -> DispatchState:
    """Without the bench of the egress that `account` is behind."""
    gone = _base_urls(state, (account,))
    kept = {url: bench for url, bench in state.egress.items() if url not in gone}
    return msgspec.structs.replace(state, egress=kept)


def rests(state: DispatchState, account: str, now: float) -> bool:
    """Whether the egress that `account` is behind is benched."""
    known = state.accounts.get(account)
    bench = state.egress.get(known.spec.base_url) if known is not None else None
    return bench is not None and bench.active(now)


def refused(state: DispatchState, now: float) -> Refusal | None:
    """Why nobody gets a lease now; None when some account is behind an egress that is free."""
    if not state.egress:
        return None
    members = state.members()
    benches = [state.egress.get(account.spec.base_url) for account in members]
    ends = [bench.until for bench in benches if bench is not None and bench.active(now)]
    if not members or len(ends) < len(members):
        return None
    seconds = max(math.ceil(min(ends) - now), 1)
    return Refusal(
        "limited",
        f"the upstream limits all accounts from here at once; it takes requests again in {seconds} s",
        float(seconds),
        min(ends) - now,
        tuple(Considered(account.name, "passed", EGRESS) for account in members),
    )


def met(seconds: float) -> Refusal:
    """For the request whose own attempt showed that the egress is limited for `seconds`: a short
    limit, which is over for all accounts behind it at the same time."""
    return Refusal("limited", "the egress is limited", float(math.ceil(seconds)))


def _base_urls(state: DispatchState, names: tuple[str, ...]) -> set[str]:
    known = (state.accounts.get(name) for name in names)
    return {account.spec.base_url for account in known if account is not None}


def _bursting(
    state: DispatchState, now: float, base_url: str, besides: tuple[str, ...] = ()
) -> list[float]:
    """When the benches end of the accounts of `base_url` that rest for a burst (monotonic s)."""
    members = state.pool()
    closely = [members.states[place] for place in members.closely]  # who rests is among them
    return [
        cooldown.until
        for account in closely
        if account.spec.base_url == base_url and account.name not in besides
        for cooldown in account.cooldowns
        if cooldown.reason == BURST and cooldown.active(now)
    ]
