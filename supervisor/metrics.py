"""`GET /metrics`: the tally and the snapshot that `/status` shows, as Prometheus wants them.

`render` takes milliseconds with many accounts: it runs in a thread, on copies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from protocol.tally import ACCOUNTS_MAX, Histogram, Tally

if TYPE_CHECKING:
    from prometheus_client.core import Metric

PREFIX = "supervisor_"
ACTORS_MAX = 2 * ACCOUNTS_MAX
"""In passthrough mode there is an actor for each credential that comes by."""

Labels = tuple[str, ...]


def render(status: Mapping[str, Any], tally: Tally, now: float) -> tuple[bytes, str]:
    """The text and its media type. `status` is the document of `/status`, `now` in epoch seconds."""
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
    from prometheus_client.registry import Collector

    class Snapshot(Collector):
        def collect(self) -> Iterable[Metric]:
            yield from _counted(tally)
            yield from _of_clients(tally)
            yield from _of_accounts(status, now)
            yield from _of_the_program(status)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Snapshot())
    return generate_latest(registry), CONTENT_TYPE_LATEST


def _counted(tally: Tally) -> Iterator[Metric]:
    yield _counter(
        "requests",
        "Requests that are over, by who served them and how they ended.",
        ("account", "provider", "model", "status", "terminal"),
        tally.requests,
    )
    yield _histogram(
        "request_seconds", "From a request's arrival to its end.", tally.request_seconds
    )
    yield _histogram(
        "first_byte_seconds",
        "From a request's arrival to the first byte of its answer.",
        tally.first_byte_seconds,
    )
    yield _counter(
        "tokens",
        "Tokens that answers told of; kind is input, output, cache_read or cache_write.",
        ("account", "model", "kind"),
        tally.tokens,
    )
    yield _counter(
        "cost_usd", "List price of all answers that have one, in dollars.", (), {(): tally.cost_usd}
    )
    yield _counter(
        "failovers",
        "Attempts after which the next account was tried, by why they failed.",
        ("reason",),
        tally.failovers,
    )
    yield _counter(
        "refreshes",
        "Renewals of logins, by their outcome.",
        ("account", "outcome"),
        tally.refreshes,
    )


def _of_clients(tally: Tally) -> Iterator[Metric]:
    """By the names of inbound keys; requests without one are in no client's figures."""
    yield _counter(
        "client_requests",
        "Requests that came with an inbound key, by the key's name.",
        ("client", "status"),
        tally.client_requests,
    )
    yield _counter(
        "client_tokens",
        "Tokens of requests that came with an inbound key.",
        ("client", "kind"),
        tally.client_tokens,
    )
    yield _counter(
        "client_cost_usd",
        "List price of answers to an inbound key, in dollars.",
        ("client",),
        tally.client_cost_usd,
    )


def _of_accounts(status: Mapping[str, Any], now: float) -> Iterator[Metric]:
    accounts = status["accounts"][:ACCOUNTS_MAX]
    windows = [
        (account["name"], name, window)
        for account in accounts
        for name, window in account["quota"].items()
    ]
    benches: Counter[Labels] = Counter()
    for account in accounts:
        for bench in account["cooldowns"]:
            benches[account["name"], bench["scope"], bench["reason"]] += 1
    for bench in status["cooldowns"]:
        benches["", bench["scope"], bench["reason"]] += 1
    both = ("account", "window")
    yield _gauge("cooldowns", "What rests now.", ("account", "scope", "reason"), benches)
    yield _gauge(
        "quota_utilization",
        "Used part of a quota window, from 0 to 1 and above.",
        both,
        {(a, w): known["utilization"] for a, w, known in windows},
    )
    yield _gauge(
        "quota_reset_timestamp_seconds",
        "When a quota window begins anew.",
        both,
        {(a, w): _epoch(known["resets_at"]) for a, w, known in windows},
    )
    yield _gauge(
        "quota_reading_age_seconds",
        "How old the last reading of a quota window is.",
        both,
        {(a, w): _age(known["read_at"], now) for a, w, known in windows},
    )
    yield _gauge(
        "account_available",
        "1 where the account could serve.",
        ("account",),
        {(account["name"],): float(account["state"] == "available") for account in accounts},
    )
    yield _gauge(
        "account_needs_login",
        "1 where only a new login by its owner helps.",
        ("account",),
        {(account["name"],): float(account["state"] == "needs_login") for account in accounts},
    )
    yield _gauge(
        "token_expiry_timestamp_seconds",
        "When the account's token expires, where that is known.",
        ("account",),
        {(account["name"],): _epoch(account["expires_at"]) for account in accounts},
    )


def _of_the_program(status: Mapping[str, Any]) -> Iterator[Metric]:
    actors = status["actors"][:ACTORS_MAX]
    lag = status["event_loop_lag"]
    yield _counter(
        "actor_restarts",
        "Restarts of a part of the program.",
        ("actor",),
        {(actor["name"],): actor["restarts"] for actor in actors},
    )
    yield _gauge(
        "actor_mailbox_depth",
        "Messages that wait for a part of the program.",
        ("actor",),
        {(actor["name"],): actor["mailbox"] for actor in actors},
    )
    yield _gauge("in_flight", "Requests under way.", (), {(): status["in_flight"]})
    yield _gauge(
        "event_loop_lag_seconds",
        "How late the event loop was, over the last minute.",
        ("percentile",),
        {("50",): lag.get("p50"), ("99",): lag.get("p99")},
    )
    yield _counter(
        "log_lines_dropped",
        "Lines of the request log that could not be written or taken.",
        (),
        {(): status["log"]["dropped_lines"]},
    )
    tls = status["tls"]
    yield _gauge(
        "certificate_expiry_timestamp_seconds",
        "When the certificate expires that clients are served with.",
        (),
        {(): _epoch(tls["not_after"]) if tls else None},
    )
    yield _gauge("build_info", "Always 1.", ("version",), {(status["version"],): 1})


def _gauge(name: str, help_: str, labels: Labels, values: Mapping[Labels, float | None]) -> Metric:
    """Without what is not known."""
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(PREFIX + name, help_, labels=labels)
    for key, value in values.items():
        if value is not None:
            family.add_metric(key, value)
    return family


def _counter(name: str, help_: str, labels: Labels, values: Mapping[Any, float]) -> Metric:
    """`_total` is added to the name."""
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(PREFIX + name, help_, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _histogram(name: str, help_: str, told: Histogram) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    bounds = [*map(str, told.bounds), "+Inf"]
    buckets = list(zip(bounds, accumulate(told.counts), strict=True))
    family = HistogramMetricFamily(PREFIX + name, help_)
    family.add_metric((), buckets, told.total)
    return family


def _epoch(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()


def _age(text: str | None, now: float) -> float | None:
    then = _epoch(text)
    return None if then is None else max(now - then, 0.0)
