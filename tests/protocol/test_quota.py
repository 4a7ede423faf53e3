"""Quota as upstream's headers tell it: read, merged, and judged when asked."""

from __future__ import annotations

import email.utils
import math

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocol.quota import (
    EPOCH_MAX,
    LATE_SECONDS,
    RESET_MOVED_SECONDS,
    UTILIZATION_MAX,
    WINDOWS_MAX,
    Quota,
    Window,
    merged,
    read,
)
from protocol.request import Headers
from server.scripted.errors import KeyLimit, key_limit_headers, unified_headers
from server.scripted.errors import Window as ScriptedWindow
from tests.kit.corpus import load

NOW = 1_795_240_000.0
RESET = 1_795_244_572


def raw(pairs: dict[str, str] | tuple[tuple[str, str], ...]) -> Headers:
    items = pairs.items() if isinstance(pairs, dict) else pairs
    return tuple((name.encode(), value.encode()) for name, value in items)


def unified(**fields: str) -> Headers:
    """`_5h_utilization="0.5"` is the header of window 5h."""
    names = {name: name.removeprefix("_").replace("_", "-") for name in fields}
    return raw({f"anthropic-ratelimit-unified-{names[k]}": v for k, v in fields.items()})


def one(utilization: float | None, resets_at: float | None = None, read_at: float = NOW) -> Quota:
    return Quota({"5h": Window(utilization, "allowed", resets_at, read_at)})


def test_a_subscriptions_windows_are_read_by_name() -> None:
    scripted = {
        "5h": ScriptedWindow(utilization=0.09, resets_at=RESET),
        "7d": ScriptedWindow(utilization=1.25, resets_at=RESET + 9, status="rejected"),
        "7d_oi": ScriptedWindow(utilization=0.8, resets_at=RESET, status="allowed_warning"),
        "overage": ScriptedWindow(utilization=0, resets_at=RESET),
        "90d_New.one": ScriptedWindow(utilization=0.5, resets_at=RESET),
    }
    quota = read(raw(unified_headers(scripted)), NOW)
    assert quota == Quota(
        {
            "5h": Window(0.09, "allowed", RESET, NOW),
            "7d": Window(1.25, "rejected", RESET + 9, NOW),
            "7d_oi": Window(0.8, "allowed_warning", RESET, NOW),
            "overage": Window(0.0, "allowed", RESET, NOW),
            "90d_new.one": Window(0.5, "allowed", RESET, NOW),
        },
        "seven_day",
    )


def test_an_api_keys_windows_have_limit_and_remaining() -> None:
    limits = {
        "requests": KeyLimit(limit=50, remaining=49, resets_at="2026-11-21T06:40:01Z"),
        "input-tokens": KeyLimit(limit=0, remaining=0, resets_at="2026-11-21T07:40:00.5+01:00"),
        "tokens": KeyLimit(limit=100, remaining=130, resets_at="soon"),
    }
    windows = read(raw(key_limit_headers(limits)), NOW).windows
    assert windows == {
        "requests": Window(1 - 49 / 50, None, 1_795_243_201.0, NOW, "response", 50, 49),
        "input-tokens": Window(None, None, 1_795_243_200.5, NOW, "response", 0, 0),
        "tokens": Window(0.0, None, None, NOW, "response", 100, 130),
    }


def test_priority_tokens_are_windows_of_their_own() -> None:
    headers = raw(
        {
            "anthropic-priority-input-tokens-limit": "10",
            "Anthropic-Priority-Input-Tokens-Remaining": "5",
            "anthropic-ratelimit-input-tokens-limit": "10",
        }
    )
    windows = read(headers, NOW).windows
    assert windows["priority-input-tokens"].utilization == 0.5
    assert (windows["input-tokens"].limit, windows["input-tokens"].utilization) == (10, None)


def test_a_recorded_refusal_of_a_subscription_is_read() -> None:
    (exchange,) = load("claude-code/e429_unified_rejected_oauth")["exchanges"]
    quota = read(raw(tuple(map(tuple, exchange["response"]["headers"]))), NOW)
    assert quota == Quota({"5h": Window(1.0, "rejected", 1795244572.0, NOW)}, "five_hour")


