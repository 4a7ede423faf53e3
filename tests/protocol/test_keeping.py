"""What the keeper decides: its time, its patience, when it gives up."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from protocol.keeping import ENDS_THE_PROGRAM, LONGEST_STEP_SECONDS, Awake, Deaths, RestartLimit

LIMIT = RestartLimit()
steps = st.lists(st.floats(0, 1e6), max_size=50)


@given(steps)
def test_its_time_goes_on_as_the_clock_does_but_sleeps_when_the_keeper_sleeps(
    elapsed: list[float],
) -> None:
    clock = Awake(1000.0)
    read = 1000.0
    for step in elapsed:
        read += step
        before, clock = clock, clock.at(read)
        assert 0 <= clock.now - before.now <= LONGEST_STEP_SECONDS
    assert clock.now == pytest.approx(
        sum(min(step, LONGEST_STEP_SECONDS) for step in elapsed), abs=1e-3
    )


def test_a_clock_that_steps_back_does_not_take_time_back() -> None:
    assert Awake(10.0, 5.0).at(9.0) == Awake(9.0, 5.0)


def after(times: list[float], served: float = 0.0) -> Deaths:
    deaths = Deaths()
    for time in times:
        deaths = deaths.another(time, served, LIMIT)
    return deaths


def test_the_wait_doubles_up_to_its_maximum_with_a_fifth_more_by_chance() -> None:
    waits = [after([n * 100.0 for n in range(count)]).wait(LIMIT, 0.0) for count in range(1, 12)]
    assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
    assert waits[-1] == LIMIT.maximum
    assert after([0.0]).wait(LIMIT, 1.0) == pytest.approx(0.12)


def test_a_worker_that_served_well_is_replaced_as_quickly_as_the_first() -> None:
    deaths = after([0.0, 100.0, 200.0]).another(300.0, LIMIT.healthy, LIMIT)
    assert deaths.wait(LIMIT, 0.0) == LIMIT.backoff


def test_five_deaths_in_a_minute_are_borne_and_a_sixth_is_not() -> None:
    assert after([0.0, 1.0, 2.0, 3.0, 4.0]).wait(LIMIT, 0.5) is not None
    assert after([0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).wait(LIMIT, 0.5) is None
    assert after([0.0, 1.0, 2.0, 3.0, 4.0, 60.0]).wait(LIMIT, 0.5) is not None, "the first is past"


@given(st.lists(st.floats(0, 120), max_size=40))
def test_it_gives_up_exactly_when_more_than_five_died_in_the_last_minute(
    gaps: list[float],
) -> None:
    now, times, deaths = 0.0, [], Deaths()
    for gap in gaps:
        now += gap
        times.append(now)
        deaths = deaths.another(now, 0.0, LIMIT)
        recent = [time for time in times if now - time < LIMIT.period]
        assert (deaths.wait(LIMIT, 0.0) is None) == (len(recent) > LIMIT.deaths)


def test_the_codes_that_end_the_program_are_those_that_no_restart_betters() -> None:
    assert sorted(ENDS_THE_PROGRAM) == [0, 70, 73, 77, 78]


def test_an_hour_of_sleep_counts_as_two_seconds() -> None:
    assert Awake(100.0).at(3700.0).now == 2.0
    assert Awake(100.0).at(101.5).now == 1.5


def test_the_longest_wait_is_ten_seconds_and_a_minute_of_service_begins_anew() -> None:
    deaths = after([float(100 * n) for n in range(12)])
    assert deaths.wait(LIMIT, 0.0) == 10.0
    assert deaths.another(5000.0, 59.9, LIMIT).wait(LIMIT, 0.0) == 10.0
    assert deaths.another(5000.0, 60.0, LIMIT).wait(LIMIT, 0.0) == 0.1
