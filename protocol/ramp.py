"""After a switch, the account that takes over is given requests bit by bit.

When the account that carried the traffic goes out, everything it had in flight fails within the same
moment and asks for another one. Thrown at an account that stood idle, that herd is what upstreams
answer with the next limit (`peers.md` P5), and a third account would get it after that. So the new
account starts with a few requests at a time, and is given more with every success and with time:
at the latest after `RAMP_SECONDS` it takes all that come.

The same herd comes to an account that is back from its limit, when those who waited for it wake in
the same moment (`returned`).

What counts as a switch is decided in `began`; `docs/decisions/0005-a-ramp-after-a-switch.md` says why.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping

import msgspec

START = 4
"""Requests in flight that a ramp begins with, and that an account may have without being loaded."""

STEP_SECONDS = 0.05
STEPS = 40
STEPS_TO_DOUBLE = 5
RAMP_SECONDS = STEP_SECONDS * STEPS

RECENT_SECONDS = 10.0
"""An account whose newest lease is older carried no traffic that anybody would have to take over."""

ALLOWED = tuple(int(START * 2 ** (step / STEPS_TO_DOUBLE)) for step in range(STEPS))
"""Requests in flight by the steps that have passed, successes not counted."""


class Ramp(msgspec.Struct, frozen=True):
    """An account's ramp: it began at `since` (monotonic seconds); `earned` successes came since.

    `back`: of an account that is back from its limit. Then it holds for those at home with it, too.
    """

    since: float
    earned: int = 0
    back: bool = False

    def allows(self, in_flight: int, now: float) -> bool:
        """Whether one request may start beside `in_flight` others."""
        return self.opens_at(in_flight) <= now

    def opens_at(self, in_flight: int) -> float:
        """From when on one more may start, if nothing else changes before (monotonic seconds)."""
        return self.since + STEP_SECONDS * bisect_right(ALLOWED, in_flight - self.earned)


class Traffic(msgspec.Struct, frozen=True):
    """By account: when its newest lease was given (monotonic seconds), and its newest ramp."""

    newest: Mapping[str, float] = {}
    ramps: Mapping[str, Ramp] = {}

    def ramping(self, name: str, now: float) -> bool:
        """Whether an account is in its ramp."""
        ramp = self.ramps.get(name)
        return ramp is not None and now - ramp.since < RAMP_SECONDS

    def opens_at(self, name: str, in_flight: int, *, at_home: bool = False) -> float:
        """From when on an account may start one request more; in the past without a ramp.

        `at_home`: for a session of that account, which is no part of a herd from elsewhere.
        """
        ramp = self.ramps.get(name)
        if ramp is None or (at_home and not ramp.back):
            return float("-inf")
        return ramp.opens_at(in_flight)


def leased(traffic: Traffic, name: str, now: float) -> Traffic:
    """A lease on `name` was given."""
    return Traffic({**traffic.newest, name: now}, traffic.ramps)


def began(traffic: Traffic, name: str, in_flight: int, out: Iterable[str], now: float) -> Traffic:
    """`name` is chosen while those in `out` would have been, were they not out: is it a switch?

    It is when one of them carried traffic until a moment ago, and after the last switch to `name`;
    and when `name` itself is not loaded. Then its ramp begins.
    """
    if in_flight >= START:
        return traffic
    last = traffic.ramps.get(name)
    floor = now - RECENT_SECONDS if last is None else max(now - RECENT_SECONDS, last.since)
    if any(traffic.newest.get(other, floor) > floor for other in out):
        return Traffic(traffic.newest, {**traffic.ramps, name: Ramp(now)})
    return traffic


def returned(
    traffic: Traffic, name: str, in_flight: int, rested: tuple[float, ...], now: float
) -> Traffic:
    """`name` is chosen when nobody could serve until a moment ago, and no success has shown yet that
    it is well since its limits; `rested` are their ends. Those who waited come at once: a ramp begins.

    What it has in flight already is no part of that: it counts as room.
    """
    ended = max((until for until in rested if until <= now), default=None)
    if ended is None or ended < now - RECENT_SECONDS:
        return traffic
    last = traffic.ramps.get(name)
    if last is not None and last.since >= ended:
        return traffic
    return Traffic(traffic.newest, {**traffic.ramps, name: Ramp(now, in_flight, back=True)})


def succeeded(traffic: Traffic, name: str, times: int) -> Traffic:
    """The account answered well: it can take as many requests more."""
    ramp = traffic.ramps.get(name)
    if ramp is None or times <= 0:
        return traffic
    grown = Ramp(ramp.since, ramp.earned + times, ramp.back)
    return Traffic(traffic.newest, {**traffic.ramps, name: grown})


def forgotten(traffic: Traffic, name: str) -> Traffic:
    """An account was removed."""
    return Traffic(
        {known: at for known, at in traffic.newest.items() if known != name},
        {known: ramp for known, ramp in traffic.ramps.items() if known != name},
    )
