"""Why a request went where it went: what was chosen, tried and waited for, with times.

Kept in memory for the newest requests, beside their lines in the log; nothing of it goes to disk.
All moments are milliseconds after the request's arrival, all lengths milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from protocol.request_line import RequestLine
from protocol.routing import Considered

STEPS_MAX = 64
"""Of one request: half of them its first, half its last. A hundred accounts may all be tried."""


class Choice(msgspec.Struct, frozen=True, tag="choice", tag_field="step"):
    """A question to the dispatcher, and its answer.

    `account` None: nobody could serve; then `message` says why, and `retry_after` (seconds) when
    somebody can. `reasons` are those of the log, `considered` has every account and its reason.
    """

    at: float
    ms: float
    account: str | None = None
    reasons: tuple[str, ...] = ()
    message: str | None = None
    retry_after: float | None = None
    considered: tuple[Considered, ...] = ()


class Attempt(msgspec.Struct, frozen=True, tag="attempt", tag_field="step"):
    """A request sent upstream. `ms` is until it was judged or, served, until the answer's end.

    `outcome`: served | failed | left (the client went meanwhile). `action`, `scope`, `target`,
    `reason` and `retry_after` (seconds) are the verdict on a failure; `terminal` is how a served
    answer ended, and `ms_first_byte` when the client got its first byte of it.
    """

    at: float
    ms: float
    account: str
    outcome: str
    status: int | None = None
    terminal: str | None = None
    ms_first_byte: float | None = None
    action: str | None = None
    scope: str | None = None
    target: str | None = None
    reason: str | None = None
    retry_after: float | None = None
    error_type: str | None = None
    detail: str | None = None


class Pause(msgspec.Struct, frozen=True, tag="pause", tag_field="step"):
    """A wait of our own. `why`: max_wait | max_hold | overload."""

    at: float
    ms: float
    why: str


Step = Choice | Attempt | Pause


class Spent(msgspec.Struct, frozen=True):
    """Where the time went: reading the body, choosing, waiting, upstream until the first byte for
    the client (or the last failure), delivering, and what is left over."""

    body: float = 0.0
    choosing: float = 0.0
    waiting: float = 0.0
    upstream: float = 0.0
    delivering: float = 0.0
    other: float = 0.0


class Explanation(msgspec.Struct, frozen=True):
    """The steps in the order in which they began; `left_out` of them, in the middle, are gone."""

    steps: tuple[Step, ...] = ()
    left_out: int = 0
    spent: Spent = Spent()


class Explained(msgspec.Struct, frozen=True):
    """A request that is over: its line for the log, and why it went so."""

    line: RequestLine
    explanation: Explanation


def spent(steps: Iterable[Step], body: float, total: float) -> Spent:
    """The sums; `body` is when the body had been read, `total` the whole length."""
    choosing = waiting = upstream = delivering = 0.0
    for step in steps:
        match step:
            case Choice():
                choosing += step.ms
            case Pause():
                waiting += step.ms
            case Attempt(ms_first_byte=None):
                upstream += step.ms
            case Attempt(ms_first_byte=first):
                until_first = min(max((first or 0.0) - step.at, 0.0), step.ms)
                upstream += until_first
                delivering += step.ms - until_first
    known = body + choosing + waiting + upstream + delivering
    return Spent(
        round(body, 3),
        round(choosing, 3),
        round(waiting, 3),
        round(upstream, 3),
        round(delivering, 3),
        round(max(total - known, 0.0), 3),
    )
