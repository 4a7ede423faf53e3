"""What has happened since the program started, in counts: what `/metrics` shows of requests.

Plain numbers, added up where the request log is written; nothing is rendered before somebody asks.
Names that strangers make up are bounded: what does not fit is counted as `other`.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterable

from protocol.explanation import Attempt
from protocol.prices import Billed
from protocol.request_line import RequestLine
from protocol.told import Told

OTHER = "other"
ACCOUNTS_MAX = 300
PROVIDERS_MAX = 50
MODELS_MAX = 100
STATUSES_MAX = 60
CLIENTS_MAX = 300
REASONS_MAX = 60
UNPROVEN_MODELS_MAX = 20
"""Models that no answer has come from yet: a client may ask for anything."""

REQUEST_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
FIRST_BYTE_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0)


class Names:
    """At most `limit` different values of a label."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def label(self, name: str) -> str:
        """`name`, or `other` where there are too many."""
        if name in self._known:
            return name
        if len(self._known) >= self._limit:
            return OTHER
        self._known.add(name)
        return name


class Histogram:
    """Seconds by their size. `counts` has one more than `bounds`: what is above them all."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """One more. A bound belongs to what is below it."""
        self.counts[bisect.bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def copy(self) -> Histogram:
        """As it is now."""
        copied = Histogram(self.bounds)
        copied.counts, copied.total = list(self.counts), self.total
        return copied


class Tally:
    """Keys of the counters are the values of their labels, in the order of `interface.md`."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, str, str, str]] = Counter()
        self.tokens: Counter[tuple[str, str, str]] = Counter()
        self.failovers: Counter[tuple[str]] = Counter()
        self.refreshes: Counter[tuple[str, str]] = Counter()
        self.client_requests: Counter[tuple[str, str]] = Counter()
        self.client_tokens: Counter[tuple[str, str]] = Counter()
        self.client_cost_usd: dict[tuple[str], float] = {}
        self.cost_usd = 0.0
        self.request_seconds = Histogram(REQUEST_BUCKETS)
        self.first_byte_seconds = Histogram(FIRST_BYTE_BUCKETS)
        self._accounts, self._providers = Names(ACCOUNTS_MAX), Names(PROVIDERS_MAX)
        self._models, self._unproven = Names(MODELS_MAX), Names(UNPROVEN_MODELS_MAX)
        self._statuses, self._reasons = Names(STATUSES_MAX), Names(REASONS_MAX)
        self._clients = Names(CLIENTS_MAX)

    def copy(self) -> Tally:
        """As it is now, for somebody who reads it in another thread."""
        copied = Tally()
        copied.requests, copied.tokens = self.requests.copy(), self.tokens.copy()
        copied.failovers, copied.refreshes = self.failovers.copy(), self.refreshes.copy()
        copied.client_requests = self.client_requests.copy()
        copied.client_tokens = self.client_tokens.copy()
        copied.client_cost_usd = dict(self.client_cost_usd)
        copied.cost_usd = self.cost_usd
        copied.request_seconds = self.request_seconds.copy()
        copied.first_byte_seconds = self.first_byte_seconds.copy()
        return copied

    def finished(self, entry: Billed, told: Told | None) -> None:
        """A request is over. `told` is what it noted of its steps, where that is known."""
        account = self._accounts.label(entry.account) if entry.account else ""
        provider = self._providers.label(entry.provider) if entry.provider else ""
        model = self._model(entry)
        status = self._status(entry.status)
        self.requests[account, provider, model, status, entry.terminal] += 1
        self.request_seconds.add(entry.ms_total / 1000)
        if entry.ms_first_byte is not None:
            self.first_byte_seconds.add(entry.ms_first_byte / 1000)
        for kind, count in _tokens(entry):
            self.tokens[account or provider, model, kind] += count
        if entry.cost_usd is not None:
            self.cost_usd += entry.cost_usd
        for reason in _went_on(told):
            self.failovers[(self._reasons.label(reason),)] += 1

    def keyed(self, line: RequestLine) -> None:
        """The same request once more, of one that came with an inbound key: `client` is its name,
        which its owner gave it, and never what a client says of itself."""
        client = self._clients.label(line.client or "")
        self.client_requests[client, self._status(line.status)] += 1
        for kind, count in _tokens(line):
            self.client_tokens[client, kind] += count
        if line.cost_usd is not None:
            self.client_cost_usd[(client,)] = (
                self.client_cost_usd.get((client,), 0.0) + line.cost_usd
            )

    def refreshed(self, account: str, outcome: str) -> None:
        """A login was to be renewed; `outcome` is the kind of `protocol.refreshing.Outcome`."""
        self.refreshes[self._accounts.label(account), outcome] += 1

    def _status(self, status: int | None) -> str:
        return "" if status is None else self._statuses.label(str(status))

    def _model(self, entry: Billed) -> str:
        name = entry.served_model or entry.model
        if not name:
            return ""
        if entry.counted or name in self._models:
            return self._models.label(name)
        return self._unproven.label(name)


def _tokens(entry: Billed | RequestLine) -> Iterable[tuple[str, int]]:
    """Those that an answer told of, by their kind."""
    told = {
        "input": entry.input_tokens,
        "output": entry.output_tokens,
        "cache_read": entry.cache_read_tokens,
        "cache_write": entry.cache_write_tokens,
    }
    return [(kind, count) for kind, count in told.items() if count]


def _went_on(told: Told | None) -> Iterable[str]:
    """Why the request went on to another account, each time it did."""
    if told is None:
        return ()
    attempts = (step for step in told.steps if isinstance(step, Attempt))
    return [step.reason or OTHER for step in attempts if step.action == "next"]