def test_the_overall_values_stand_for_the_claimed_windows_missing_ones() -> None:
    quota = read(unified(status="rejected", reset="5", representative_claim="seven_day_opus"), NOW)
    assert quota.windows == {"seven_day_opus": Window(None, "rejected", 5.0, NOW)}
    quota = read(
        unified(
            status="allowed_warning", reset="7", representative_claim="five_hour",
            _5h_utilization="0.9", _7d_utilization="0.1",
        ), NOW,
    )  # fmt: skip
    assert quota.windows["5h"] == Window(0.9, "allowed_warning", 7.0, NOW)
    assert quota.windows["7d"] == Window(0.1, None, None, NOW)


def test_that_all_is_well_does_not_displace_a_number() -> None:
    quota = read(unified(status="allowed", reset="5", representative_claim="five_hour"), NOW)
    assert quota == Quota({}, "five_hour")


def test_offers_and_budgets_are_no_windows() -> None:
    headers = unified(
        grace_status="eligible", grace_5h_utilization="0.4", slow_status="active",
        slow_budget_utilization="1.2", slow_budget_reset="5", overage_in_use="true",
        overage_period_monthly_utilization="0.2", fallback="available", fallback_percentage="0.5",
        overage_disabled_reason="out_of_credits", upgrade_paths="a,b", period="x",
        _5h_surpassed_threshold="0.9",
    )  # fmt: skip
    assert read(headers, NOW) == Quota()


def test_an_answer_without_such_headers_says_nothing() -> None:
    assert read(raw({"retry-after": "5", "x-ratelimit-limit-requests": "9"}), NOW) == Quota()
    assert merged(one(0.5), Quota()) == one(0.5)


@pytest.mark.parametrize(
    "value",
    ["", "half", "nan", "inf", "-1", "1e999", "1_0", "+1", " ", "\u0660.\u0665", "0x1", "9" * 400, "1001",
     "0.5, 0.6", "0.5;", "."],
)  # fmt: skip
def test_a_utilization_that_is_none_is_ignored_alone(value: str) -> None:
    quota = read(unified(_5h_utilization=value, _5h_status="rejected", _7d_utilization="0.5"), NOW)
    assert quota.windows == {
        "5h": Window(None, "rejected", None, NOW),
        "7d": Window(0.5, None, None, NOW),
    }


@pytest.mark.parametrize(
    "value", ["0", "-5", "1795244572000", "9" * 18, "Sat, 21 Nov 2026", "1e400"]
)
def test_a_reset_that_is_no_moment_is_ignored_alone(value: str) -> None:
    quota = read(unified(_5h_utilization="0.5", _5h_reset=value), NOW)
    assert quota.windows == {"5h": Window(0.5, None, None, NOW)}


@pytest.mark.parametrize(
    "value",
    ["2026-02-30T00:00:00Z", "2026-11-21", "2026-11-21T06:40:01", "2026-W47-6T06:40:01Z",
     "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-11-21T06:40:61Z", "1795244572"],
)  # fmt: skip
def test_a_key_limits_reset_that_is_no_rfc_3339_time_is_ignored_alone(value: str) -> None:
    headers = raw(
        {
            "anthropic-ratelimit-tokens-limit": "4",
            "anthropic-ratelimit-tokens-remaining": "1",
            "anthropic-ratelimit-tokens-reset": value,
        }
    )
    assert read(headers, NOW).windows["tokens"] == Window(
        0.75, None, None, NOW, limit=4, remaining=1
    )


def test_small_numbers_may_be_written_with_an_exponent() -> None:
    assert read(unified(_5h_utilization="5e-05"), NOW).windows["5h"].utilization == 5e-05


def test_of_a_repeated_header_the_first_counts() -> None:
    headers = (*unified(_5h_utilization="0.1"), *unified(_5h_utilization="0.9"))
    assert read(headers, NOW).windows["5h"].utilization == 0.1


def test_a_reset_without_anything_else_is_no_reading() -> None:
    assert read(unified(_5h_reset="5"), NOW) == Quota()


header_names = st.one_of(
    st.binary(max_size=40),
    st.builds(
        lambda prefix, name, field: f"{prefix}{name}{field}".encode(),
        st.sampled_from(["anthropic-ratelimit-", "Anthropic-RateLimit-Unified-",
                         "anthropic-priority-", "anthropic-ratelimit-unified"]),
        st.one_of(st.sampled_from(["5h", "7d_oi", "tokens", "", "-", "grace-5h"]), st.text()),
        st.sampled_from(["-utilization", "-status", "-reset", "-limit", "-remaining", "status",
                         "representative-claim", "reset", "-", ""]),
    ),
)  # fmt: skip
header_values = st.one_of(
    st.binary(max_size=40),
    st.floats().map(lambda value: str(value).encode()),
    st.integers().map(lambda value: str(value).encode()),
    st.datetimes().map(lambda value: f"{value.isoformat()}Z".encode()),
    st.sampled_from([b"rejected", b"five_hour", b"0.5", b"1795244572"]),
)
any_headers = st.lists(st.tuples(header_names, header_values)).map(tuple)


