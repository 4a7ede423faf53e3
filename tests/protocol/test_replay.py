"""Recorded requests, sent once more through the policy code that serves."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.config.model import Routing
from protocol.replay import CACHE_SECONDS, WINDOW_SECONDS, Outcome, Recorded, Rules, replay
from protocol.routing import Policy
from protocol.strategies import STRATEGIES

EPOCH = 1_800_000_000.0


def asked(
    at: float, session: str | None = "s", seconds: float = 1.0, cached: int = 1000
) -> Recorded:
    return Recorded(EPOCH + at, session, "claude-x", seconds, 10, 20, cached, 5)


def played(
    *recorded: Recorded,
    strategy: str = "fill-first",
    affinity: float = 3600.0,
    names: tuple[str, ...] = ("a", "b"),
    allowance: float = 0.0,
    max_wait: float = 2.0,
) -> Outcome:
    policy = Policy(strategy, {"5h": 0.98}, affinity)
    return replay(recorded, Rules(names, policy, allowance, max_wait))


def test_fill_first_sends_all_to_the_first() -> None:
    outcome = played(*(asked(n * 10, f"s{n}") for n in range(6)))
    assert (outcome.by_account, outcome.served, outcome.refused) == ({"a": 6}, 6, 0)


def test_round_robin_shares() -> None:
    outcome = played(*(asked(n * 10, f"s{n}") for n in range(6)), strategy="round-robin")
    assert outcome.by_account == {"a": 3, "b": 3}


def test_a_session_that_stays_keeps_its_cache() -> None:
    outcome = played(*(asked(n * 60) for n in range(5)), strategy="round-robin")
    assert outcome.by_account == {"a": 5}
    assert (outcome.moved, outcome.kept, outcome.cached) == (0, 5000, 5000)


def test_a_session_that_is_moved_writes_its_cache_anew() -> None:
    outcome = played(*(asked(n * 60) for n in range(5)), strategy="round-robin", affinity=0)
    assert outcome.moved == 4
    assert (outcome.kept, outcome.cached) == (1000, 5000)
    assert [one.cache_write for one in outcome.requests] == [5, 1005, 1005, 1005, 1005]
    assert [one.cache_read for one in outcome.requests] == [1000, 0, 0, 0, 0]


def test_a_session_that_pauses_too_long_loses_its_cache() -> None:
    outcome = played(asked(0), asked(CACHE_SECONDS + 5))
    assert (outcome.moved, outcome.kept, outcome.cached) == (0, 1000, 2000)


def test_a_cache_lives_for_an_hour_after_its_last_use() -> None:
    last_moment, too_late = 1 + 3600.0, 1 + 3600 + 1 + 3600.5
    assert played(asked(0), asked(last_moment), asked(too_late)).kept == 2000


def test_a_token_from_a_cache_counts_a_tenth() -> None:
    assert asked(0, cached=1000).weight == 10 + 20 + 5 + 100
    assert Recorded(EPOCH, "s", "claude-x", 1.0).weight == 0, "what is not recorded is nothing"


def test_a_limit_is_met_when_the_allowance_is_used_to_its_last_token() -> None:
    first, second = asked(0, "x", cached=0), asked(10, "y", cached=0)  # each of 35 tokens
    for allowance, served in ((36, 2), (35, 1)):
        outcome = played(first, second, names=("a",), allowance=allowance)
        assert (outcome.served, outcome.limited) == (served, 2 - served)


def test_without_an_allowance_no_limit_is_met_and_one_waits_as_routing_says() -> None:
    rules = Rules(("a",), Policy("fill-first", {}, 0.0))
    assert replay([asked(n, f"s{n}") for n in range(9)], rules).limited == 0
    assert rules.max_wait == Routing().max_wait


def test_an_account_whose_allowance_is_used_up_rests_and_the_next_one_serves() -> None:
    outcome = played(*(asked(n * 10, f"s{n}", cached=0) for n in range(8)), allowance=100)
    assert outcome.served == 6
    assert outcome.by_account == {"a": 3, "b": 3}
    assert (outcome.refused, outcome.limited) == (2, 2)


def test_an_account_that_is_nearly_used_up_is_spared_before_it_meets_its_limit() -> None:
    assert played(
        *(asked(n * 10, f"s{n}", cached=0) for n in range(2)), allowance=105
    ).by_account == {"a": 2}
    outcome = played(*(asked(n * 10, f"s{n}", cached=0) for n in range(4)), allowance=105)
    assert outcome.by_account == {"a": 3, "b": 1}
    assert outcome.limited == 0


def test_after_its_reset_an_account_serves_again() -> None:
    outcome = played(asked(0, cached=0), asked(10, cached=0), asked(WINDOW_SECONDS + 20, cached=0),
                     names=("a",), allowance=30)  # fmt: skip
    assert (outcome.served, outcome.refused) == (2, 1)


def test_a_request_waits_for_an_account_that_is_soon_back() -> None:
    recorded = (asked(0, "x", cached=0), asked(10, "y", cached=0), asked(WINDOW_SECONDS - 1, "z"))
    outcome = played(*recorded, names=("a",), allowance=30, max_wait=2)
    assert (outcome.served, outcome.refused, outcome.waited) == (2, 1, 1)
    assert outcome.waited_seconds == pytest.approx(1.0, abs=0.1)
    assert played(*recorded, names=("a",), allowance=30, max_wait=0.5).served == 1


def test_a_request_waits_for_as_long_as_it_may_and_no_longer() -> None:
    before = (asked(0, "x", cached=0), asked(10, "y", cached=0))
    for early, waited in ((2.0, 2.0), (0.5, 0.5), (2.001, 0.0)):
        late = asked(5 * 3600 - early, "z", cached=0)
        outcome = played(*before, late, names=("a",), allowance=30, max_wait=2)
        assert (outcome.waited, outcome.waited_seconds) == (waited > 0, waited)


def test_what_is_in_flight_counts_for_least_used() -> None:
    outcome = played(asked(0, "x", 100), asked(1, "y"), asked(2, "z"), strategy="least-used")
    assert outcome.by_account == {"a": 1, "b": 2}


def test_the_order_in_the_log_does_not_matter() -> None:
    recorded = [asked(n * 7, f"s{n % 3}") for n in range(20)]
    assert played(*recorded) == played(*reversed(recorded))


@settings(max_examples=60)
@given(
    st.lists(
        st.builds(
            asked,
            st.floats(0, 40_000),
            st.sampled_from([None, "x", "y", "z"]),
            st.floats(0, 600),
            st.integers(0, 1000),
        ),
        max_size=40,
    ),
    st.sampled_from(sorted(STRATEGIES)),
    st.sampled_from([0.0, 200.0, 2000.0]),
    st.sampled_from([0.0, 3600.0]),
)
def test_whatever_is_replayed_every_request_is_served_or_refused_and_no_token_gets_lost(
    recorded: list[Recorded], strategy: str, allowance: float, affinity: float
) -> None:
    outcome = played(*recorded, strategy=strategy, allowance=allowance, affinity=affinity)
    assert outcome.served + outcome.refused == len(recorded)
    assert outcome.served == len(outcome.requests) == sum(outcome.by_account.values())
    assert outcome.kept == sum(one.cache_read for one in outcome.requests) <= outcome.cached
    if not allowance:
        assert (outcome.refused, outcome.limited, outcome.waited) == (0, 0, 0)
    if not outcome.refused:
        after = sum(one.cache_read + one.cache_write for one in outcome.requests)
        assert after == sum(one.cache_read + one.cache_write for one in recorded)
