"""The configured accounts, ready to be chosen among: sorted, as strategies see them, and who of
them needs a closer look.

All of this follows from the accounts' snapshots and from what is in flight. It is kept because a
choice is made for every request and a snapshot changes one account: working it out anew for a
hundred accounts takes longer than everything else about a choice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from protocol import routing
from protocol.accounts import ANY_MODEL, AccountState
from protocol.strategies import Candidate

T = TypeVar("T")


class Members(msgspec.Struct, frozen=True):
    """The members of a pool, first choice first: by priority, ties by configuration order.

    `accounts`, `in_flight` and `switch_at` are what this was made from. `closely`: places of those
    that may be unable to serve some request; `owners`: of subscriptions, which not everybody may
    use; `crowded`: of those with a window at its `switch_at`.
    """

    accounts: Mapping[str, AccountState]
    in_flight: Mapping[str, int]
    switch_at: Mapping[str, float]
    states: tuple[AccountState, ...]
    candidates: tuple[Candidate, ...]
    places: Mapping[str, int]
    closely: tuple[int, ...]
    owners: tuple[int, ...]
    crowded: tuple[int, ...]

    def made_from(
        self,
        accounts: Mapping[str, AccountState],
        in_flight: Mapping[str, int],
        switch_at: Mapping[str, float],
    ) -> bool:
        """Whether these are the members of just these values (the very same, not equal ones)."""
        return (
            self.accounts is accounts
            and self.in_flight is in_flight
            and self.switch_at is switch_at
        )


def members_of(
    accounts: Mapping[str, AccountState],
    in_flight: Mapping[str, int],
    switch_at: Mapping[str, float],
    given: Mapping[str, int],
) -> Members:
    """Worked out from the start. `given` counts the leases of each since the start."""
    configured = [known for known in accounts.values() if known.spec.kind != "client"]
    states = tuple(sorted(configured, key=lambda s: s.place))
    candidates = tuple(
        _candidate(s, in_flight.get(s.name, 0), given.get(s.name, 0)) for s in states
    )
    return Members(
        accounts,
        in_flight,
        switch_at,
        states,
        candidates,
        {known.name: place for place, known in enumerate(states)},
        tuple(place for place, known in enumerate(states) if _look_closely(known)),
        tuple(place for place, known in enumerate(states) if _subscription(known)),
        tuple(place for place, c in enumerate(candidates) if _crowded(c, switch_at)),
    )


def with_account(
    members: Members,
    known: AccountState,
    accounts: Mapping[str, AccountState],
    given: Mapping[str, int],
) -> Members:
    """One snapshot is new; `accounts` has it already, and `given` what it says."""
    place = members.places.get(known.name)
    if place is None and known.spec.kind == "client":
        return msgspec.structs.replace(members, accounts=accounts)
    if place is None or members.states[place].spec is not known.spec:
        return members_of(accounts, members.in_flight, members.switch_at, given)
    before, requests = members.candidates[place], given.get(known.name, 0)
    if known.quota is members.states[place].quota:
        candidate = before.loaded(before.in_flight, requests)
    else:
        candidate = _candidate(known, before.in_flight, requests)
    return msgspec.structs.replace(
        members,
        accounts=accounts,
        states=_replaced(members.states, place, known),
        candidates=_replaced(members.candidates, place, candidate),
        closely=_listed(members.closely, place, _look_closely(known)),
        crowded=_listed(members.crowded, place, _crowded(candidate, members.switch_at)),
    )


def with_load(
    members: Members, name: str, in_flight: Mapping[str, int], given: Mapping[str, int]
) -> Members:
    """What `name` has in flight has changed; `in_flight` and `given` say so already."""
    place = members.places.get(name)
    candidates = members.candidates
    if place is not None:
        loaded = candidates[place].loaded(in_flight.get(name, 0), given.get(name, 0))
        candidates = _replaced(candidates, place, loaded)
    return msgspec.structs.replace(members, in_flight=in_flight, candidates=candidates)


def _candidate(account: AccountState, in_flight: int, given: int) -> Candidate:
    # A window without a reset never ends by itself.
    windows = {
        name: (window.utilization, math.inf if window.resets_at is None else window.resets_at)
        for name, window in account.quota.windows.items()
        if window.utilization is not None
    }
    return routing.candidate(account, in_flight, given, windows)


def _look_closely(account: AccountState) -> bool:
    spec = account.spec
    return bool(
        not account.enabled
        or spec.needs_login
        or account.cooldowns
        or spec.requests_per_minute
        or spec.models != ANY_MODEL
        or spec.exclude_models
    )


def _subscription(account: AccountState) -> bool:
    return account.spec.subscription


def _crowded(candidate: Candidate, switch_at: Mapping[str, float]) -> bool:
    return candidate.over(switch_at, -math.inf)


def _listed(places: tuple[int, ...], place: int, listed: bool) -> tuple[int, ...]:
    if (place in places) is listed:
        return places
    rest = {*places} ^ {place}
    return tuple(sorted(rest))


def _replaced(row: tuple[T, ...], place: int, value: T) -> tuple[T, ...]:
    return (*row[:place], value, *row[place + 1 :])
