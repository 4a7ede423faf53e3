"""Repeats after an upstream's faults, for all requests together (`protocol.repeats` decides).

Like the budget of bodies it is shared by the requests' own tasks and never waits, so it is no actor.
It forgets everything with the program: a storm is over by then, or is noticed anew.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from urllib.parse import urlsplit

import trio

from protocol import repeats
from protocol.accounts import Cooldown, Scope
from protocol.leases import Lease
from protocol.repeats import Trouble
from protocol.verdict import Verdict

log = logging.getLogger("server.repeats")

REASON = "upstream_faults"

SAID_AGAIN_SECONDS = 60.0
"""Of an upstream that fails and answers in turn, the log says so once a minute."""


class Repeats:
    """By base URL: those that failed, and how many requests were sent for the first time."""

    def __init__(self) -> None:
        self._firsts: Counter[str] = Counter()
        self._troubles: dict[str, Trouble] = {}
        self._said_at: dict[str, float] = {}  # that it fails (monotonic seconds)
        self._failing: set[str] = set()  # by the log's last word

    def first(self, base_url: str) -> None:
        """A request is sent for the first time."""
        self._firsts[base_url] += 1

    def faulted(self, base_url: str, account: str, reason: str) -> None:
        """The upstream failed."""
        before = self._troubles.get(base_url, Trouble())
        now = trio.current_time()
        after = self._troubles[base_url] = repeats.faulted(before, account, reason, now)
        opening = after.opened is not None and not before.is_open(now)
        if not opening or base_url in self._failing:
            return
        if now - self._said_at.get(base_url, -math.inf) >= SAID_AGAIN_SECONDS:
            self._said_at[base_url] = now
            self._failing.add(base_url)
            log.warning(
                "%s fails whoever asks (%s): until it answers, a request is sent once and not again",
                _host(base_url),
                reason,
            )

    def answered(self, base_url: str) -> None:
        """The upstream is there, whatever it said."""
        known = self._troubles.get(base_url)
        if known is None or not known.faults:
            return
        self._troubles[base_url] = repeats.answered(known)
        if base_url in self._failing:
            self._failing.discard(base_url)
            seconds = trio.current_time() - self._said_at[base_url]
            log.warning("%s answers again, after %.0f s", _host(base_url), seconds)

    def allowed(self, base_url: str) -> bool:
        """Whether a request that it failed may be sent there again; that is paid for, then."""
        known = self._troubles.get(base_url, Trouble())
        self._troubles[base_url], paid = repeats.asked(known, self._firsts[base_url])
        return paid

    def give_back(self, base_url: str) -> None:
        """A repeat was served, or never sent."""
        known = self._troubles.get(base_url)
        if known is not None:
            self._troubles[base_url] = repeats.given_back(known)

    def forget(self, base_url: str) -> None:
        """Its owner says that it is well."""
        self._troubles.pop(base_url, None)
        self._failing.discard(base_url)

    def resting(self) -> list[Cooldown]:
        """The circuits that are open, as what they are to who looks at `/status`."""
        now = trio.current_time()
        return [
            Cooldown(
                Scope.PROVIDER, _host(url), REASON, known.opened or now, known.until, 0, "faults"
            )
            for url, known in self._troubles.items()
            if known.is_open(now)
        ]


class Repeating:
    """One request's part: to which upstreams it may not be sent again, and what it has paid."""

    def __init__(self, shared: Repeats) -> None:
        self._shared = shared
        self._paid: str | None = None
        self.shunned: tuple[str, ...] = ()

    def failed(self, lease: Lease, verdict: Verdict) -> None:
        """Its attempt on `lease` failed. What was paid for that stays paid."""
        self._paid = None
        if lease.credential is None:
            return  # a client's own credential is never tried again
        if verdict.scope is not Scope.PROVIDER:
            self._shared.answered(lease.base_url)
            return
        self._shared.faulted(lease.base_url, lease.account, verdict.reason)
        if self._shared.allowed(lease.base_url):
            self._paid = lease.base_url
        else:
            self.shunned = (*self.shunned, lease.base_url)

    def settle(self) -> None:
        """It was served, or nobody is asked again."""
        paid, self._paid = self._paid, None
        if paid is not None:
            self._shared.give_back(paid)


def _host(base_url: str) -> str:
    return urlsplit(base_url).hostname or ""
