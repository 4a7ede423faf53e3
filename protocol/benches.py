"""How long a bench lasts, and what ends it early.

An upstream's own word comes first: the reset of a spent window, then `retry-after`. Only where it
says nothing does the ladder count. Whatever it says is cut at the longest that its reason can last,
so that no answer parks an account for good.
"""

from __future__ import annotations

import msgspec

from protocol.accounts import Cooldown, Scope
from protocol.asked import Asked, model_family, wants_beta
from protocol.upstream_clock import moment_of_answer
from protocol.verdict import AUTH, LONG_CONTEXT, Verdict, window_reason

RETRY_AFTER_CAP = 7 * 86400.0
"""Seconds: the longest window there is (seven days); a longer retry-after is nonsense."""


LADDER = "ladder"
"""The source of a bench for whose length there is no word of the upstream's."""


class CooldownPolicy(msgspec.Struct, frozen=True):
    """`interface.md` [cooldown]; all in seconds. `ladder`, where given, replaces the doubling."""

    base: float = 1.0
    maximum: float = 600.0
    auth: float = 300.0
    ladder: tuple[float, ...] = ()

    def step(self, level: int) -> float:
        """The rest after the failure that follows `level` others in a row."""
        if self.ladder:
            return self.ladder[min(level, len(self.ladder) - 1)]
        # 2^level would outgrow a float long before anybody notices; the cap ends it far earlier.
        return min(self.base * 2.0 ** min(level, 64), self.maximum)


class Benches(msgspec.Struct, frozen=True):
    """An account's benches, and how many guesses in a row its ladder has made."""

    cooldowns: tuple[Cooldown, ...] = ()
    level: int = 0


class Rest(msgspec.Struct, frozen=True):
    """How long (seconds), what says so, and for which reason."""

    seconds: float
    source: str
    reason: str


def told_rest(verdict: Verdict, policy: CooldownPolicy, at: float) -> Rest | None:
    """The rest that an answer asks for; None where it says nothing of a length.

    `at` is the time of the answer in epoch seconds, for resets are moments of the wall clock (the
    upstream's, where that is known and ours is wrong). Of several spent windows the one that ends
    last decides.
    """
    if verdict.reason in (AUTH, LONG_CONTEXT):
        return Rest(policy.auth, "status", verdict.reason)
    at = moment_of_answer(verdict.answered_at, at)
    ends = [
        (min(window.resets_at - at, window.longest), window.name)
        for window in verdict.windows
        if window.resets_at is not None and window.resets_at > at
    ]
    if ends:
        seconds, name = max(ends)
        return Rest(seconds, "reset", window_reason(name))
    if verdict.retry_after is None:
        return None
    if verdict.windows:
        longest, name = max((window.longest, window.name) for window in verdict.windows)
        return Rest(min(verdict.retry_after, longest), "retry-after", window_reason(name))
    return Rest(min(verdict.retry_after, RETRY_AFTER_CAP), "retry-after", verdict.reason)


def benched(
    known: Benches, verdict: Verdict, policy: CooldownPolicy, *, now: float, at: float
) -> Benches:
    """The benches after a failure at `now` (monotonic seconds), `at` on the wall clock."""
    level = known.level
    active = tuple(c for c in known.cooldowns if c.active(now))
    told = told_rest(verdict, policy, at)
    cause = (verdict.scope, verdict.target, verdict.reason if told is None else told.reason)
    standing = next((c for c in active if (c.scope, c.target, c.reason) == cause), None)
    if told is None and standing is not None:
        # Fifty parallel requests that meet one limit are one event: they must not climb the ladder.
        return known
    rest = told or Rest(policy.step(level), LADDER, verdict.reason)
    level += told is None
    until = now + rest.seconds
    if standing is not None and standing.source != LADDER:
        until = max(until, standing.until)  # two words of an upstream both hold; a guess does not
    bench = Cooldown(*cause, now, until, level, rest.source)
    others = tuple(c for c in active if c is not standing)
    return Benches((*others, bench), level)


def proved(known: Benches, asked: Asked, began: float) -> Benches:
    """The benches after a success of an attempt that began at `began` (monotonic seconds).

    It ends what it disproves: benches of the account, of the family and the betas that it used. One
    that came about after the attempt had begun stays, for the attempt could not have met it.
    """
    kept = tuple(c for c in known.cooldowns if not _disproved(c, asked, began))
    steady = any(c.scope is Scope.ACCOUNT and c.limits for c in kept)
    return Benches(kept, known.level if steady or not asked.spends else 0)


def _disproved(cooldown: Cooldown, asked: Asked, began: float) -> bool:
    if cooldown.since > began:
        return False
    if not asked.spends:
        return cooldown.reason == AUTH
    if cooldown.scope is Scope.MODEL_FAMILY:
        return asked.model is not None and model_family(asked.model) == cooldown.target
    if cooldown.scope is Scope.BETA:
        return wants_beta(asked.betas, cooldown.target)
    return True
