"""When a quota window will be used up, if things go on as they did.

A window's use only rises until its reset, in steps of what upstream rounds to. So each step is kept
with the moment at which it was first seen, and the rate is that of the last hour (of a day, for
windows of a week): from what was used at its beginning to what is used now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from protocol.accounts import AccountState
from protocol.quota import Window

HOUR = 3600.0
WEEKLY = "7d"
WEEKLY_LOOKBACK = 24 * HOUR
EVIDENCE_SECONDS = 300.0
"""Less than that of watching says nothing."""
STEPS_MAX = 240
"""Kept of a window: twice as many as there are whole percents, and some."""
RESET_MOVED_SECONDS = 120.0
"""A reset that is later than that belongs to the next window."""


class Step(msgspec.Struct, frozen=True):
    """From `at` (epoch seconds) on so much was used."""

    at: float
    utilization: float


class Watched(msgspec.Struct, frozen=True):
    """One window: its steps since it was first seen, or since its last reset, in order."""

    steps: tuple[Step, ...]
    resets_at: float | None


class Forecast(msgspec.Struct, frozen=True):
    """`rate_per_hour` is the part of the window that an hour takes. `full_at` (epoch seconds) is
    when it is used up at that rate; None: not before its reset."""

    rate_per_hour: float
    full_at: float | None


def watched(before: Watched | None, window: Window, now: float) -> Watched | None:
    """`before`, and the window as it is `now`; None where it cannot be watched."""
    if window.utilization is None or window.limit is not None:
        return None  # an API key's windows are refilled all the time
    used = window.utilization
    begun = Watched((Step(now, used),), window.resets_at)
    if before is None or _is_another(before, window):
        return begun
    last = before.steps[-1]
    if used == last.utilization:
        return before if before.resets_at == window.resets_at else _until(before, window)
    steps = (*before.steps, Step(now, used))
    return Watched(steps[-STEPS_MAX:], window.resets_at)


def _until(before: Watched, window: Window) -> Watched:
    return msgspec.structs.replace(before, resets_at=window.resets_at)


def _is_another(before: Watched, window: Window) -> bool:
    if window.utilization is not None and window.utilization < before.steps[-1].utilization:
        return True
    old, new = before.resets_at, window.resets_at
    return old is not None and new is not None and new > old + RESET_MOVED_SECONDS


def forecast(name: str, window: Watched, now: float) -> Forecast | None:
    """When the window `name` is used up; None as long as too little has been seen of it."""
    lookback = WEEKLY_LOOKBACK if name.startswith(WEEKLY) else HOUR
    since = max(now - lookback, window.steps[0].at)
    seconds = now - since
    if seconds < EVIDENCE_SECONDS:
        return None
    earlier = [step.utilization for step in window.steps if step.at <= since]
    used = window.steps[-1].utilization
    rate = (used - earlier[-1]) / seconds
    if used >= 1:
        return Forecast(round(rate * HOUR, 6), now)
    if rate <= 0:
        return Forecast(0.0, None)
    full_at = now + (1 - used) / rate
    lasts = window.resets_at is not None and full_at >= window.resets_at
    return Forecast(round(rate * HOUR, 6), None if lasts else full_at)


class QuotaHistory:
    """Of all windows of all accounts there are; what is gone is forgotten."""

    def __init__(self) -> None:
        self._windows: dict[tuple[str, str], Watched] = {}

    def see(self, accounts: Iterable[AccountState], now: float) -> None:
        """The accounts as they are `now` (epoch seconds); call it every few seconds."""
        windows: dict[tuple[str, str], Watched] = {}
        for account in accounts:
            for name, window in account.quota.at(now).items():
                known = watched(self._windows.get((account.name, name)), window, now)
                if known is not None:
                    windows[account.name, name] = known
        self._windows = windows

    def forecasts(self, account: str, names: Iterable[str], now: float) -> Mapping[str, Forecast]:
        """Of those windows of the account about which something can be said."""
        found: dict[str, Forecast] = {}
        for name in names:
            known = self._windows.get((account, name))
            told = None if known is None else forecast(name, known, now)
            if told is not None:
                found[name] = told
        return found
