"""`usage-status.md`: what is known of quota, in a line for a status bar to show (`interface.md`).

`5h=9% 7d=99%! overage=0% bottleneck=seven_day (21/11/2026, 16:19:04)`, the time being that of the
newest reading, on the clock of the place. With several accounts each has its line, `name: ` first.
"""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable, Collection, Sequence

from protocol.accounts import AccountState
from protocol.dispatch import DispatchState
from protocol.quota import Quota

FILE_NAME = "usage-status.md"

SILENT_SECONDS = 86400.0
"""A client's own credential that has not been seen for so long has most likely been replaced."""

LocalTime = Callable[[float], datetime.datetime]
"""From epoch seconds to the time of day where the program runs."""

_FIRST = ("5h", "7d", "overage")


def usage_line(quota: Quota, now: float, local: LocalTime) -> str:
    """One line without its end, "" where nothing is known; `now` is epoch seconds.

    A window whose reset has passed is empty again, as on `/status`. One of which no utilization is
    known is left out.
    """
    known = [
        (name, window) for name, window in quota.at(now).items() if window.utilization is not None
    ]
    known.sort(key=lambda entry: (_place(entry[0]), entry[0]))
    if not known:
        return ""
    parts = [
        f"{name}={percent(window.utilization or 0.0)}%{'!' if _warns(window.status) else ''}"
        for name, window in known
    ]
    if quota.representative_claim:
        parts.append(f"bottleneck={quota.representative_claim}")
    read_at = local(max(window.read_at for _, window in known))
    return f"{' '.join(parts)} ({read_at:%d/%m/%Y, %H:%M:%S})"


def percent(utilization: float) -> int:
    """Of 100, halves up: 0.285 is 29, though no float is exactly that."""
    exact = decimal.Decimal(repr(utilization)) * 100
    return int(exact.to_integral_value(decimal.ROUND_HALF_UP))


def whole_file(
    state: DispatchState, now: float, local: LocalTime, replaced: Collection[str] = ()
) -> str:
    """All accounts of which something is known; "" where there is none.

    In passthrough mode those are the clients' own credentials, but for those `replaced` by a newer
    one of the same login, and those silent for a day.
    """
    if state.strategy.pool:
        members = state.members()
        return _lines(members, now, local, named=len(members) > 1)
    clients = [
        known
        for _, known in sorted(state.accounts.items())
        if known.spec.kind == "client"
        and known.name not in replaced
        and any(w.age(now) <= SILENT_SECONDS for w in known.quota.windows.values())
    ]
    return _lines(clients, now, local, named=len(clients) > 1)


def file_of(state: DispatchState, name: str, now: float, local: LocalTime) -> str:
    """The line of one client's own credential; "" where nothing is known of it."""
    known = state.accounts.get(name)
    return "" if known is None else _lines([known], now, local, named=False)


def _lines(accounts: Sequence[AccountState], now: float, local: LocalTime, *, named: bool) -> str:
    lines = [(account.name, usage_line(account.quota, now, local)) for account in accounts]
    return "".join(f"{name}: {line}\n" if named else f"{line}\n" for name, line in lines if line)


def _place(name: str) -> int:
    return _FIRST.index(name) if name in _FIRST else len(_FIRST)


def _warns(status: str | None) -> bool:
    return status is not None and "warning" in status
