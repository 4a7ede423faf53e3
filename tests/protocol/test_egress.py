"""When the upstream limits all accounts at once, and how many it takes to notice."""

from __future__ import annotations

import random

import msgspec
import pytest

from protocol.accounts import AccountState, Cooldown, Scope
from protocol.dispatch import AccountChanged, DispatchState, Lease, Refusal, changed
from protocol.egress import EgressLimited, choose, limited, refused
from protocol.request import Route
from tests.protocol.test_dispatch import NO_POOL, account, asking, pool


def burst(until: float) -> Cooldown:
    return Cooldown(Scope.ACCOUNT, "", "burst", 0.0, until, 0, "retry-after")


def four(**benched: float) -> DispatchState:
    return pool(
        *(
            account(name, order, cooldowns=(burst(benched[name]),) if name in benched else ())
            for order, name in enumerate("abcd")
        )
    )


def served(state: DispatchState, now: float = 0.0, **changes: object) -> Lease:
    _, outcome = choose(state, asking(**changes), now)
    assert isinstance(outcome, Lease), outcome
    return outcome


def test_while_an_account_rests_for_a_burst_the_next_one_is_the_second_witness() -> None:
    assert not served(four()).after_burst
    lease = served(four(a=20.0))
    assert (lease.account, lease.after_burst) == ("b", True)
    assert not served(four(a=20.0), now=20.0).after_burst
    assert served(four(), tried=("a",), after_burst=True).after_burst


def test_who_comes_from_a_burst_and_finds_another_gets_no_lease() -> None:
    state, outcome = choose(four(a=20.0, b=30.0), asking(tried=("b",), after_burst=True), 5.0)
    assert isinstance(outcome, Refusal)
    assert (outcome.cause, outcome.retry_after) == ("limited", 25.0)
    assert state.egress == Cooldown(Scope.EGRESS, "", "burst", 5.0, 30.0, 0, "retry-after")


def test_the_first_burst_of_a_request_is_no_second_one() -> None:
    lease = served(four(a=20.0), tried=("a",), after_burst=True)
    assert (lease.account, lease.after_burst) == ("b", True)


@pytest.mark.parametrize(
    ("seconds", "until"), [(7.0, 17.0), (None, 20.0), (500.0, 70.0), (0.0, 10.0)]
)
def test_the_egress_rests_for_the_second_retry_after_and_never_long(
    seconds: float | None, until: float
) -> None:
    state = limited(four(a=20.0), EgressLimited(seconds), 10.0)
    assert state.egress is not None
    assert state.egress.until == until
    assert limited(state, EgressLimited(1.0), 10.0).egress.until == max(until, 11.0)  # type: ignore[union-attr]


def test_without_any_word_of_a_length_nothing_is_benched() -> None:
    assert refused(limited(four(), EgressLimited(), 10.0), 10.0) is None


def test_while_it_rests_nobody_gets_a_lease_and_all_hear_the_true_end() -> None:
    state = limited(four(), EgressLimited(7.5), 10.0)
    for changes in ({}, {"pinned": "c"}, {"tried": ("a",)}, {"route": Route.COUNT_TOKENS}):
        after, outcome = choose(state, asking(**changes), 12.0)
        assert isinstance(outcome, Refusal)
        assert (outcome.cause, outcome.retry_after) == ("limited", 6.0)
        assert after is state
    assert served(state, now=17.5).account == "a"
    assert served(state, now=12.0, route=Route.OTHER).account == "a", "never judged (rule 16)"


def test_passthrough_knows_no_egress() -> None:
    state = msgspec.structs.replace(limited(four(a=9.0), EgressLimited(9.0), 0.0), strategy=NO_POOL)
    assert served(state).account == "client-1234"


def test_a_beta_that_nobody_has_is_still_asked_for() -> None:
    lacking = Cooldown(Scope.BETA, "context-1m", "long_context", 0.0, 300.0, 0, "status")
    both = pool(account("a", 0, cooldowns=(lacking,)), account("b", 1, cooldowns=(lacking,)))
    betas = ("context-1m-2025-08-07",)
    assert served(both, betas=betas).account == "a"
    _, outcome = choose(both, asking(betas=betas, tried=("a",)), 0.0)
    assert isinstance(outcome, Refusal), "once, not once for each account"
    one = changed(both, AccountChanged(account("b", 1)))
    assert served(one, betas=betas).account == "b"
    assert served(one).account == "a"


@pytest.mark.parametrize("seed", range(20))
def test_a_herd_under_an_egress_limit_touches_two_accounts(seed: int) -> None:
    """Fifty requests and more that come meanwhile, answers in any order: 2 of 4 accounts."""
    order = random.Random(seed)
    state, touched, now = four(), set(), 0.0
    waiting: list[tuple[Lease, bool]] = []

    def ask(**changes: object) -> None:
        nonlocal state
        state, outcome = choose(state, asking(**changes), now)
        if isinstance(outcome, Lease):
            touched.add(outcome.account)
            waiting.append((outcome, bool(changes)))

    for _ in range(50):
        ask()
    arrivals = 50
    while waiting:
        now += 0.01
        lease, hopped = waiting.pop(order.randrange(len(waiting)))
        if hopped or lease.after_burst:
            state = limited(state, EgressLimited(20.0), now)
        else:
            known: AccountState = state.accounts[lease.account]
            rests = msgspec.structs.replace(known, cooldowns=(burst(now + 20.0),))
            state = changed(state, AccountChanged(rests))
            ask(tried=(lease.account,), after_burst=True)
        if arrivals and order.random() < 0.5:
            arrivals -= 1
            ask()
    assert touched == {"a", "b"}
    assert refused(state, now) is not None
