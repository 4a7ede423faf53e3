"""Recorded requests sent once more through the policy code that serves, in virtual time.

What is asked, when and by which session is as recorded, and so is how long an answer takes and how
many tokens it costs. What differs is who serves. Two things are modelled, and simply: an account's
allowance per five hours, where one is given, and the prompt cache. An answer that came from a cache
does so again where its session stays with the account that it used last, and not too long ago; else
what the cache gave has to be written into another.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

import msgspec

from protocol import account as accounts
from protocol import dispatch, egress
from protocol.account import Reported
from protocol.accounts import AccountSpec, AccountState, Scope
from protocol.asked import Asked
from protocol.benches import CooldownPolicy
from protocol.dispatch import (
    AccountChanged,
    Acquire,
    DispatchState,
    Lease,
    Refusal,
    Release,
    Strategy,
)
from protocol.limits_evidence import Window as Spent
from protocol.quota import Quota, Window
from protocol.request import Route
from protocol.routing import Policy
from protocol.verdict import Action, Verdict

WINDOW = "5h"
WINDOW_SECONDS = 5 * 3600.0
CACHE_SECONDS = 3600.0
"""So long a prompt cache lives at most without being used."""
CACHED_WEIGHT = 0.1
"""Of a token from a cache, against one that was read anew, in an allowance."""

SERVED = Verdict(Action.DELIVER, Scope.REQUEST, "", success=True)


class Recorded(msgspec.Struct, frozen=True):
    """One request of the log. `at` in epoch seconds, `seconds` until its end."""

    at: float
    session: str | None
    model: str | None
    seconds: float
    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0

    def without_cache(self) -> Recorded:
        """The same where nothing is in the cache yet."""
        written = self.cache_read + self.cache_write
        return msgspec.structs.replace(self, cache_read=0, cache_write=written)

    @property
    def weight(self) -> float:
        """In tokens of an allowance."""
        return self.input + self.output + self.cache_write + CACHED_WEIGHT * self.cache_read


class Outcome(msgspec.Struct):
    """What one strategy made of the requests. `refused`: nobody could serve soon enough. `limited`:
    attempts that met a limit. `moved`: requests that did not go where their session's last one went.
    `cached` tokens of the served ones came from a cache when they were recorded, `kept` still do.

    `requests` are those that were served, as they would have been: with their cached tokens or
    without. `by_account` counts them.
    """

    strategy: str
    served: int = 0
    refused: int = 0
    waited: int = 0
    waited_seconds: float = 0.0
    limited: int = 0
    moved: int = 0
    cached: int = 0
    kept: int = 0
    requests: list[Recorded] = []
    by_account: dict[str, int] = {}


class Rules(msgspec.Struct, frozen=True):
    """`names` of the accounts, in their order; `allowance` in tokens per account and five hours, 0:
    no end; `max_wait` in seconds, as in [routing]."""

    names: Sequence[str]
    policy: Policy
    allowance: float = 0.0
    max_wait: float = 2.0


class _Account:
    """The upstream's side of one: what of its allowance is used."""

    def __init__(self) -> None:
        self.used = 0.0
        self.resets_at = 0.0

    def roll(self, now: float) -> None:
        if now >= self.resets_at:
            self.used, self.resets_at = 0.0, now + WINDOW_SECONDS


def replay(recorded: Iterable[Recorded], rules: Rules) -> Outcome:
    """All of them, in the order of their arrival."""
    return _Replay(rules).run(sorted(recorded, key=lambda one: one.at))


class _Replay:
    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        specs = [
            AccountSpec(name, "api_key", None, "http://replayed", order=place)
            for place, name in enumerate(rules.names)
        ]
        self._state = DispatchState(
            strategy=Strategy(pool=True, base_url="http://replayed", policy=rules.policy),
            accounts={spec.name: accounts.new_account(spec) for spec in specs},
        )
        self._upstream = {name: _Account() for name in rules.names}
        self._ends: list[tuple[float, int, Lease, Recorded]] = []
        self._homes: dict[str, tuple[str, float]] = {}
        self._outcome = Outcome(rules.policy.name)

    def run(self, recorded: Sequence[Recorded]) -> Outcome:
        waiting: list[tuple[float, int, float, Recorded]] = [  # in order, so a heap already
            (one.at, number, one.at, one) for number, one in enumerate(recorded)
        ]
        while waiting:
            now, number, came, one = heapq.heappop(waiting)
            self._end_until(now)
            wait = self._ask(one, now, came)
            if wait is not None:
                heapq.heappush(waiting, (now + wait, number, came, one))
        return self._outcome

    def _ask(self, one: Recorded, now: float, came: float) -> float | None:
        """Serves it or refuses it; or gives back after how long it asks again."""
        tried: tuple[str, ...] = ()
        while True:
            ask = Acquire(
                Route.MESSAGES, one.model, owner=True, tried=tried, session=one.session, at=now
            )
            self._state, answer = egress.choose(self._state, ask, now)
            if not isinstance(answer, Lease):
                back = answer.available_in if isinstance(answer, Refusal) else None
                if back is not None and now + back <= came + self._rules.max_wait and not tried:
                    return max(back, 0.001)
                self._outcome.refused += 1
                return None
            if self._takes(answer, one, now):
                self._serve(answer, one, now, came)
                return None
            tried = (*tried, answer.account)

    def _takes(self, lease: Lease, one: Recorded, now: float) -> bool:
        """Whether the upstream lets it through; else the account hears of the limit."""
        upstream, allowance = self._upstream[lease.account], self._rules.allowance
        upstream.roll(now)
        if not allowance or upstream.used < allowance:
            return True
        self._outcome.limited += 1
        spent = (Spent(WINDOW, True, upstream.resets_at),)
        verdict = Verdict(Action.NEXT, Scope.ACCOUNT, "limited", windows=spent)
        self._tell(lease, verdict, now, now)
        return False

    def _serve(self, lease: Lease, one: Recorded, now: float, came: float) -> None:
        outcome, name = self._outcome, lease.account
        home = self._homes.get(one.session) if one.session else None
        if home is not None and home[0] != name:
            outcome.moved += 1
        outcome.cached += one.cache_read
        if home is not None and (home[0] != name or now > home[1] + CACHE_SECONDS):
            one = one.without_cache()
        outcome.kept += one.cache_read
        end = now + max(one.seconds, 0.001)
        if one.session:
            self._homes[one.session] = (name, end)
        self._upstream[name].used += one.weight
        outcome.served += 1
        outcome.waited += now > came
        outcome.waited_seconds += now - came
        outcome.requests.append(one)
        outcome.by_account[name] = outcome.by_account.get(name, 0) + 1
        heapq.heappush(self._ends, (end, lease.id, lease, one))

    def _end_until(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            end, _, lease, _ = heapq.heappop(self._ends)
            self._tell(lease, SERVED, end, end)

    def _tell(self, lease: Lease, verdict: Verdict, now: float, at: float) -> None:
        """What an account's actor does with an attempt's outcome, and the dispatcher with that."""
        known: AccountState = self._state.accounts[lease.account]
        event = Reported(lease.id, verdict, at, None, "", self._quota(lease.account, at), Asked())
        after = accounts.report(known, event, CooldownPolicy(), now)
        self._state = dispatch.changed(self._state, AccountChanged(after))
        self._state = dispatch.released(self._state, Release(lease.id, lease.account))

    def _quota(self, name: str, at: float) -> Quota:
        allowance, upstream = self._rules.allowance, self._upstream[name]
        if not allowance:
            return Quota()
        return Quota({WINDOW: Window(upstream.used / allowance, None, upstream.resets_at, at)})
