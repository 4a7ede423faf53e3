"""Resets are moments of the upstream's clock; ours may be wrong by hours."""

from __future__ import annotations

import datetime
import email.utils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.benches import Benches, CooldownPolicy, benched
from protocol.quota import read
from protocol.request import Headers
from protocol.upstream_clock import ahead_by, upstream_time
from protocol.verdict import judge

THEIRS = 1_790_000_000.0
HOUR = 3600.0
SKEWS = (-30 * HOUR, -6 * HOUR, -61.0, 61.0, 6 * HOUR, 30 * HOUR)
"""Ours minus the upstream's."""


def dated(*more: tuple[bytes, bytes], at: float = THEIRS) -> Headers:
    return ((b"Date", email.utils.formatdate(at, usegmt=True).encode()), *more)


def spent_until(moment: float) -> Headers:
    name = b"anthropic-ratelimit-unified-5h"
    return (
        (name + b"-status", b"rejected"),
        (name + b"-utilization", b"1.0"),
        (name + b"-reset", str(int(moment)).encode()),
    )


def rest(headers: Headers, ours: float) -> tuple[float, str]:
    """Seconds, and what says so, of an answer that comes when our clock says `ours`."""
    verdict = judge(429, headers)
    (bench,) = benched(Benches(), verdict, CooldownPolicy(), now=0.0, at=ours).cooldowns
    return bench.until, bench.source


@pytest.mark.promise("T1")
@pytest.mark.parametrize("skew", SKEWS)
def test_a_wrong_clock_of_ours_makes_no_bench_longer_or_shorter(skew: float) -> None:
    headers = dated(*spent_until(THEIRS + HOUR))
    assert rest(headers, THEIRS + skew) == (HOUR, "reset")


@pytest.mark.promise("T1", control=True)
def test_without_the_date_a_clock_that_is_behind_rests_to_the_cap_and_one_ahead_only_guesses() -> (
    None
):
    headers = spent_until(THEIRS + HOUR)
    assert rest(headers, THEIRS - 6 * HOUR) == (5 * HOUR + 60, "reset")
    assert rest(headers, THEIRS + 6 * HOUR) == (CooldownPolicy().base, "ladder")


@pytest.mark.parametrize("apart", [-60.0, -1.0, 0.0, 2.0, 60.0])
def test_a_difference_that_the_way_may_make_is_none(apart: float) -> None:
    assert ahead_by(dated(), THEIRS + apart) == 0.0
    headers = dated(*spent_until(THEIRS + HOUR))
    assert rest(headers, THEIRS + apart) == (HOUR - apart, "reset")


@pytest.mark.promise("T1")
@pytest.mark.parametrize("skew", SKEWS)
def test_a_reading_is_told_by_our_clock_so_that_it_ends_when_it_does(skew: float) -> None:
    ours = THEIRS + skew
    keys = (
        (b"anthropic-ratelimit-requests-limit", b"10"),
        (b"anthropic-ratelimit-requests-remaining", b"5"),
        (b"anthropic-ratelimit-requests-reset", b"2026-09-21T15:13:20Z"),
    )
    windows = read(dated(*spent_until(THEIRS + HOUR), *keys), ours).windows
    assert windows["5h"].resets_at == ours + HOUR
    in_sixty = email.utils.parsedate_to_datetime("Mon, 21 Sep 2026 15:13:20 GMT").timestamp()
    assert windows["requests"].resets_at == ours + in_sixty - THEIRS
    assert windows["5h"].at(ours + HOUR - 1).utilization == 1.0
    assert windows["5h"].at(ours + HOUR).utilization == 0.0


@pytest.mark.parametrize(
    "value",
    [
        b"", b"now", b"Mon, 30 Feb 2026 12:00:00 GMT", b"Mon, 21 Foo 2026 12:00:00 GMT",
        b"Monday, 21-Sep-26 12:00:00 GMT", b"Mon Sep 21 12:00:00 2026", b"1790000000",
        b"Mon, 21 Sep 2026 12:00:60 GMT", b"Mon, 21 Sep 2026 25:00:00 GMT",
        b"Mon, 21 Sep 0000 12:00:00 GMT", b"Mon, 21 Sep 2026 12:00:00 +0000",
        b"Mon, \xb2\xb2 Sep 2026 12:00:00 GMT",
    ],
)  # fmt: skip
def test_a_date_that_cannot_be_read_is_none(value: bytes) -> None:
    assert upstream_time(((b"date", value),)) is None
    assert ahead_by(((b"date", value),), THEIRS) == 0.0


@pytest.mark.parametrize("month", range(1, 13))
def test_every_month_is_known(month: int) -> None:
    first = datetime.datetime(2026, month, 1, tzinfo=datetime.UTC).timestamp()
    assert upstream_time(dated(at=first)) == first


def test_no_other_header_of_four_letters_is_a_date() -> None:
    assert upstream_time(dated((b"vary", b"accept"), (b"Etag", b'"x"'))) == THEIRS


def test_of_two_dates_none_is_believed() -> None:
    assert upstream_time((*dated(), *dated(at=THEIRS + HOUR))) is None


@given(st.binary(max_size=40))
def test_no_bytes_make_it_raise(value: bytes) -> None:
    upstream_time(((b"Date", value),))


@given(st.integers(0, 4_000_000_000))
def test_every_second_is_read_as_the_standard_library_reads_it(moment: int) -> None:
    assert upstream_time(dated(at=moment)) == moment
