"""Times are said as a person would, and foreign text can not steer a terminal."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from supervisor.cli.wording import (
    ago,
    clock,
    duration,
    moment,
    printable,
    reading_age,
    remaining,
)

NOW = datetime(2026, 11, 21, 14, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 s"),
        (0.9, "0 s"),
        (3, "3 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (150, "2 min"),
        (3600, "1 h"),
        (3900, "1 h 5 min"),
        (86400, "1 d"),
        (97200, "1 d 3 h"),
    ],
)
def test_a_duration_has_the_two_units_that_matter(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_what_remains_is_rounded_up_and_is_nothing_once_over() -> None:
    assert remaining("2026-11-21T14:00:00.2Z", NOW) == "1 s"
    assert remaining("2026-11-21T14:02:00Z", NOW) == "2 min"
    assert remaining("2026-11-21T13:59:59Z", NOW) == ""
    assert remaining(None, NOW) == ""


def test_what_was_is_said_with_its_age() -> None:
    assert ago("2026-11-21T13:58:59Z", NOW) == "1 min ago"
    assert ago("2026-11-21T15:58:59+02:00", NOW) == "1 min ago"
    assert ago("", NOW) == ago(None, NOW) == ago("yesterday", NOW) == ""


def test_a_readings_age_is_said_when_it_matters() -> None:
    assert reading_age("2026-11-21T13:45:01Z", "response", NOW) == ""
    assert reading_age("2026-11-21T13:45:00Z", "response", NOW) == "15 min old"
    assert reading_age("2026-11-21T08:30:00Z", "probe", NOW) == "5 h old"
    assert reading_age("2026-11-21T13:59:55Z", "restored", NOW) == "5 s old"
    assert reading_age(None, "restored", NOW) == ""


def test_a_time_without_a_zone_is_utc() -> None:
    assert moment("2026-11-21T14:00:00") == NOW


def test_the_clock_shows_local_time() -> None:
    assert clock("2026-11-21T14:00:07Z") == NOW.replace(second=7).astimezone().strftime("%H:%M:%S")
    assert clock("never") == ""


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert printable("a\x1b[31mb\nc\u202ed é 漢") == "a?[31mb?c?d é 漢"