@given(st.lists(any_headers, max_size=6), st.floats(0, EPOCH_MAX))
def test_no_headers_at_all_can_raise_or_leave_nonsense(answers: list[Headers], now: float) -> None:
    quota = Quota()
    for headers in answers:
        quota = merged(quota, read(headers, now))
    assert len(quota.windows) <= WINDOWS_MAX
    for window in [*quota.windows.values(), *quota.at(now).values()]:
        if window.utilization is not None:
            assert 0 <= window.utilization <= UTILIZATION_MAX
        if window.resets_at is not None:
            assert math.isfinite(window.resets_at)
            assert 0 < window.resets_at <= EPOCH_MAX
        assert window.read_at == now
    assert msgspec.json.decode(msgspec.json.encode(quota), type=Quota) == quota


@example(((b"anthropic-ratelimit-5h-reset", b""),), "0.5")
@given(any_headers, st.sampled_from(["0.5", "1.2"]))
def test_no_other_header_can_take_a_good_one_away(headers: Headers, utilization: str) -> None:
    good = unified(_5h_utilization=utilization)
    assert read((*good, *headers), NOW).windows["5h"].utilization == float(utilization)


def test_a_newer_reading_replaces_its_window_and_the_others_stay() -> None:
    known = merged(one(0.5, RESET), Quota({"7d": Window(0.7, None, None, NOW)}, "seven_day"))
    after = merged(known, one(0.6, RESET + 18_000, NOW + 5))
    assert after.windows["5h"] == Window(0.6, "allowed", RESET + 18_000, NOW + 5)
    assert after.windows["7d"] == Window(0.7, None, None, NOW)
    assert after.representative_claim == "seven_day"


@pytest.mark.parametrize("jitter", [-RESET_MOVED_SECONDS, -1.879, 0.0, 1.0, RESET_MOVED_SECONDS])
def test_a_reset_that_only_jitters_is_the_old_one(jitter: float) -> None:
    after = merged(one(0.5, RESET), one(0.6, RESET + jitter, NOW + 5))
    assert after == one(0.6, RESET, NOW + 5)


def test_a_day_of_jittered_readings_gives_no_event() -> None:
    quota, resets = one(0.5, NOW + 90_000), set()
    for number in range(1440):
        moved = one(0.5, NOW + 90_000 + (number % 5 - 2) * 0.9, NOW + 60 * number)
        quota = merged(quota, moved)
        resets.add(quota.windows["5h"].resets_at)
    assert resets == {NOW + 90_000}


def test_a_reset_that_drifts_away_has_moved() -> None:
    quota = one(0.5, RESET)
    for number in range(1, 5):
        quota = merged(quota, one(0.5, RESET + 25 * number, NOW + number))
    assert quota.windows["5h"].resets_at == RESET + 75


def test_the_reset_after_one_that_has_passed_is_another_however_near() -> None:
    after = merged(one(0.9, NOW + 10), one(0.1, NOW + 40, NOW + 12))
    assert after.windows["5h"].resets_at == NOW + 40
    assert merged(one(0.9, NOW + 10), one(0.1, None, NOW + 12)).windows["5h"].resets_at is None


def test_a_reading_without_a_reset_keeps_the_one_that_is_to_come() -> None:
    assert merged(one(0.5, RESET), one(0.6, None, NOW + 5)) == one(0.6, RESET, NOW + 5)


def test_an_api_keys_reset_moves_with_each_answer() -> None:
    old = Quota({"tokens": Window(0.5, None, NOW + 20, NOW, limit=10, remaining=5)})
    new = Quota({"tokens": Window(0.9, None, NOW + 60, NOW + 1, limit=10, remaining=1)})
    assert merged(old, new) == new


def test_a_reading_that_comes_late_is_not_taken() -> None:
    assert merged(one(0.5), one(0.4, read_at=NOW - 1)) == one(0.5)
    assert merged(one(0.5), one(0.6, read_at=NOW)) == one(0.6)


@pytest.mark.promise("T1")
def test_after_the_clock_was_set_back_readings_are_taken_again() -> None:
    back = one(0.6, read_at=NOW - LATE_SECONDS - 1)
    assert merged(one(0.5), back) == back


