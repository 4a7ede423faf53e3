"""When requests leave for the redirect's provider, and when they come back (rule 12).

It starts when every account that could serve has some window at its threshold, and ends when one
of them has all its windows below threshold less hysteresis, so that it does not flap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from protocol.accounts import AccountState


class Redirecting(msgspec.Struct, frozen=True):
    """`since` in epoch seconds; `reason` for people."""

    active: bool = False
    since: float | None = None
    reason: str = ""


def judged(
    before: Redirecting,
    accounts: Iterable[AccountState],
    thresholds: Mapping[str, float],
    hysteresis: float,
    clocks: tuple[float, float],
) -> Redirecting:
    """The state at `clocks` (monotonic seconds, epoch seconds); the same object when unchanged.

    Without an account nothing is redirected: there is nobody to spare.
    """
    monotonic, wall = clocks
    eligible = [one for one in accounts if one.status(monotonic) not in ("disabled", "needs_login")]
    if not eligible:
        return _ended(before)
    margin = hysteresis if before.active else 0.0
    spent: list[str] = []
    for account in eligible:
        window = _spent_window(account, thresholds, margin, monotonic, wall)
        if window is None:
            return _ended(before)
        spent.append(f"{account.name}: {window}")
    if before.active:
        return before
    return Redirecting(True, wall, "; ".join(spent))


def _ended(before: Redirecting) -> Redirecting:
    return Redirecting() if before.active else before


def _spent_window(
    account: AccountState,
    thresholds: Mapping[str, float],
    margin: float,
    monotonic: float,
    wall: float,
) -> str | None:
    """The first window at its threshold, in words; None when all are below."""
    for cooldown in account.active_cooldowns(monotonic):
        if cooldown.covers(None, ()) and cooldown.reason.startswith("window_"):
            return cooldown.reason
    windows = account.quota.at(wall)
    for name, threshold in thresholds.items():
        window = windows.get(name)
        if window is None or window.utilization is None:
            continue
        if window.utilization >= threshold - margin:
            return f"{name} at {window.utilization:.0%}"
    return None
