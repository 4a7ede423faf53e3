"""When the upstream limits all accounts at once, and how many it takes to notice."""

from __future__ import annotations

import random

import msgspec
import pytest

from protocol.accounts import AccountState, Cooldown, Scope
from protocol.dispatch import AccountChanged, DispatchState, Lease, Refusal, changed
from protocol.egress import EgressLimited, choose, freed, limited, met, refused, rests
from protocol.request import Route
from tests.protocol import test_dispatch
from tests.protocol.test_dispatch import NO_POOL, asking, pool

URL, HOST = "https://one.test:8443/api", "one.test"
OTHER_URL = "https://two.test"


def account(name: str, order: int = 0, base_url: str = URL, **changes: object) -> AccountState:
    """An account behind the same upstream as the others, if not said otherwise."""
    return test_dispatch.account(name, order, base_url=base_url, **changes)


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
    assert state.egress[URL] == Cooldown(Scope.EGRESS, HOST, "burst", 5.0, 30.0, 0, "retry-after")


def test_the_first_burst_of_a_request_is_no_second_one() -> None:
    lease = served(four(a=20.0), tried=("a",), after_burst=True)
    assert (lease.account, lease.after_burst) == ("b", True)


@pytest.mark.parametrize(
    ("seconds", "until"), [(7.0, 17.0), (None, 20.0), (500.0, 70.0), (0.0, 10.0)]
)
def test_the_egress_rests_for_the_second_retry_after_and_never_long(
    seconds: float | None, until: float
) -> None:
    state = limited(four(a=20.0), EgressLimited(URL, seconds), 10.0)
    assert state.egress[URL].until == until
    again = limited(state, EgressLimited(URL, 1.0), 10.0)
    assert again.egress[URL].until == max(until, 11.0)


def test_without_any_word_of_a_length_nothing_is_benched() -> None:
    assert refused(limited(four(), EgressLimited(URL), 10.0), 10.0) is None


def test_while_it_rests_nobody_gets_a_lease_and_all_hear_the_true_end() -> None:
    state = limited(four(), EgressLimited(URL, 7.5), 10.0)
    for changes in ({}, {"pinned": "c"}, {"tried": ("a",)}, {"route": Route.COUNT_TOKENS}):
        after, outcome = choose(state, asking(**changes), 12.0)
        assert isinstance(outcome, Refusal)
        assert (outcome.cause, outcome.retry_after) == ("limited", 6.0)
        assert after is state
    assert served(state, now=17.5).account == "a"
    assert served(state, now=12.0, route=Route.OTHER).account == "a", "never judged (rule 16)"


def test_passthrough_knows_no_egress() -> None:
    state = msgspec.structs.replace(
        limited(four(a=9.0), EgressLimited(URL, 9.0), 0.0), strategy=NO_POOL
    )
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


def two_upstreams(**benched: float) -> DispatchState:
    """Two accounts behind each of two upstreams: a and b, c and d."""
    return pool(
        *(
            account(
                name,
                order,
                URL if name in "ab" else OTHER_URL,
                cooldowns=(burst(benched[name]),) if name in benched else (),
            )
            for order, name in enumerate("abcd")
        )
    )


def test_an_account_behind_another_upstream_serves_while_an_egress_rests() -> None:
    state = limited(two_upstreams(), EgressLimited(URL, 30.0), 10.0)
    assert refused(state, 10.0) is None
    after, lease = choose(state, asking(), 12.0)
    assert isinstance(lease, Lease)
    assert (lease.account, lease.base_url, lease.after_burst) == ("c", OTHER_URL, False)
    assert {(entry.account, entry.why) for entry in lease.considered if entry.outcome == "passed"} \
        == {("a", "egress"), ("b", "egress")}  # fmt: skip
    assert after.accounts == state.accounts, "no account has a bench for it"
    assert served(state, now=40.0).account == "a"


