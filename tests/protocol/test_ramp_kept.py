"""What is remembered of ramps, for how long, and of whom."""

from __future__ import annotations

import pytest

from protocol.ramp import RAMP_SECONDS, Ramp, Traffic, forgotten, leased, returned


def test_a_ramp_takes_two_seconds() -> None:
    assert RAMP_SECONDS == 2.0


def test_of_several_limits_that_ended_the_last_one_counts() -> None:
    after = returned(Traffic(), "a", 0, (5.0, 50.0, 900.0), 51.0)
    assert after.ramps == {"a": Ramp(51.0, 0, back=True)}


@pytest.mark.parametrize(("ended", "ramps"), [(40.0, True), (39.9, False)])
def test_who_is_back_for_more_than_ten_seconds_has_no_ramp_any_more(
    ended: float, ramps: bool
) -> None:
    assert bool(returned(Traffic(), "a", 0, (ended,), 50.0).ramps) is ramps


def test_of_a_removed_account_alone_everything_is_forgotten() -> None:
    traffic = leased(leased(Traffic(), "a", 1.0), "b", 2.0)
    traffic = Traffic(traffic.newest, {"a": Ramp(1.0), "b": Ramp(2.0)})
    assert forgotten(traffic, "a") == Traffic({"b": 2.0}, {"b": Ramp(2.0)})
