"""What is in flight, whatever is leased, released and restarted in whatever order."""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from protocol.dispatch import (
    AccountChanged,
    AccountRemoved,
    Again,
    DispatchState,
    Lease,
    Refusal,
    Release,
    begun,
    changed,
    choose,
    choose_again,
    released,
    removed,
)
from protocol.request import Route
from tests.protocol.test_dispatch import ASK, account, asking, bench, pool


class InFlight(RuleBasedStateMachine):
    """Leases given, given back, given back twice or by a life before: the counts stay true."""

    leases = Bundle("leases")
    names = st.sampled_from(["a", "b", "c"])

    def __init__(self) -> None:
        super().__init__()
        self.fresh = pool(*(account(name, order) for order, name in enumerate("abc")))
        self.life = 1
        self.state = begun(self.fresh, None, 1)
        self.open: dict[int, str] = {}
        self.given: set[int] = set()

    def take(self, state: DispatchState, outcome: Lease | Refusal) -> Lease | None:
        self.state = state
        if isinstance(outcome, Refusal):
            return None
        assert outcome.id not in self.given
        self.given.add(outcome.id)
        self.open[outcome.id] = outcome.account
        return outcome

    @rule(target=leases, tried=st.sets(names), other=st.booleans())
    def acquire(self, tried: set[str], other: bool) -> Lease | None:
        ask = asking(tried=tuple(tried), route=Route.OTHER if other else Route.MESSAGES)
        return self.take(*choose(self.state, ask, 0.0))

    @rule(target=leases, name=names)
    def acquire_again(self, name: str) -> Lease | None:
        return self.take(*choose_again(self.state, Again(name, ASK), 0.0))

    @rule(lease=consumes(leases))
    def release(self, lease: Lease | None) -> None:
        if lease is not None:
            self.state = released(self.state, Release(lease.id, lease.account))
            self.open.pop(lease.id, None)

    @rule(name=names, resting=st.booleans())
    def change(self, name: str, resting: bool) -> None:
        rests = (bench(9.0),) if resting else ()
        known = account(name, "abc".index(name), cooldowns=rests)
        self.state = changed(self.state, AccountChanged(known))

    @rule(name=names)
    def remove(self, name: str) -> None:
        self.state = removed(self.state, AccountRemoved(name))

    @rule(clean=st.booleans())
    def restart(self, clean: bool) -> None:
        self.life += 1
        self.state = begun(self.fresh, None if clean else self.state, self.life)
        if clean:  # leases of the life before are nobody's any more, but still come back
            self.open.clear()

    @rule(name=names)
    def release_of_nobody(self, name: str) -> None:
        self.state = released(self.state, Release(self.state.next_lease + 5, name))
        self.state = released(self.state, Release(0, name))

    @invariant()
    def counts_are_the_open_leases(self) -> None:
        assert self.state.in_flight == dict(Counter(self.open.values()))


TestInFlight = InFlight.TestCase
