"""What upstream says about an account's quota: windows by name, read from its answers' headers.

Two forms (`wire.md` C). Subscriptions: `anthropic-ratelimit-unified-<window>-<utilization | status
| reset>`. API keys: `anthropic-ratelimit-<window>-<limit | remaining | reset>`, and
`anthropic-priority-<window>-...` as window `priority-<window>`. Names are an open set and kept as
they come. Nothing here raises, whatever the headers are: a value that cannot be read is no value.
"""

from __future__ import annotations

import datetime
import functools
import math
import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from protocol.request import Headers
from protocol.upstream_clock import ahead_by

Source = Literal["response", "probe", "restored"]

WINDOWS_MAX = 32
"""Windows kept of an account: names come from upstream, and nothing bounds their number there."""

RESET_MOVED_SECONDS = 60.0
"""A reset that differs by less is the same one: upstream computes it anew for each answer."""

LATE_SECONDS = 600.0
"""A reading that is older than the known one by so much at most came late and is not taken. By
more, it is the wall clock that was set back, and the reading is the newer one after all."""

UTILIZATION_MAX = 1000.0
EPOCH_MAX = 253_402_300_799.0
"""The last second of the year 9999; milliseconds taken for seconds are far beyond it."""


class Window(msgspec.Struct, frozen=True):
    """One window as it was at `read_at`. Times are epoch seconds.

    `utilization` may exceed 1; None: the answer did not say. `status` as upstream words it
    (`allowed`, `allowed_warning`, `rejected`, perhaps others); None for an API key's windows, which
    have none. `limit` and `remaining` only for those.
    """

    utilization: float | None
    status: str | None
    resets_at: float | None
    read_at: float
    source: Source = "response"
    limit: int | None = None
    remaining: int | None = None

    def at(self, now: float) -> Window:
        """The window as it has to be taken at `now`: nothing is used after its reset has passed.

        `read_at` stays: how old the knowledge is does not change by that.
        """
        if self.resets_at is None or now < self.resets_at:
            return self
        return msgspec.structs.replace(
            self,
            utilization=0.0,
            status=None if self.status is None else "allowed",
            remaining=self.limit,
        )

    def age(self, now: float) -> float:
        """Seconds since it was read."""
        return max(0.0, now - self.read_at)


class Quota(msgspec.Struct, frozen=True):
    """All windows by name, and which of them upstream calls the decisive one (`five_hour`, ...)."""

    windows: dict[str, Window] = {}
    representative_claim: str | None = None

    def at(self, now: float) -> dict[str, Window]:
        """The windows as they have to be taken at `now` (epoch seconds)."""
        return {name: window.at(now) for name, window in self.windows.items()}


def merged(known: Quota, reading: Quota) -> Quota:
    """`known` after `reading`: windows that it names are replaced, the others stay."""
    if not reading.windows and reading.representative_claim is None:
        return known
    windows = dict(known.windows)
    for name, window in reading.windows.items():
        before = windows.get(name)
        if before is None or not _came_late(before, window):
            windows[name] = window if before is None else _steadied(before, window)
    if len(windows) > WINDOWS_MAX:
        newest = sorted(windows, key=lambda name: windows[name].read_at)[-WINDOWS_MAX:]
        windows = {name: window for name, window in windows.items() if name in newest}
    return Quota(windows, reading.representative_claim or known.representative_claim)


def _came_late(before: Window, window: Window) -> bool:
    return 0 < before.read_at - window.read_at <= LATE_SECONDS


def _steadied(before: Window, window: Window) -> Window:
    """`window` with the reset known before, where the two differ by no more than jitter.

    Not once that reset has passed: then it is over. And not for an API key's windows, which are
    refilled all the time and may be shorter than the jitter.
    """
    old, new = before.resets_at, window.resets_at
    if window.limit is not None or old is None or old <= window.read_at:
        return window
    if new is not None and abs(new - old) > RESET_MOVED_SECONDS:
        return window
    return msgspec.structs.replace(window, resets_at=old)


# --- reading headers

_UNIFIED = "anthropic-ratelimit-unified-"
_KEY = "anthropic-ratelimit-"
_PRIORITY = "anthropic-priority-"
_UNIFIED_FIELD = re.compile(r"(.+)-(utilization|status|reset)")
_KEY_FIELD = re.compile(r"(.+)-(limit|remaining|reset)")
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,47}")
_WORD = re.compile(r"[A-Za-z0-9_-]{1,48}")
_NUMBER = re.compile(r"[0-9]{1,18}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?")
_COUNT = re.compile(r"[0-9]{1,18}")
_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)

_FORMS = (
    (_UNIFIED, _UNIFIED_FIELD, ""),
    (_KEY, _KEY_FIELD, ""),
    (_PRIORITY, _KEY_FIELD, "priority-"),
)

# Look like windows by their last word, but measure offers and budgets, not what may be used.
_NO_WINDOWS = ("grace", "slow", "period", "overage-period")

