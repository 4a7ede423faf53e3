"""How far our wall clock is off the upstream's, told by the `Date` of its answer (RFC 9110, 6.6.1).

An upstream names resets as moments of its own clock. Ours may be wrong by hours (a virtual machine
that slept, a battery that is empty): then a bench until a reset would be as much too long or too
short. So such moments are first taken as what they are, a time from the answer on.
"""

from __future__ import annotations

import datetime
import functools
import re

from protocol.request import Headers

SKEW_SECONDS = 60.0
"""Less is the way of an answer, or a `Date` without fractions: our own clock is finer."""

_IMF_FIXDATE = re.compile(
    r"[A-Z][a-z]{2}, ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def upstream_time(headers: Headers) -> float | None:
    """What the upstream's clock said (epoch seconds); None without a `Date` that can be read, or
    with several of them."""
    dates = [value for name, value in headers if len(name) == 4 and name.lower() == b"date"]
    return _moment(dates[0]) if len(dates) == 1 else None


def ahead_by(headers: Headers, now: float) -> float:
    """Seconds by which `now` (epoch) is ahead of the upstream's clock, negative when it is behind;
    0 where the difference is no more than answers take, or is not known."""
    theirs = upstream_time(headers)
    return now - moment_of_answer(theirs, now)


def moment_of_answer(theirs: float | None, ours: float) -> float:
    """When an answer was given, in epoch seconds of the clock that its resets are told by: the
    upstream's, where ours is wrong; else ours, which is finer."""
    if theirs is None or abs(ours - theirs) <= SKEW_SECONDS:
        return ours
    return theirs


@functools.lru_cache(maxsize=16)  # all answers of one second say the same
def _moment(value: bytes) -> float | None:
    found = _IMF_FIXDATE.fullmatch(value.decode("latin-1").strip())
    if found is None or found[2] not in _MONTHS:
        return None
    day, year, hour, minute, second = (int(found[place]) for place in (1, 3, 4, 5, 6))
    try:
        moment = datetime.datetime(
            year, _MONTHS.index(found[2]) + 1, day, hour, minute, second, tzinfo=datetime.UTC
        )
    except ValueError:
        return None  # the 30th of February, a leap second
    return moment.timestamp()
