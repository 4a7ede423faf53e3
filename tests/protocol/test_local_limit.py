"""`requests_per_minute`: never one too many in any 60 seconds, and never held longer than that."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from protocol.local_limit import EXACT_MAX, Sent, counted, free_at


def test_the_limit_slides_and_each_request_counts_for_60_seconds() -> None:
    sent: Sent = ()
    for now in (0.0, 30.0):
        assert free_at(sent, 2, now) is None
        sent = counted(sent, 2, now)
    assert free_at(sent, 2, 59.9) == 60.0
    assert free_at(sent, 2, 60.0) is None
    sent = counted(sent, 2, 60.0)
    assert free_at(sent, 2, 60.0) == 90.0


def test_requests_right_after_one_another_count_each_by_itself() -> None:
    sent = counted(counted((), 2, 0.0), 2, 0.05)
    assert free_at(sent, 2, 1.0) == 60.0
    assert free_at(counted(sent, 2, 60.0), 2, 60.0) == 60.05


def test_no_limit_is_no_limit() -> None:
    assert free_at(((1.0, 99),), 0, 1.0) is None


def test_a_lowered_limit_waits_for_all_that_is_too_much() -> None:
    sent: Sent = ((1.0, 1), (2.0, 1), (3.0, 1))
    assert free_at(sent, 3, 4.0) == 61.0
    assert free_at(sent, 1, 4.0) == 63.0


def test_a_high_limit_is_remembered_in_little_and_still_holds() -> None:
    limit, sent, given_out, now = 6000, (), 0, 0.0
    for _ in range(7000):
        now += 0.005
        if free_at(sent, limit, now) is None:
            sent, given_out = counted(sent, limit, now), given_out + 1
    assert given_out == limit
    assert len(sent) <= EXACT_MAX + 1


def test_up_to_600_a_minute_every_request_is_remembered_and_above_that_every_tenth_of_a_second() -> (
    None
):
    def remembered(limit: int) -> Sent:
        sent: Sent = ()
        for now in (0.01, 0.05, 0.15):
            sent = counted(sent, limit, now)
        return sent

    assert remembered(600) == ((0.01, 1), (0.05, 1), (0.15, 1))
    assert remembered(601) == ((0.05, 2), (0.15, 1))


def test_what_no_longer_counts_is_forgotten() -> None:
    assert counted(((0.0, 1), (0.1, 1)), 2, 60.0) == ((0.1, 1), (60.0, 1))


@given(st.integers(1, 5), st.lists(st.floats(0, 40), max_size=40))
def test_no_60_seconds_see_more_than_the_limit(limit: int, gaps: list[float]) -> None:
    sent: Sent = ()
    now, taken = 0.0, list[float]()
    for gap in gaps:
        now += gap
        back = free_at(sent, limit, now)
        recent = [moment for moment in taken if moment + 60.0 > now]
        assert (back is None) == (len(recent) < limit)
        if back is None:
            sent, taken = counted(sent, limit, now), [*taken, now]
        else:
            assert back == recent[-limit] + 60.0
