"""Whose turn it is among accounts that could all serve: `(turn, candidates, now) -> (turn, order)`.

A strategy acts inside one priority and ties go by configuration order (`interface.md` rule 8). An
account from `switch_at` on comes after those below it, and is never left out. Only the choice that
stands first moves the turn: what comes after it is said for people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

Windows = Mapping[str, tuple[float, float]]
"""Quota windows by name: utilization (0 to 1) and when it ends, in epoch seconds."""

NO_WINDOWS: Windows = {}

WEEKLY = "7d"
FIVE_HOURS = "5h"

RESET_GRAIN_SECONDS = 60.0
"""Upstreams tell the same reset with up to two seconds of jitter: within a minute it is the same."""


_NEVER = float("inf")
_UNKNOWN = (0.0, 0.0)


class Candidate(msgspec.Struct, frozen=True):
    """An account that could serve now, as a strategy sees it."""

    name: str
    priority: int = 0
    order: int = 0
    weight: int = 1
    in_flight: int = 0
    requests_since_start: int = 0
    windows: Windows = NO_WINDOWS

    def over(self, switch_at: Mapping[str, float], now: float) -> bool:
        """Whether a running window is at its threshold; thresholds by window name."""
        for name, threshold in switch_at.items():
            utilization, ends = self.windows.get(name, _UNKNOWN)
            if utilization >= threshold and ends > now:
                return True
        return False


class Turn(msgspec.Struct, frozen=True):
    """What strategies remember.

    `last`: by priority, the configuration order of the account that round-robin took last.
    `smooth`: by name, the weight and the balance of smooth weighted round-robin.
    `touched`: by name, when hybrid opened the account (epoch seconds).
    """

    last: Mapping[int, int] = {}
    smooth: Mapping[str, tuple[int, int]] = {}
    touched: Mapping[str, float] = {}


Order = Sequence[Candidate]
Strategy = Callable[[Turn, Order, float], tuple[Turn, Order]]


def ranked(
    strategy: str, turn: Turn, candidates: Order, now: float, switch_at: Mapping[str, float]
) -> tuple[Turn, tuple[Candidate, ...]]:
    """All of `candidates`, first choice first, and the turn after that choice.

    `candidates` come in configuration order inside each priority, the best priority first. Only
    the best priority is shared by the strategy; the others follow as they are. `now` is in epoch
    seconds, for quota windows.
    """
    best = [c for c in candidates if c.priority == candidates[0].priority]
    others = candidates[len(best) :]
    below = [c for c in best if not (c.windows and c.over(switch_at, now))]
    if not below:
        below = best
    turn, order = STRATEGIES[strategy](turn, below, now)
    if len(below) == len(best):
        return turn, (*order, *others)
    names = {c.name for c in below}
    return turn, (*order, *(c for c in best if c.name not in names), *others)


def forgotten(turn: Turn, name: str) -> Turn:
    """An account was removed; one of the same name that comes later starts anew."""
    if name not in turn.smooth and name not in turn.touched:
        return turn
    return msgspec.structs.replace(
        turn,
        smooth={known: kept for known, kept in turn.smooth.items() if known != name},
        touched={known: kept for known, kept in turn.touched.items() if known != name},
    )


def _fill_first(turn: Turn, candidates: Order, now: float) -> tuple[Turn, Order]:
    """The first account until it may not serve."""
    return turn, candidates


def _round_robin(turn: Turn, candidates: Order, now: float) -> tuple[Turn, Order]:
    """The one after the last one, and round again."""
    priority = candidates[0].priority
    last = turn.last.get(priority, -1)
    start = next((place for place, c in enumerate(candidates) if c.order > last), 0)
    order = (*candidates[start:], *candidates[:start])
    last_after = {**turn.last, priority: order[0].order}
    return msgspec.structs.replace(turn, last=last_after), order


def _weighted(turn: Turn, candidates: Order, now: float) -> tuple[Turn, Order]:
    """Smooth weighted round-robin: everyone gains its weight, the richest pays for all.

    With weights 5, 1 and 1 that gives a a b a c a a: the shares are exact over a cycle, and the
    heavy one does not take its five in a row. Balances made with other weights would only delay
    the new shares, so they are dropped.
    """
    known = turn.smooth
    total = 0
    debts: list[int] = []  # negative balances: the smallest is the richest, ties as configured
    for candidate in candidates:
        weight, balance = known.get(candidate.name, (candidate.weight, 0))
        if weight != candidate.weight:
            return _weighted(msgspec.structs.replace(turn, smooth={}), candidates, now)
        total += weight
        debts.append(-balance - weight)
    ranking = sorted(range(len(debts)), key=debts.__getitem__)
    debts[ranking[0]] += total
    smooth = {**known}
    for candidate, debt in zip(candidates, debts, strict=True):
        smooth[candidate.name] = (candidate.weight, -debt)
    return msgspec.structs.replace(turn, smooth=smooth), [candidates[at] for at in ranking]


def _drain_soonest(turn: Turn, candidates: Order, now: float) -> tuple[Turn, Order]:
    """What expires first is used up first: by the end of the week, then of the five hours.

    An account without a running window loses nothing by waiting, so it comes last.
    """

    keys: list[tuple[float, float]] = []
    for candidate in candidates:
        _, week = candidate.windows.get(WEEKLY, _UNKNOWN)
        _, hours = candidate.windows.get(FIVE_HOURS, _UNKNOWN)
        keys.append(
            (
                week // RESET_GRAIN_SECONDS if week > now else _NEVER,
                hours // RESET_GRAIN_SECONDS if hours > now else _NEVER,
            )
        )
    ranking = sorted(range(len(keys)), key=keys.__getitem__)
    return turn, [candidates[at] for at in ranking]


def _least_used(turn: Turn, candidates: Order, now: float) -> tuple[Turn, Order]:
    """Fewest in flight, then fewest requests since the start."""
    return turn, sorted(candidates, key=lambda c: (c.in_flight, c.requests_since_start))


def _hybrid(turn: Turn, candidates: Order, now: float) -> tuple[Turn, Order]:
    """Every fresh account once, so that its five hours begin to run; then fill-first.

    An account is fresh again when the five-hour window that its touch opened has ended.
    """
    fresh = [c for c in candidates if _fresh(turn, c, now)]
    if not fresh:
        return turn, candidates
    names = {c.name for c in fresh}
    order = (*fresh, *(c for c in candidates if c.name not in names))
    touched = {**turn.touched, order[0].name: now}
    return msgspec.structs.replace(turn, touched=touched), order


def _fresh(turn: Turn, candidate: Candidate, now: float) -> bool:
    touched = turn.touched.get(candidate.name)
    if touched is None:
        return candidate.requests_since_start == 0 and candidate.in_flight == 0
    _, ends = candidate.windows.get(FIVE_HOURS, _UNKNOWN)
    return touched < ends <= now


STRATEGIES: Mapping[str, Strategy] = {
    "fill-first": _fill_first,
    "round-robin": _round_robin,
    "weighted": _weighted,
    "drain-soonest": _drain_soonest,
    "least-used": _least_used,
    "hybrid": _hybrid,
}
"""By the name in the configuration."""
