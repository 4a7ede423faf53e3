"""A request's memory of failures that allow one other account and no more.

A short limit (a burst, or a 429 without any word of a limit) says that somebody is limited, but not
who; so does a 403 that nobody knows. One other account tells: when it is refused as well, a third
would only be one more that is touched for nothing (`interface.md` rule 1, `peers.md` P5 and P6).
What one upstream did says nothing about another one, so short limits are remembered by base URL.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from protocol.accounts import Scope
from protocol.verdict import BURST, FORBIDDEN, WINDOWLESS, Action, Verdict

_SHORT = (BURST, WINDOWLESS)


class Hops(msgspec.Struct, frozen=True):
    """What one request has met so far: the first short limit of each base URL, and whether an
    unknown 403."""

    short: Mapping[str, Verdict] = {}
    forbidden: bool = False

    @property
    def after_burst(self) -> bool:
        return any(verdict.reason == BURST for verdict in self.short.values())


def weighed(
    hops: Hops, verdict: Verdict, *, after_burst: bool, base_url: str = ""
) -> tuple[Hops, Verdict]:
    """The memory after `verdict`, and what it means with what was met before.

    `after_burst` and `base_url` are the lease's: another account of this upstream rests for a burst
    just now.
    """
    first = hops.short.get(base_url)
    if verdict.reason == FORBIDDEN:
        known = msgspec.structs.replace(hops, forbidden=True)
        return known, _final(verdict) if hops.forbidden else verdict
    if verdict.reason not in _SHORT:
        return hops, verdict
    if after_burst or (first is not None and first.reason == BURST):
        return hops, _of_the_egress(verdict, first)
    if first is not None:
        return hops, _final(verdict)
    return msgspec.structs.replace(hops, short={**hops.short, base_url: verdict}), verdict


def _final(verdict: Verdict) -> Verdict:
    return msgspec.structs.replace(verdict, action=Action.STOP)


def _of_the_egress(verdict: Verdict, first: Verdict | None) -> Verdict:
    seconds = verdict.retry_after
    if seconds is None and first is not None:
        seconds = first.retry_after
    return msgspec.structs.replace(
        verdict, action=Action.STOP, scope=Scope.EGRESS, retry_after=seconds
    )