def test_windows_with_ever_new_names_push_out_the_oldest() -> None:
    quota = Quota()
    for number in range(3 * WINDOWS_MAX):
        quota = merged(quota, Quota({f"w{number}": Window(0.5, None, None, NOW + number)}))
    assert list(quota.windows) == [
        f"w{number}" for number in range(2 * WINDOWS_MAX, 3 * WINDOWS_MAX)
    ]


def test_a_window_whose_reset_has_passed_is_unused_and_as_old_as_it_was() -> None:
    window = Window(0.97, "rejected", NOW + 10, NOW, "response")
    assert window.at(NOW + 9.9) is window
    assert window.at(NOW + 10) == Window(0.0, "allowed", NOW + 10, NOW, "response")
    assert window.at(NOW + 10).age(NOW + 70) == 70
    limit = Window(0.9, None, NOW + 10, NOW, "restored", 10, 1)
    assert limit.at(NOW + 10) == Window(0.0, None, NOW + 10, NOW, "restored", 10, 10)
    assert Window(0.9, None, None, NOW).at(NOW + 1e9).utilization == 0.9
    assert Quota({"5h": window}).at(NOW + 10)["5h"].utilization == 0
    assert window.age(NOW - 5) == 0, "also when the clock was set back"


@pytest.mark.parametrize(
    ("claim", "name"),
    [("five_hour", "5h"), ("seven_day", "7d"), ("seven_day_overage_included", "7d_oi"), ("x", "x")],
)
def test_the_overall_refusal_is_noted_for_the_window_that_is_claimed(claim: str, name: str) -> None:
    fields = {"status": "rejected", "reset": str(RESET), "representative_claim": claim}
    assert read(unified(**fields), NOW) == Quota(
        {name: Window(None, "rejected", RESET, NOW)}, claim
    )


def test_a_window_of_which_no_reset_is_told_is_read_whatever_the_upstreams_clock_says() -> None:
    yesterday = ((b"date", email.utils.formatdate(NOW - 86400, usegmt=True).encode()),)
    told = unified(_5h_status="allowed", _5h_utilization="0.5")
    assert read((*yesterday, *told), NOW) == one(0.5)


def test_a_claim_alone_takes_the_place_of_the_claim_before() -> None:
    known = Quota({"5h": Window(0.5, "allowed", RESET, NOW)}, "five_hour")
    assert merged(known, Quota({}, "seven_day")) == Quota(known.windows, "seven_day")
    assert merged(known, Quota()) is known


@pytest.mark.parametrize("name", ["period", "overage-period", "grace-5h", "slow", "period-x"])
def test_budgets_and_offers_are_no_windows_under_any_of_their_names(name: str) -> None:
    assert read(raw({f"anthropic-ratelimit-unified-{name}-status": "rejected"}), NOW) == Quota()


@pytest.mark.parametrize("name", ["x" * 49, "-5h", "5h!"])
def test_a_window_whose_name_is_none_is_ignored(name: str) -> None:
    headers = {f"anthropic-ratelimit-unified-{name}-status": "rejected"}
    assert read(raw(headers), NOW) == Quota()


def test_the_largest_number_and_the_last_date_are_still_taken() -> None:
    quota = read(unified(_5h_utilization="1000", _5h_reset="253402300799"), NOW)
    assert quota.windows["5h"] == Window(1000.0, None, 253402300799.0, NOW)
    beyond = read(unified(_5h_utilization="1000", _5h_reset="253402300800"), NOW)
    assert beyond.windows["5h"].resets_at is None, "there is no year 10000 to write it in"


@pytest.mark.parametrize(
    ("late", "moved", "taken", "reset"),
    [
        (0.0, 60.0, True, RESET),
        (0.0, 60.5, True, RESET + 60.5),
        (600.0, 0.0, False, RESET),
        (601.0, 0.0, True, RESET),
    ],
)
def test_a_minute_is_jitter_and_ten_minutes_are_late(
    late: float, moved: float, taken: bool, reset: float
) -> None:
    after = merged(one(0.1, RESET), one(0.2, RESET + moved, NOW - late)).windows["5h"]
    assert (after.utilization, after.resets_at) == (0.2 if taken else 0.1, reset)


def test_a_reset_that_is_in_this_moment_is_over() -> None:
    assert merged(one(0.9, NOW), one(0.1, NOW + 30)).windows["5h"].resets_at == NOW + 30
