"""Whose turn it is among accounts that could all serve: `(turn, candidates, now) -> (turn, order)`.

A strategy acts inside one priority and ties go by configuration order (`interface.md` rule 8). An
account from `switch_at` on comes after those below it, and is never left out. Only the choice that
stands first moves the turn: what comes after it is said for people. So every strategy has two
halves: who is taken, for every request, and the order of all, for whoever asks why.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

Windows = Mapping[str, tuple[float, float]]
"""Quota windows by name: utilization (0 to 1) and when it ends, in epoch seconds."""

NO_WINDOWS: Windows = {}

WEEKLY = "7d"
FIVE_HOURS = "5h"

RESET_GRAIN_SECONDS = 60.0
"""Upstreams tell the same reset with up to two seconds of jitter: within a minute it is the same."""


_NEVER = float("inf")
_NO_END = (_NEVER, _NEVER)
_UNKNOWN = (0.0, 0.0)


class Candidate(msgspec.Struct, frozen=True):
    """An account that could serve now, as a strategy sees it."""

    name: str
    priority: int = 0
    order: int = 0
    weight: int = 1
    in_flight: int = 0
    requests_since_start: int = 0  # those in flight included
    windows: Windows = NO_WINDOWS

    def loaded(self, in_flight: int, requests: int) -> Candidate:
        """The same with so many requests in flight, and so many since the start."""
        return Candidate(
            self.name,
            self.priority,
            self.order,
            self.weight,
            in_flight,
            requests,
            self.windows,
        )

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


class Strategy(NamedTuple):
    """`take`: who it is now, and the turn after. `rank`: all of them, that one first."""

    take: Callable[[Turn, Order, float], tuple[Turn, Candidate]]
    rank: Callable[[Turn, Order, float], Order]


def taken(
    strategy: str, turn: Turn, candidates: Order, now: float, over: Collection[str] = ()
) -> tuple[Turn, Candidate]:
    """The first choice among `candidates`, and the turn after it.

    `candidates` come in configuration order inside each priority, the best priority first; at
    least one. `over` names those that are past `switch_at`. `now` is in epoch seconds, for quota
    windows.
    """
    return STRATEGIES[strategy].take(turn, _below(_best(candidates), over), now)


def ranked(
    strategy: str, turn: Turn, candidates: Order, now: float, switch_at: Mapping[str, float]
) -> tuple[Turn, tuple[Candidate, ...]]:
    """All of `candidates`, first choice first, and the turn after that choice; as `taken`.

    Only the best priority is shared by the strategy; the others follow as they are.
    """
    best = _best(candidates)
    over = {c.name for c in best if c.windows and c.over(switch_at, now)}
    below = _below(best, over)
    after, _ = STRATEGIES[strategy].take(turn, below, now)
    order = STRATEGIES[strategy].rank(turn, below, now)
    others = candidates[len(best) :]
    if len(below) == len(best):
        return after, (*order, *others)
    return after, (*order, *(c for c in best if c.name in over), *others)


def _best(candidates: Order) -> Order:
    priority = candidates[0].priority
    if candidates[-1].priority == priority:
        return candidates
    return [c for c in candidates if c.priority == priority]


def _below(best: Order, over: Collection[str]) -> Order:
    return ([c for c in best if c.name not in over] or best) if over else best


def forgotten(turn: Turn, name: str) -> Turn:
    """An account was removed; one of the same name that comes later starts anew."""
    if name not in turn.smooth and name not in turn.touched:
        return turn
    return msgspec.structs.replace(
        turn,
        smooth={known: kept for known, kept in turn.smooth.items() if known != name},
        touched={known: kept for known, kept in turn.touched.items() if known != name},
    )


# ------------------------------------------------- fill-first: the first account until it may not


def _fill_first(turn: Turn, candidates: Order, now: float) -> tuple[Turn, Candidate]:
    return turn, candidates[0]


def _as_configured(turn: Turn, candidates: Order, now: float) -> Order:
    return candidates


# -------------------------------------------- round-robin: the one after the last, and round again


def _round_robin(turn: Turn, candidates: Order, now: float) -> tuple[Turn, Candidate]:
    first = candidates[_after_the_last(turn, candidates)]
    last = {**turn.last, first.priority: first.order}
    return msgspec.structs.replace(turn, last=last), first


def _round(turn: Turn, candidates: Order, now: float) -> Order:
    start = _after_the_last(turn, candidates)
    return (*candidates[start:], *candidates[:start])


def _after_the_last(turn: Turn, candidates: Order) -> int:
    last = turn.last.get(candidates[0].priority, -1)
    return next((place for place, c in enumerate(candidates) if c.order > last), 0)


# ------------------------------------------------------------ weighted: smooth weighted round-robin


def _weighted(turn: Turn, candidates: Order, now: float) -> tuple[Turn, Candidate]:
    """Everyone gains its weight, the richest pays for all.

    With weights 5, 1 and 1 that gives a a b a c a a: the shares are exact over a cycle, and the
    heavy one does not take its five in a row.
    """
    before, balances = _balances(turn, candidates)
    place = balances.index(max(balances))
    balances[place] -= sum([c.weight for c in candidates])
    after = {c.name: (c.weight, balance) for c, balance in zip(candidates, balances, strict=True)}
    return msgspec.structs.replace(turn, smooth={**before, **after}), candidates[place]


def _richest_first(turn: Turn, candidates: Order, now: float) -> Order:
    _, balances = _balances(turn, candidates)
    return _sorted(candidates, [-balance for balance in balances])


def _balances(turn: Turn, candidates: Order) -> tuple[Mapping[str, tuple[int, int]], list[int]]:
    """What is remembered, and everyone's balance with this turn's weight.

    Balances made with other weights would only delay the new shares, so they are dropped.
    """
    known = turn.smooth
    balances: list[int] = []
    for candidate in candidates:
        weight = candidate.weight
        entry = known.get(candidate.name)
        if entry is None:
            balances.append(weight)
        elif entry[0] == weight:
            balances.append(entry[1] + weight)
        else:
            return {}, [c.weight for c in candidates]
    return known, balances


# --------------------------------------- drain-soonest: what expires first is used up first


def _drain_soonest(turn: Turn, candidates: Order, now: float) -> tuple[Turn, Candidate]:
    ends = _ends(candidates, now)
    return turn, candidates[ends.index(min(ends))]


def _by_end(turn: Turn, candidates: Order, now: float) -> Order:
    return _sorted(candidates, _ends(candidates, now))


def _ends(candidates: Order, now: float) -> list[tuple[float, float]]:
    """When the week of each ends, then its five hours.

    An account without a running window loses nothing by waiting, so it comes last.
    """
    ends: list[tuple[float, float]] = []
    for candidate in candidates:
        windows = candidate.windows
        if not windows:
            ends.append(_NO_END)
            continue
        _, week = windows.get(WEEKLY, _UNKNOWN)
        _, hours = windows.get(FIVE_HOURS, _UNKNOWN)
        ends.append(
            (
                week // RESET_GRAIN_SECONDS if week > now else _NEVER,
                hours // RESET_GRAIN_SECONDS if hours > now else _NEVER,
            )
        )
    return ends


# ----------------------------- least-used: fewest in flight, then fewest requests since the start


def _least_used(turn: Turn, candidates: Order, now: float) -> tuple[Turn, Candidate]:
    return turn, min(candidates, key=_use)


def _by_use(turn: Turn, candidates: Order, now: float) -> Order:
    return sorted(candidates, key=_use)


def _use(candidate: Candidate) -> tuple[int, int]:
    return candidate.in_flight, candidate.requests_since_start


# ------------------------------------------------------------------------------------------ hybrid


def _hybrid(turn: Turn, candidates: Order, now: float) -> tuple[Turn, Candidate]:
    """Every fresh account once, so that its five hours begin to run; then fill-first.

    An account is fresh again when the five-hour window that its touch opened has ended.
    """
    for candidate in candidates:
        if _fresh(turn, candidate, now):
            touched = {**turn.touched, candidate.name: now}
            return msgspec.structs.replace(turn, touched=touched), candidate
    return turn, candidates[0]


def _fresh_first(turn: Turn, candidates: Order, now: float) -> Order:
    return sorted(candidates, key=lambda c: not _fresh(turn, c, now))


def _fresh(turn: Turn, candidate: Candidate, now: float) -> bool:
    touched = turn.touched.get(candidate.name)
    if touched is None:
        return candidate.requests_since_start == 0 and candidate.in_flight == 0
    _, ends = candidate.windows.get(FIVE_HOURS, _UNKNOWN)
    return touched < ends <= now


def _sorted(candidates: Order, keys: Sequence[float] | Sequence[tuple[float, float]]) -> Order:
    """By key; `sorted` keeps the configuration order of equal ones."""
    return [candidates[place] for place in sorted(range(len(keys)), key=keys.__getitem__)]


STRATEGIES: Mapping[str, Strategy] = {
    "fill-first": Strategy(_fill_first, _as_configured),
    "round-robin": Strategy(_round_robin, _round),
    "weighted": Strategy(_weighted, _richest_first),
    "drain-soonest": Strategy(_drain_soonest, _by_end),
    "least-used": Strategy(_least_used, _by_use),
    "hybrid": Strategy(_hybrid, _fresh_first),
}
"""By the name in the configuration."""
