"""What an inbound key may spend: requests and tokens in the last 60 seconds, dollars in a UTC day.

Tokens and cost are known when an answer has ended, so a key is stopped once it is past a limit,
not before. Tokens that came from a cache are not counted, as Anthropic's own limits have it.
"""

from __future__ import annotations

import datetime
import math

import msgspec

from protocol import local_limit
from protocol.errors import Problem
from protocol.inbound_keys import InboundKey
from protocol.local_limit import WINDOW_SECONDS, Sent
from protocol.request_line import RequestLine

GRAIN_SECONDS = 1.0
"""Tokens of one second are remembered together, at its newest moment."""


class Spending(msgspec.Struct, frozen=True):
    """Of one key. `spent` is in US dollars on the UTC day `day`."""

    requests: Sent = ()
    tokens: Sent = ()
    day: str = ""
    spent: float = 0.0


def day_of(epoch: float) -> str:
    """The UTC day, as logs name it."""
    return datetime.datetime.fromtimestamp(epoch, datetime.UTC).strftime("%Y-%m-%d")


def admit(
    spending: Spending, key: InboundKey, now: float, epoch: float
) -> tuple[Spending, Problem | None]:
    """One request more, or why not; `now` in monotonic seconds, `epoch` on the wall clock."""
    problem = _refusal(spending, key, now, epoch)
    per_minute = key.limits.requests_per_minute
    if problem is not None or not per_minute:
        return spending, problem
    counted = local_limit.counted(spending.requests, per_minute, now)
    return msgspec.structs.replace(spending, requests=counted), None


def _refusal(spending: Spending, key: InboundKey, now: float, epoch: float) -> Problem | None:
    limits = key.limits
    if limits.budget_per_day and spending.day == day_of(epoch):
        left = limits.budget_per_day - spending.spent
        if left <= 0:
            return _limited(
                f"has spent its ${limits.budget_per_day:g} of today (UTC)",
                86400 - epoch % 86400,
            )
    free_at = local_limit.free_at(spending.tokens, limits.tokens_per_minute, now)
    if free_at is not None:
        return _limited(f"may spend {limits.tokens_per_minute} tokens a minute", free_at - now)
    free_at = local_limit.free_at(spending.requests, limits.requests_per_minute, now)
    if free_at is not None:
        return _limited(f"may send {limits.requests_per_minute} requests a minute", free_at - now)
    return None


def _limited(why: str, seconds: float) -> Problem:
    return Problem(
        429,
        f"this proxy's key {why}; whoever runs the proxy can raise that",
        retry_after=max(1, math.ceil(seconds)),
    )


def tokens_of(line: RequestLine) -> int:
    """What a request that is over counts against its key."""
    counted = (line.input_tokens, line.output_tokens, line.cache_write_tokens)
    return sum(count for count in counted if count is not None)


def spent(
    spending: Spending, key: InboundKey, tokens: int, dollars: float, now: float, epoch: float
) -> Spending:
    """After an answer. `dollars` is 0 where nobody knows the model's price."""
    day = day_of(epoch)
    before = spending.spent if spending.day == day else 0.0
    kept = spending.tokens
    if key.limits.tokens_per_minute and tokens:
        kept = tuple(entry for entry in kept if entry[0] + WINDOW_SECONDS > now)
        if kept and kept[-1][0] // GRAIN_SECONDS == now // GRAIN_SECONDS:
            kept = (*kept[:-1], (now, kept[-1][1] + tokens))
        else:
            kept = (*kept, (now, tokens))
    return msgspec.structs.replace(spending, tokens=kept, day=day, spent=before + dollars)


class KeyUse(msgspec.Struct, frozen=True):
    """Of a key's limits, now: None where a limit is off and nothing is counted. `cost_today` is in
    US dollars of the UTC day; `last_used` in epoch seconds."""

    requests_last_minute: int | None
    tokens_last_minute: int | None
    cost_today: float
    last_used: float | None = None


def used(
    spending: Spending, key: InboundKey, now: float, epoch: float, last_used: float | None = None
) -> KeyUse:
    """How much of its limits is spent; `now` in monotonic seconds, `epoch` on the wall clock."""
    limits = key.limits
    return KeyUse(
        _running(spending.requests, now) if limits.requests_per_minute else None,
        _running(spending.tokens, now) if limits.tokens_per_minute else None,
        round(spending.spent, 6) if spending.day == day_of(epoch) else 0.0,
        last_used or key.last_used,
    )


def _running(sent: Sent, now: float) -> int:
    return sum(count for moment, count in sent if moment + WINDOW_SECONDS > now)


def remembered(key: InboundKey) -> Spending:
    """What a new life knows of an earlier one: the day's cost."""
    return Spending(day=key.spent_day, spent=key.spent)