def test_when_the_others_rest_as_well_the_first_that_is_back_is_told() -> None:
    state = limited(two_upstreams(c=70.0, d=80.0), EgressLimited(URL, 30.0), 10.0)
    _, outcome = choose(state, asking(), 12.0)
    assert isinstance(outcome, Refusal)
    assert (outcome.cause, outcome.retry_after, outcome.available_in) == ("limited", 28.0, 28.0)
    assert {entry.account: entry.why for entry in outcome.considered} == {
        "a": "egress", "b": "egress", "c": "cooling", "d": "cooling"
    }  # fmt: skip


def test_bursts_at_two_upstreams_are_no_evidence_against_either() -> None:
    state = two_upstreams(a=20.0, c=20.0)
    lease = served(state, tried=("a",), after_burst=True)
    assert (lease.account, lease.after_burst) == ("b", True)
    state, outcome = choose(two_upstreams(a=20.0, b=20.0, c=20.0), asking(), 5.0)
    assert isinstance(outcome, Lease)
    assert (outcome.account, outcome.after_burst) == ("d", True)
    state, outcome = choose(
        two_upstreams(a=20.0, b=20.0), asking(tried=("b",), after_burst=True), 5.0
    )
    assert set(state.egress) == {URL}
    assert isinstance(outcome, Lease)
    assert (outcome.account, outcome.after_burst) == ("c", False)


def test_the_owner_lifts_the_bench_of_the_egress_that_an_account_is_behind() -> None:
    state = limited(two_upstreams(), EgressLimited(URL, 30.0), 10.0)
    state = limited(state, EgressLimited(OTHER_URL, 20.0), 10.0)
    assert refused(state, 11.0) is not None
    assert set(freed(state, "b").egress) == {OTHER_URL}
    assert served(freed(state, "b"), now=11.0).account == "a"
    assert freed(state, "unknown").egress == state.egress


def test_an_egress_that_rests_no_more_is_forgotten_with_the_next() -> None:
    state = limited(two_upstreams(), EgressLimited(URL, 5.0), 10.0)
    assert set(limited(state, EgressLimited(OTHER_URL, 5.0), 16.0).egress) == {OTHER_URL}


def test_who_met_the_limit_himself_hears_its_length_and_does_not_wait_for_it() -> None:
    assert (met(7.2).retry_after, met(7.2).available_in) == (8.0, None)


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
            state = limited(state, EgressLimited(URL, 20.0), now)
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


def test_two_bursts_that_are_over_are_no_limit_and_nobody_rests_for_them() -> None:
    state, outcome = choose(four(a=20.0, b=30.0), asking(tried=("b",), after_burst=True), 40.0)
    assert isinstance(outcome, Lease)
    assert state.egress.get(URL) is None or not rests(state, "a", 40.0)
    benched = limited(four(), EgressLimited(URL, 5.0), 0.0)
    assert (rests(benched, "a", 4.9), rests(benched, "a", 5.0)) == (True, False)
    assert not rests(benched, "nobody", 0.0)
    assert not rests(four(), "a", 0.0)


def test_an_account_that_rests_for_another_reason_is_no_witness_of_a_burst() -> None:
    other = Cooldown(Scope.ACCOUNT, "", "rate_limited", 0.0, 20.0, 0, "retry-after")
    state = pool(account("a", 0, cooldowns=(other,)), account("b", 1))
    assert not served(state).after_burst


def test_of_two_upstreams_the_refusal_tells_the_end_that_comes_first() -> None:
    state = two_upstreams()
    state = limited(state, EgressLimited(URL, 30.0), 0.0)
    state = limited(state, EgressLimited(OTHER_URL, 12.5), 0.0)
    refusal = refused(state, 0.0)
    assert refusal is not None
    assert (refusal.cause, refusal.retry_after, refusal.available_in) == ("limited", 13.0, 12.5)
    assert {entry.outcome for entry in refusal.considered} == {"passed"}
    last = refused(state, 12.2)
    assert last is not None
    assert last.retry_after == 1.0
    assert met(3.2).cause == "limited"
