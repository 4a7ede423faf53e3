"""What the keeper decides about its worker. With the standard library alone: the keeper has no more.

Times are seconds; `now` is the keeper's own time, see `Awake`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

TICK_SECONDS = 1.0
"""How often the worker says that it lives, and how often the keeper looks at the clock at least."""

LONGEST_STEP_SECONDS = 2 * TICK_SECONDS

ENDS_THE_PROGRAM = frozenset({0, 70, 73, 77, 78})
"""Exit codes of a worker that no new worker would better (`interface.md` rule 20)."""


@dataclass(frozen=True)
class Awake:
    """Time as the keeper has lived it.

    A machine that was suspended, and a keeper that was stopped, slept: what was due in that time
    is not overdue, and a worker that said nothing in it was not silent. So one look adds two ticks
    at most.
    """

    read: float
    now: float = 0.0

    def at(self, monotonic: float) -> Awake:
        """The same clock, looked at again."""
        step = min(max(monotonic - self.read, 0.0), LONGEST_STEP_SECONDS)
        return Awake(monotonic, self.now + step)


@dataclass(frozen=True)
class RestartLimit:
    """How often a worker is replaced, and after which wait."""

    deaths: int = 5
    period: float = 60.0
    backoff: float = 0.1
    maximum: float = 10.0
    jitter: float = 0.2
    healthy: float = 60.0
    """Who served for so long begins with the shortest wait again."""


@dataclass(frozen=True)
class Deaths:
    """The recent ones: when, and how many in a row came without good service between them."""

    times: tuple[float, ...] = ()
    streak: int = 0

    def another(self, now: float, served: float, limit: RestartLimit) -> Deaths:
        """One more; that worker had served for `served` seconds."""
        recent = tuple(time for time in self.times if now - time < limit.period)
        streak = 1 if served >= limit.healthy else self.streak + 1
        return replace(self, times=(*recent, now), streak=streak)

    def wait(self, limit: RestartLimit, chance: float) -> float | None:
        """Before the next worker starts; None: no more of them. `chance` is in 0 to 1."""
        if len(self.times) > limit.deaths:
            return None
        doubled = limit.backoff * 2.0 ** min(self.streak - 1, 32)
        return min(doubled, limit.maximum) * (1.0 + limit.jitter * chance)
