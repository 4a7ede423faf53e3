"""What an answer's headers say about limits, read for a verdict (`wire.md` C).

Windows are an open set: a name that nobody knows yet is kept as it is. Every number comes from
outside, so what cannot be read is as if it were not there.
"""

from __future__ import annotations

import datetime
import math
import re

import msgspec

from protocol.asked import FAMILIES
from protocol.request import Headers
from protocol.upstream_clock import upstream_time

WINDOWS_MAX = 32
"""Windows read from one answer; an upstream has a handful."""

_PREFIX = "anthropic-ratelimit-"
_UNIFIED = re.compile(r"unified-(?:([a-z0-9_-]{1,32})-)?(status|reset|utilization)")
_KEY_LIMIT = re.compile(r"([a-z0-9_-]{1,32})-(limit|remaining|reset)")

# Names below `unified-` that are no windows: what is paid beyond them, and offers of the upstream.
# A healthy account that may not overdraw says `overage-status: rejected` on every answer.
_NO_WINDOWS = re.compile(r"(?:overage|grace|slow)(?:-|$)")

_WINDOW_OF_CLAIM = {
    "five_hour": "5h",
    "seven_day": "7d",
    "seven_day_opus": "7d_opus",
    "seven_day_sonnet": "7d_sonnet",
    "seven_day_overage_included": "7d_oi",
}

_TOP_FAMILIES = ("fable", "mythos")
_FAMILIES_OF_WINDOW = {
    "7d_oi": _TOP_FAMILIES,
    **{f"7d_{family}": (family,) for family in FAMILIES},
}


class Window(msgspec.Struct, frozen=True):
    """One limit. `resets_at` in epoch seconds; `spent`: it is why a request is refused."""

    name: str
    spent: bool = False
    resets_at: float | None = None

    @property
    def families(self) -> tuple[str, ...]:
        """The model families that it counts; empty: all of them, or nobody knows."""
        return families_of(self.name)

    @property
    def longest(self) -> float:
        """Seconds: no such window lasts longer, whatever an answer says."""
        if self.name == "5h":
            return 5 * 3600.0 + 60.0
        return 7 * 86400.0 + (60.0 if self.name.startswith("7d") else 0.0)


def families_of(window: str) -> tuple[str, ...]:
    """The model families that a window of that name counts; empty: all, or nobody knows."""
    return _FAMILIES_OF_WINDOW.get(window, ())


class Evidence(msgspec.Struct, frozen=True):
    """All that the headers say. `claimed`: the window that the upstream names as its reason."""

    windows: tuple[Window, ...] = ()
    claimed: str | None = None
    told: bool = False
    """Any word of a limit at all."""
    retry_after: float | None = None
    repeat: bool = False
    """`x-should-retry: true`."""
    answered_at: float | None = None
    """By the upstream's clock, in epoch seconds; so are the resets."""

    @property
    def spent(self) -> tuple[Window, ...]:
        return tuple(window for window in self.windows if window.spent)


def read_evidence(headers: Headers) -> Evidence:
    """The evidence of one answer."""
    fields: dict[str, dict[str, str]] = {}
    overall: dict[str, str] = {}
    repeats: list[str] = []
    told = False
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1").strip()
        if name == "x-should-retry":
            repeats.append(value.lower())
        if not name.startswith(_PREFIX):
            continue
        told = True
        _note(name.removeprefix(_PREFIX), value, fields, overall)
    windows = [_window(name, known) for name, known in fields.items()][:WINDOWS_MAX]
    claimed = _claimed(overall, windows)
    if claimed is not None:
        windows = _with_claimed(windows, claimed, _epoch(overall.get("reset")))
    return Evidence(
        windows=tuple(windows),
        claimed=claimed,
        told=told,
        retry_after=read_retry_after(headers),
        repeat=repeats == ["true"],
        answered_at=upstream_time(headers),
    )


def _note(
    name: str, value: str, fields: dict[str, dict[str, str]], overall: dict[str, str]
) -> None:
    if name == "unified-representative-claim":
        overall["claim"] = value
        return
    found = _UNIFIED.fullmatch(name) or _KEY_LIMIT.fullmatch(name)
    if found is None:
        return
    window, field = found[1], found[2]
    if window is None:
        overall[field] = value
    elif not _NO_WINDOWS.match(window.removeprefix("unified-")):
        fields.setdefault(window.removeprefix("unified-"), {})[field] = value


def _window(name: str, known: dict[str, str]) -> Window:
    utilization, remaining = _number(known.get("utilization")), _number(known.get("remaining"))
    spent = (
        known.get("status", "").lower() == "rejected"
        or (utilization is not None and utilization >= 1)
        or remaining == 0
    )
    return Window(name, spent, _epoch(known.get("reset")))


def _claimed(overall: dict[str, str], windows: list[Window]) -> str | None:
    """The window that a refusal as a whole is put down to; None when nothing was refused so, or
    when the windows speak for themselves."""
    if overall.get("status", "").lower() != "rejected":
        return None
    claim = overall.get("claim", "").lower()[:32]
    if claim:
        return _WINDOW_OF_CLAIM.get(claim, claim)
    return None if any(window.spent for window in windows) else "unified"


def _with_claimed(windows: list[Window], claimed: str, reset: float | None) -> list[Window]:
    """`windows`, with the claimed one spent; it may have no headers of its own."""
    own = next((window for window in windows if window.name == claimed), None)
    ends = reset if own is None or own.resets_at is None else own.resets_at
    others = [window for window in windows if window.name != claimed]
    return [*others, Window(claimed, True, ends)]


def _number(text: str | None) -> float | None:
    return None if text is None else read_seconds(text.encode("latin-1"))


def _epoch(text: str | None) -> float | None:
    """Epoch seconds, or RFC 3339 (the limits of API keys)."""
    if text is None:
        return None
    seconds = _number(text)
    if seconds is not None:
        return seconds if math.isfinite(seconds) else None
    try:
        moment = datetime.datetime.fromisoformat(text)
        return moment.timestamp() if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def read_retry_after(headers: Headers) -> float | None:
    """Whole or decimal seconds of `retry-after`; None for a date, nonsense or no header.

    Anthropic sends integers (`wire.md` C); a date would need the wall clock of two machines to
    agree, and clients ignore it as well.
    """
    values = (read_seconds(value) for name, value in headers if name.lower() == b"retry-after")
    return next((seconds for seconds in values if seconds is not None), None)


def read_seconds(value: bytes) -> float | None:
    """A plain number of at least 0, as in `retry-after`; infinite when it has hundreds of digits."""
    text = value.strip()
    return float(text) if text.replace(b".", b"", 1).isdigit() else None
