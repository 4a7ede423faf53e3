"""Times and foreign text in words that fit a terminal."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supervisor.cli.status_view import ForecastView

_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR

SMALLEST = 0.1
"""Dollars; of less, more digits are shown."""

OLD_READING_SECONDS = 15 * _MINUTE
"""From here on a reading of quota is advice, no more."""


KINDS = {"api_key": "API key", "token": "token", "oauth": "login", "client": "client"}
"""What `/status` calls the kind of an account -> what we call it to people."""


def duration(seconds: float) -> str:
    """`3 s`, `2 min`, `1 h 5 min`, `2 d 3 h`: the two units that matter, rounded down."""
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min"
    if whole < _DAY:
        return _two(whole // _HOUR, "h", whole % _HOUR // _MINUTE, "min")
    return _two(whole // _DAY, "d", whole % _DAY // _HOUR, "h")


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large} {large_unit} {small} {small_unit}" if small else f"{large} {large_unit}"


def moment(text: str | None) -> datetime | None:
    """An RFC 3339 time; None where `text` is none. One without a zone is taken as UTC."""
    try:
        parsed = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)


def ago(text: str | None, now: datetime) -> str:
    """`3 s ago`, "" where `text` is not a time."""
    then = moment(text)
    return f"{duration((now - then).total_seconds())} ago" if then is not None else ""


def remaining(text: str | None, now: datetime) -> str:
    """How long until `text`, rounded up so that it never says 0 s too early; "" once it is over."""
    then = moment(text)
    seconds = (then - now).total_seconds() if then is not None else 0.0
    return duration(math.ceil(seconds)) if seconds > 0 else ""


def reading_age(read_at: str | None, source: str, now: datetime) -> str:
    """`3 h old`, to its largest unit; "" for a reading of this life that is a few minutes old."""
    then = moment(read_at)
    if then is None:
        return ""
    seconds = (now - then).total_seconds()
    if source != "restored" and seconds < OLD_READING_SECONDS:
        return ""
    return " ".join([*duration(seconds).split()[:2], "old"])


def outlook(forecast: ForecastView | None, now: datetime) -> str:
    """`used up in 40 min`, at the rate of late; `lasts` where that is after the reset; "" where
    nothing is known, or nothing is used."""
    if forecast is None or forecast.rate_per_hour <= 0:
        return ""
    left = remaining(forecast.full_at, now)
    return f"used up in {left}" if left else "" if forecast.full_at else "lasts until then"


def amount(count: int) -> str:
    """`950`, `12k`, `3.4M`, `120M`: a number of things to its two or three leading digits."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            whole, tenth = divmod(count * 10 // size, 10)
            return f"{whole}.{tenth}{unit}" if whole < 10 and unit != "k" else f"{whole}{unit}"
    return str(count)


def counted(number: int, noun: str) -> str:
    """`1 line`, `2 lines`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def dollars(cost: float | None) -> str:
    """`$1.20`, `$0.018`, `$0.0043`; a dash for what is not known."""
    if cost is None:
        return "-"
    return f"${cost:,.2f}" if cost >= SMALLEST or not cost else f"${cost:.2g}"


def clock(text: str | None) -> str:
    """The local time of day, `14:02:11`; "" where `text` is not a time."""
    then = moment(text)
    return then.astimezone().strftime("%H:%M:%S") if then is not None else ""


def printable(text: object) -> str:
    """`text` with every character that could steer a terminal replaced: model names, paths and
    upstream messages come from strangers."""
    return "".join(c if c.isprintable() else "?" for c in str(text))