_CLAIMED_WINDOW = {
    "five_hour": "5h",
    "seven_day": "7d",
    "seven_day_overage_included": "7d_oi",
}
"""The window's name in the headers, where the claim has another."""


def read(headers: Headers, now: float, source: Source = "response") -> Quota:
    """What `headers` say, read at `now` (epoch seconds). Of a repeated header the first counts.

    Resets are told by our clock, however wrong that is: it says when they have come.
    """
    unified: dict[str, dict[str, str]] = {}
    keys: dict[str, dict[str, str]] = {}
    overall: dict[str, str] = {}
    for name, value in _texts(headers).items():
        place = _place(name)
        if place is None:
            continue
        form, window, field = place
        if not window:
            overall[field] = value
        else:
            (unified if form == _UNIFIED else keys).setdefault(window, {})[field] = value
    claim = _word(overall.get("representative-claim"))
    if claim is not None:
        _complete(unified, _CLAIMED_WINDOW.get(claim, claim), overall)
    # Should one name come in both forms, the unified one is the account's own word.
    windows = {name: _key_window(fields, now, source) for name, fields in keys.items()}
    windows |= {name: _unified_window(fields, now, source) for name, fields in unified.items()}
    ahead = ahead_by(headers, now) if windows else 0.0
    told = {name: _by(ahead, window) for name, window in windows.items() if _says(window)}
    return Quota(told, claim)


def _by(ahead: float, window: Window) -> Window:
    if not ahead or window.resets_at is None:
        return window
    return msgspec.structs.replace(window, resets_at=_epoch(window.resets_at + ahead))


def _texts(headers: Headers) -> dict[str, str]:
    """The rate-limit headers, names in lower case; what is not ASCII is left out."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        if raw_name[:10].lower() == b"anthropic-" and raw_name.isascii() and raw_value.isascii():
            found.setdefault(raw_name.decode("ascii").lower(), raw_value.decode("ascii").strip())
    return found


@functools.lru_cache(maxsize=256)  # an upstream has some twenty names, again in each answer
def _place(name: str) -> tuple[str, str, str] | None:
    """The form of a header by its name, the window that it is about, and which field of it.

    Window "": about the account as a whole. None: about nothing that is read here.
    """
    for form, pattern, prefix in _FORMS:
        if not name.startswith(form):
            continue
        rest = name.removeprefix(form)
        field = pattern.fullmatch(rest)
        if field is not None and _is_window(field[1], prefix):
            return form, prefix + field[1], field[2]
        return (form, "", rest) if form == _UNIFIED else None
    return None


def _is_window(name: str, prefix: str) -> bool:
    if not _NAME.fullmatch(prefix + name):
        return False
    return not any(name == other or name.startswith(other + "-") for other in _NO_WINDOWS)


def _complete(windows: dict[str, dict[str, str]], claimed: str, overall: Mapping[str, str]) -> None:
    """The overall status and reset are those of the window that the claim names: where headers of
    its own are missing, these stand for them. Of a window that has none at all, only a status that
    is worth knowing is noted; it must not displace a reading with a number."""
    if not _NAME.fullmatch(claimed):
        return
    if claimed not in windows and overall.get("status", "allowed") == "allowed":
        return
    fields = windows.setdefault(claimed, {})
    for field in ("status", "reset"):
        if field in overall:
            fields.setdefault(field, overall[field])


def _says(window: Window) -> bool:
    """A reset alone is no reading."""
    return (window.utilization, window.status, window.limit, window.remaining) != (None,) * 4


def _unified_window(fields: Mapping[str, str], now: float, source: Source) -> Window:
    return Window(
        _utilization(fields.get("utilization")),
        _word(fields.get("status")),
        _epoch(_number(fields.get("reset"))),
        now,
        source,
    )


def _key_window(fields: Mapping[str, str], now: float, source: Source) -> Window:
    limit, remaining = _count(fields.get("limit")), _count(fields.get("remaining"))
    utilization = None
    if limit and remaining is not None:  # of a limit of 0 there is no fraction
        utilization = max(0.0, 1 - remaining / limit)
    resets_at = _epoch(_moment(fields.get("reset")))
    return Window(utilization, None, resets_at, now, source, limit, remaining)


def _word(text: str | None) -> str | None:
    return text if text is not None and _WORD.fullmatch(text) else None


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and _COUNT.fullmatch(text) else None


def _number(text: str | None) -> float | None:
    return float(text) if text is not None and _NUMBER.fullmatch(text) else None


def _utilization(text: str | None) -> float | None:
    number = _number(text)
    return number if number is not None and number <= UTILIZATION_MAX else None


def _moment(text: str | None) -> float | None:
    if text is None or not _RFC_3339.fullmatch(text):
        return None
    try:
        return datetime.datetime.fromisoformat(text.upper()).timestamp()
    except (ValueError, OverflowError):
        return None  # the 30th of February, a 61st second


def _epoch(seconds: float | None) -> float | None:
    if seconds is None or not math.isfinite(seconds):
        return None
    return seconds if 0 < seconds <= EPOCH_MAX else None
