"""`requests_per_minute`: how many leases an account gave in the last 60 seconds, sliding.

Up to `EXACT_MAX` a minute every lease is remembered by its moment. Past that, those of one tenth of
a second are remembered together at the newest moment, which never lets one too many through and
keeps what is remembered small.
"""

from __future__ import annotations

WINDOW_SECONDS = 60.0
EXACT_MAX = 600
GRAIN_SECONDS = 0.1

Sent = tuple[tuple[float, int], ...]
"""Moments (monotonic seconds, oldest first) and how many leases were given there."""


def counted(sent: Sent, limit: int, now: float) -> Sent:
    """One lease more at `now`. `limit` is in requests per minute."""
    kept = tuple(entry for entry in sent if entry[0] + WINDOW_SECONDS > now)
    if limit > EXACT_MAX and kept and kept[-1][0] // GRAIN_SECONDS == now // GRAIN_SECONDS:
        return (*kept[:-1], (now, kept[-1][1] + 1))
    return (*kept, (now, 1))


def free_at(sent: Sent, limit: int, now: float) -> float | None:
    """When the limit lets the next request through; None when it does now. 0 is no limit."""
    if not limit or not sent:
        return None
    running = [entry for entry in sent if entry[0] + WINDOW_SECONDS > now]
    excess = sum(count for _, count in running) - limit
    for moment, count in running:
        if excess < 0:
            return None
        excess -= count
        if excess < 0:
            return moment + WINDOW_SECONDS
    return None
