"""When a window will be used up, if things go on as they did."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.accounts import AccountSpec, AccountState
from protocol.forecast import (
    HOUR,
    STEPS_MAX,
    Forecast,
    QuotaHistory,
    Watched,
    forecast,
    watched,
)
from protocol.quota import Quota, Window

RESET = 5 * HOUR


def window(used: float | None, resets_at: float | None = RESET, limit: int | None = None) -> Window:
    return Window(used, "allowed", resets_at, 0.0, limit=limit)


def seen(*readings: tuple[float, float], resets_at: float | None = RESET) -> Watched:
    """Watched at these moments with so much used each time."""
    found: Watched | None = None
    for at, used in readings:
        found = watched(found, window(used, resets_at), at)
    assert found is not None
    return found


def told(history: Watched, now: float, name: str = "5h") -> Forecast:
    found = forecast(name, history, now)
    assert found is not None
    return found


def test_a_steady_rate_says_when_it_is_used_up() -> None:
    history = seen((0, 0.1), (900, 0.2), (1800, 0.3))
    found = told(history, 1800)
    assert found.rate_per_hour == pytest.approx(0.4)
    assert found.full_at == pytest.approx(1800 + 0.7 / 0.4 * HOUR)


def test_a_rate_that_does_not_fill_it_before_its_reset_lasts() -> None:
    history = seen((0, 0.1), (1800, 0.15))
    assert told(history, 1800) == Forecast(0.1, None)


def test_without_a_reset_it_is_used_up_some_day() -> None:
    history = seen((0, 0.1), (1800, 0.11), resets_at=None)
    assert told(history, 1800).full_at == pytest.approx(1800 + 0.89 / 0.02 * HOUR)


def test_nothing_used_lasts() -> None:
    assert told(seen((0, 0.5), (1800, 0.5)), 1800) == Forecast(0.0, None)


def test_what_was_watched_only_for_moments_says_nothing() -> None:
    history = seen((0, 0.1), (60, 0.2))
    assert forecast("5h", history, 299) is None
    assert forecast("5h", history, 300) is not None


def test_a_clock_that_was_set_back_says_nothing() -> None:
    assert forecast("5h", seen((5000, 0.1)), 10) is None


def test_what_is_used_up_is_so_now() -> None:
    found = told(seen((0, 0.9), (900, 1.02)), 1000)
    assert found.full_at == 1000
    assert found.rate_per_hour == pytest.approx(0.432)
    assert told(seen((0, 1.0), (900, 1.0)), 1000) == Forecast(0.0, 1000)


def test_what_is_used_up_at_its_very_reset_lasts() -> None:
    history = seen((0, 0.0), (1024, 0.25), resets_at=4096)
    assert told(history, 1024).full_at is None
    assert told(seen((0, 0.0), (1024, 0.25), resets_at=4097), 1024).full_at == 4096


def test_a_rate_is_told_in_millionths() -> None:
    assert told(seen((0, 0.1), (700, 0.2)), 700).rate_per_hour == 0.514286
    assert told(seen((0, 0.9), (700, 1.0)), 700).rate_per_hour == 0.514286


def test_only_the_last_hour_counts() -> None:
    history = seen((0, 0.1), (600, 0.6), (3 * HOUR, 0.7), resets_at=10 * HOUR)
    found = told(history, 3.5 * HOUR)
    assert found.rate_per_hour == pytest.approx(0.1)
    assert found.full_at == pytest.approx(6.5 * HOUR)


def test_of_a_week_the_last_day_counts() -> None:
    history = seen((0, 0.1), (600, 0.3), (20 * HOUR, 0.5), resets_at=1000 * HOUR)
    assert told(history, 20 * HOUR, "7d").rate_per_hour == pytest.approx(0.02)
    assert told(history, 43.5 * HOUR, "7d_opus").rate_per_hour == pytest.approx(0.2 / 24, abs=1e-6)
    assert told(history, 44.5 * HOUR, "7d_opus") == Forecast(0.0, None)


def test_a_pause_lowers_the_rate_although_nothing_new_was_read() -> None:
    history = seen((0, 0.1), (600, 0.2))
    assert told(history, 600).rate_per_hour == pytest.approx(0.6)
    assert told(history, 1800).rate_per_hour == pytest.approx(0.2)


def test_a_reset_begins_anew() -> None:
    history = seen((0, 0.8), (600, 0.9))
    later = watched(history, window(0.0, RESET), RESET)
    assert later is not None
    assert [step.utilization for step in later.steps] == [0.0]
    moved = watched(history, window(0.95, 2 * RESET), RESET)
    assert moved is not None
    assert [step.utilization for step in moved.steps] == [0.95]


@pytest.mark.parametrize("jitter", [-3600, 60, 120])
def test_a_reset_that_jitters_is_the_same_window(jitter: float) -> None:
    history = watched(seen((0, 0.8)), window(0.8, RESET + jitter), 600)
    assert history == Watched(seen((0, 0.8)).steps, RESET + jitter)


def test_a_reset_that_is_later_by_more_is_another_windows() -> None:
    history = watched(seen((0, 0.8)), window(0.8, RESET + 120.5), 600)
    assert history == seen((600, 0.8), resets_at=RESET + 120.5)


@pytest.mark.parametrize("odd", [window(None), window(0.5, limit=1000)])
def test_what_is_not_known_or_refilled_all_the_time_is_not_watched(odd: Window) -> None:
    assert watched(None, odd, 0) is None
    assert watched(seen((0, 0.1)), odd, 10) is None


def test_no_window_takes_more_room_than_its_steps() -> None:
    history = seen(*((float(n), n / 10_000) for n in range(2000)))
    assert len(history.steps) == STEPS_MAX
    same = seen(*((float(n), 0.5) for n in range(2000)))
    assert len(same.steps) == 1


readings = st.lists(
    st.tuples(st.floats(0, 1e6), st.floats(0, 1.5), st.one_of(st.none(), st.floats(0, 1e6))),
    min_size=1,
    max_size=30,
)


@given(readings, st.floats(0, 2e6), st.sampled_from(["5h", "7d", "overage"]))
def test_whatever_was_read_a_forecast_is_sound(
    given: list[tuple[float, float, float | None]], later: float, name: str
) -> None:
    history: Watched | None = None
    for at, used, resets_at in sorted(given, key=lambda one: one[0]):
        history = watched(history, window(used, resets_at), at)
    assert history is not None
    now = history.steps[-1].at + later
    found = forecast(name, history, now)
    if found is not None:
        assert found.rate_per_hour >= 0
        assert found.full_at is None or found.full_at >= now
        if found.full_at is not None and history.resets_at is not None and found.full_at > now:
            assert found.full_at < history.resets_at


def account(name: str, **windows: Window) -> AccountState:
    spec = AccountSpec(name, "token", None, "http://x")
    return AccountState(spec=spec, quota=Quota(windows))


def test_a_history_is_kept_of_the_accounts_that_there_are() -> None:
    history = QuotaHistory()
    history.see([account("a", w=window(0.1)), account("b", w=window(0.1))], 0)
    history.see([account("a", w=window(0.3))], 1800)
    assert history.forecasts("a", ["w", "other"], 1800)["w"].rate_per_hour == pytest.approx(0.4)
    assert history.forecasts("b", ["w"], 1800) == {}
    history.see([account("a", w=window(0.3)), account("b", w=window(0.2))], 1900)
    assert history.forecasts("b", ["w"], 1900) == {}
