"""Which end leads to which restart, and how many of them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from protocol.restart import (
    ROOT_POLICY,
    Decision,
    Escalate,
    Exit,
    Leave,
    Restart,
    RestartHistory,
    Restarting,
    RestartPolicy,
    Strategy,
    affected,
    decide,
    ready,
    wants_restart,
)

POLICY = RestartPolicy()


def crash(
    history: RestartHistory, now: float, jitter: float = 0.0, policy: RestartPolicy = POLICY
) -> Decision:
    return decide("permanent", "abnormal", policy, history, now, jitter)


def restarts_until_escalation(policy: RestartPolicy, jitter: float = 0.0) -> list[float]:
    """Back-offs of a child that crashes the moment it is started."""
    history, now, waits = RestartHistory(), 0.0, []
    while isinstance(decision := crash(history, now, jitter, policy), Restart):
        waits.append(decision.after)
        history, now = decision.history, now + decision.after
    assert decision == Escalate()
    return waits


@pytest.mark.parametrize(
    ("restart", "ended", "restarted"),
    [
        ("permanent", "normal", True),
        ("permanent", "shutdown", True),
        ("permanent", "abnormal", True),
        ("transient", "normal", False),
        ("transient", "shutdown", False),
        ("transient", "abnormal", True),
        ("temporary", "normal", False),
        ("temporary", "shutdown", False),
        ("temporary", "abnormal", False),
    ],
)
def test_what_restarts_is_as_in_otp(restart: Restarting, ended: Exit, restarted: bool) -> None:
    decision = decide(restart, ended, POLICY, RestartHistory(), 0.0, 0.0)
    assert wants_restart(restart, ended) is restarted
    assert isinstance(decision, Restart if restarted else Leave)


def test_an_always_crashing_child_is_restarted_five_times_with_doubling_waits() -> None:
    assert restarts_until_escalation(POLICY) == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6])


def test_the_root_restarts_a_group_three_times() -> None:
    assert restarts_until_escalation(ROOT_POLICY) == [0.5, 1.0, 2.0]
    history = RestartHistory(restarts=(0.0, 20.0, 40.0))
    assert crash(history, 59.0, policy=ROOT_POLICY) == Escalate()
    assert isinstance(crash(history, 60.0, policy=ROOT_POLICY), Restart)


def test_the_wait_stops_doubling_at_its_maximum() -> None:
    policy = RestartPolicy(intensity=9, period=1000, backoff=1, maximum_backoff=5)
    assert restarts_until_escalation(policy) == [1, 2, 4, 5, 5, 5, 5, 5, 5]


@pytest.mark.parametrize("policy", [POLICY, ROOT_POLICY])
def test_nothing_waits_for_longer_than_ten_seconds(policy: RestartPolicy) -> None:
    decision = crash(RestartHistory(level=20), 0.0, policy=policy)
    assert isinstance(decision, Restart)
    assert decision.after == 10.0


def test_a_minute_of_health_brings_the_first_wait_back() -> None:
    first = crash(RestartHistory(), 0.0)
    assert isinstance(first, Restart)
    early = crash(ready(first.history, 1.0), 60.9)
    late = crash(ready(first.history, 1.0), 61.0)
    assert isinstance(early, Restart)
    assert isinstance(late, Restart)
    assert (early.after, late.after) == pytest.approx((0.2, 0.1))


def test_restarts_that_are_a_period_ago_no_longer_count() -> None:
    history = RestartHistory(restarts=(0.0, 1.0, 2.0, 3.0, 4.0))
    assert crash(history, 29.0) == Escalate()
    assert isinstance(crash(history, 29.95), Restart), "it is due after the period"
    second = RestartPolicy(backoff=1.0)
    assert isinstance(crash(history, 29.0, policy=second), Restart), "it is due as the period ends"


def test_a_child_that_others_can_bear_to_lose_rests_instead_of_escalating() -> None:
    policy = RestartPolicy(park=30.0, maximum_park=100.0)
    history, now, rests, rested = RestartHistory(), 0.0, [], False
    for _ in range(24):
        decision = crash(history, now, policy=policy)
        assert isinstance(decision, Restart)
        if rested:
            assert decision.after == policy.backoff, "waits begin anew"
        if rested := decision.parked:
            assert decision.history.restarts == (now + decision.after,)
        history, now = decision.history, now + decision.after
        if decision.parked:
            rests.append(decision.after)
    assert rests == [30.0, 60.0, 100.0, 100.0]


@pytest.mark.parametrize(("park", "longest"), [(0.5, 300.0), (30.0, 300.0)])
def test_a_rest_is_never_longer_than_five_minutes(park: float, longest: float) -> None:
    history = RestartHistory(restarts=(0.0, 0.1, 0.2, 0.3, 0.4), parked=20)
    decision = crash(history, 1.0, policy=RestartPolicy(park=park))
    assert isinstance(decision, Restart)
    assert (decision.parked, decision.after) == (True, longest)


@pytest.mark.parametrize(
    ("strategy", "ended", "concerned"),
    [
        ("one_for_one", 1, [1]),
        ("rest_for_one", 0, [0, 1, 2, 3]),
        ("rest_for_one", 2, [2, 3]),
        ("one_for_all", 2, [0, 1, 2, 3]),
    ],
)
def test_a_strategy_says_who_is_restarted_together(
    strategy: Strategy, ended: int, concerned: list[int]
) -> None:
    assert list(affected(strategy, 4, ended)) == concerned


@given(jitter=st.floats(0, 1), level=st.integers(0, 5000))
def test_a_wait_is_at_most_a_fifth_longer_than_it_would_be_without_jitter(
    jitter: float, level: int
) -> None:
    plain = min(POLICY.maximum_backoff, POLICY.backoff * 2.0 ** min(level, 100))
    decision = crash(RestartHistory(level=level), 0.0, jitter)
    assert isinstance(decision, Restart)
    assert plain <= decision.after <= plain * 1.2 * (1 + 1e-12)


class CrashingChild(RuleBasedStateMachine):
    """A child that lives for arbitrary times, becomes ready or not, and crashes."""

    def __init__(self) -> None:
        super().__init__()
        self.policy = RestartPolicy(intensity=3, period=20.0, backoff=0.5, maximum_backoff=4.0)
        self.history = RestartHistory()
        self.now = 0.0
        self.restarts: list[float] = []

    @rule(lived=st.floats(0, 90), becomes_ready=st.booleans(), jitter=st.floats(0, 1))
    def crash(self, lived: float, becomes_ready: bool, jitter: float) -> None:
        if becomes_ready:
            self.history = ready(self.history, self.now)
        self.now += lived
        decision = crash(self.history, self.now, jitter, self.policy)
        if isinstance(decision, Restart):
            self.history = decision.history
            self.now += decision.after
            self.restarts.append(self.now)
        else:
            assert decision == Escalate()
            due = self.now + self.policy.maximum_backoff * 1.2
            recent = [at for at in self.restarts if at > due - self.policy.period - 5]
            assert len(recent) >= self.policy.intensity, "escalated without need"
            self.history = RestartHistory()
            self.restarts = []

    @invariant()
    def no_window_has_more_restarts_than_allowed(self) -> None:
        for first, last in zip(self.restarts, self.restarts[self.policy.intensity :], strict=False):
            assert last - first >= self.policy.period

    @invariant()
    def the_history_stays_small(self) -> None:
        assert len(self.history.restarts) <= self.policy.intensity
        assert all(one <= next_one for one, next_one in pairwise(self.history.restarts))


TestCrashingChild = CrashingChild.TestCase
