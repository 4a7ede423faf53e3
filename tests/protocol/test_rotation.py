"""Which logs go."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.rotation import LogFile, day_of, to_remove

TODAY = datetime.date(2026, 3, 10)
LARGE = 10**9


def log(days_ago: int, size: int = 1, kind: str = "requests") -> LogFile:
    return LogFile(f"{kind}-{TODAY - datetime.timedelta(days=days_ago)}.jsonl", size)


def test_what_is_as_old_as_keep_days_goes() -> None:
    files = [log(age) for age in (0, 6, 7, 8, 400)]
    assert to_remove(files, TODAY, 7, LARGE) == [log(a).name for a in (400, 8, 7)]
    assert to_remove(files, TODAY, 1, LARGE) == [log(a).name for a in (400, 8, 7, 6)]


def test_then_the_oldest_go_until_the_rest_fits() -> None:
    files = [log(0, 50), log(2, 30), log(1, 40), log(1, 5, "debug")]
    assert to_remove(files, TODAY, 7, 125) == []
    assert to_remove(files, TODAY, 7, 124) == [log(2).name]
    assert to_remove(files, TODAY, 7, 94) == [log(2).name, log(1, kind="debug").name]
    assert to_remove(files, TODAY, 7, 50) == [
        log(2).name,
        log(1, kind="debug").name,
        log(1).name,
    ]


def test_even_todays_goes_when_it_alone_is_too_large() -> None:
    assert to_remove([log(0, 51)], TODAY, 7, 50) == [log(0).name]


def test_a_file_of_tomorrow_is_no_old_file() -> None:
    assert to_remove([log(-1)], TODAY, 1, LARGE) == []


def test_files_of_days_to_come_were_written_under_a_wrong_clock_and_go_first() -> None:
    files = [log(-400, 30), log(-2, 30), log(0, 30), log(1, 30)]
    assert to_remove(files, TODAY, 7, 120) == []
    assert to_remove(files, TODAY, 7, 60) == [log(-2).name, log(-400).name]


def test_there_are_never_more_files_than_two_for_each_day_that_is_kept() -> None:
    to_come = [log(-age) for age in range(2, 40)]
    files = [*to_come, log(0), log(0, kind="debug"), log(1), log(2)]
    removed = to_remove(files, TODAY, 3, LARGE)
    assert len(files) - len(removed) == 6
    assert set(removed) < {file.name for file in to_come}


@pytest.mark.parametrize(
    "name",
    [
        "requests-2026-02-30.jsonl", "requests-2020-01-01.jsonl\n", "requests-2020-01-01.json",
        "xrequests-2020-01-01.jsonl", "notes.txt", "requests-2020-01-01.jsonl.gz", "",
        "requests-\u0662\u0660\u0662\u0660-\u0660\u0661-\u0660\u0661.jsonl", "REQUESTS-2020-01-01.jsonl", "../requests-2020-01-01.jsonl",
    ],
)  # fmt: skip
def test_a_file_that_is_not_ours_is_never_named(name: str) -> None:
    assert day_of(name) is None
    assert to_remove([LogFile(name, 10**12)], TODAY, 1, 1) == []


def test_the_day_is_in_the_name() -> None:
    assert day_of("requests-2026-03-10.jsonl") == day_of("debug-2026-03-10.jsonl") == TODAY


def test_keeping_for_longer_than_the_calendar_goes_back_keeps_everything() -> None:
    assert to_remove([log(4000)], TODAY, 1_000_000, LARGE) == []


@given(
    st.lists(st.tuples(st.integers(-1, 30), st.integers(0, 100)), unique_by=lambda f: f[0]),
    st.integers(1, 1_000_000),
    st.integers(1, 500),
)
def test_what_stays_is_young_and_fits_and_nothing_older_than_what_went_stays(
    given_files: list[tuple[int, int]], keep_days: int, maximum: int
) -> None:
    files = [log(age, size) for age, size in given_files]
    removed = to_remove(files, TODAY, keep_days, maximum)
    assert len(removed) == len(set(removed))
    kept = [file for file in files if file.name not in removed]
    assert sum(file.size for file in kept) <= maximum
    gone = [file for file in files if file.name in removed]
    assert all(day_of(a.name) < day_of(b.name) for a in gone for b in kept)  # type: ignore[operator]
    if gone:
        newest = max(gone, key=lambda file: file.name)
        too_old = (TODAY - day_of(newest.name)).days >= keep_days  # type: ignore[operator]
        assert too_old or sum(file.size for file in [*kept, newest]) > maximum


def test_what_goes_for_its_age_takes_no_room_from_the_others_and_is_named_once() -> None:
    assert to_remove([log(7, 100), log(1, 50)], TODAY, 7, 50) == [log(7).name]
