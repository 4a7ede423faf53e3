"""What was measured of each relay, and the tables that are made of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import recorded
from figures import NONE, Bar, at_least_as, at_most, markdown, shown
from measures import CASES, SMALL, STREAMS, Case, Cost, Growth

OPEN_STREAMS = 1_000


@dataclass
class Standing:
    """One relay. A figure that could not be taken stays None; then an alarm says why."""

    name: str
    costs: dict[Case, Cost] = field(default_factory=dict)
    alone: dict[str, Any] | None = None
    beside: dict[str, Any] | None = None
    memory: float | None = None
    failover: dict[str, float] | None = None
    start: float | None = None
    why: str = ""
    """Why there is no figure at all."""

    def rate(self, case: Case, each: int = 1) -> float | None:
        """Requests per second, or what there are `each` of in a request."""
        cost = self.costs.get(case)
        return None if cost is None else cost.load.per_second * each

    def cpu(self, case: Case) -> float | None:
        """Milliseconds for each request."""
        cost = self.costs.get(case)
        return None if cost is None else cost.cpu_ms

    def added(self, percentile: str) -> float | None:
        """Milliseconds more than direct, one at a time."""
        return None if self.alone is None else float(self.alone["added"][percentile])


@dataclass
class Ours:
    """What is measured of the express lane only."""

    idle: float | None = None
    lag: float | None = None
    lag_idle: float | None = None
    large_bodies: int = 0
    growth: Growth | None = None


def table(standings: Sequence[Standing]) -> list[str]:
    """The comparison: one row for each relay."""
    columns = [
        "relay",
        "requests/s",
        "CPU per request",
        "added p50",
        "added p99",
        "added p50, 200 streams",
        "added p99, 200 streams",
        "events/s",
        f"{OPEN_STREAMS:,} streams open",
        "failover p50, p99",
        "start",
    ]
    return markdown(columns, [_row(standing) for standing in standings])


def _row(standing: Standing) -> list[str]:
    if standing.why:
        return [standing.name, *[NONE] * 9, standing.why]
    latencies = [
        _latency(taken, name)
        for taken in (standing.alone, standing.beside)
        for name in ("p50", "p99")
    ]
    failover = standing.failover
    return [
        standing.name,
        shown(standing.rate(SMALL)),
        shown(standing.cpu(SMALL), "ms"),
        *latencies,
        shown(standing.rate(STREAMS, recorded.EVENTS)),
        shown(standing.memory, "MB"),
        f"{failover['p50']:.2f}, {failover['p99']:.2f} ms" if failover else NONE,
        shown(standing.start, "s"),
    ]


def _latency(taken: Mapping[str, Any] | None, name: str) -> str:
    """What was added; for no relay at all, in brackets, what it is added to."""
    if taken is None:
        return NONE
    if "added" not in taken:
        return f"({taken['direct'][name]:.3f} ms)"
    return shown(taken["added"][name], "ms", sign=True)


def by_size(standings: Sequence[Standing]) -> list[str]:
    """Requests/s and processor time of every case."""
    columns = ["relay", *(case.title for case in CASES)]
    rates = [
        [one.name, *(shown(one.rate(case)) for case in CASES)] for one in standings if not one.why
    ]
    cpu = [
        [one.name, *(shown(one.cpu(case), "ms") for case in CASES)]
        for one in standings
        if not one.why and any(one.cpu(case) is not None for case in CASES)
    ]
    return [
        "Requests/s:",
        "",
        *markdown(columns, rates),
        "",
        "Processor time of the relay for each request:",
        "",
        *markdown(columns, cpu),
    ]


GROWTH_KB = 100.0
"""For 100,000 requests: a byte for each, which nothing that is kept for a request would fit into."""


def bars(standings: Mapping[str, Standing], ours: Ours) -> list[Bar]:
    """What was promised, and what came of it."""
    express = standings.get("express lane") or Standing("express lane")
    secure = standings.get("express lane, TLS") or Standing("express lane, TLS")
    pipe = standings.get("a bare Node pipe") or Standing("")
    secure_pipe = standings.get("a bare Node pipe, TLS") or Standing("")
    events = recorded.EVENTS
    node = "a bare Node pipe"
    failover = express.failover
    grown = ours.growth
    return [
        at_least_as("requests/s, plain", node, express.rate(SMALL), pipe.rate(SMALL)),
        at_least_as("requests/s, TLS", node, secure.rate(SMALL), secure_pipe.rate(SMALL)),
        at_least_as(
            "events/s, plain", node, express.rate(STREAMS, events), pipe.rate(STREAMS, events)
        ),
        at_least_as(
            "events/s, TLS", node, secure.rate(STREAMS, events), secure_pipe.rate(STREAMS, events)
        ),
        at_most("added, one at a time, p50", 0.25, express.added("p50"), "ms"),
        at_most("added, one at a time, p99", 0.75, express.added("p99"), "ms"),
        at_most(
            "event loop's lag, p99, 200 streams with 2 MB requests",
            5,
            ours.lag,
            "ms",
            note=f"{shown(ours.lag_idle, 'ms')} idle; {ours.large_bodies:,} requests",
        ),
        at_most(f"memory, {OPEN_STREAMS:,} open streams", 150, express.memory, "MB"),
        at_most(
            "a failover's decision, p99",
            5,
            failover["p99"] if failover else None,
            "ms",
            note=f"p50 {failover['p50']:.2f} ms" if failover else "",
        ),
        at_most("ready after", 0.7, express.start, "s"),
        at_most("processor while idle", 0.5, ours.idle, "%"),
        at_most(
            "memory's slope for 100,000 requests",
            GROWTH_KB,
            grown.slope.rise if grown else None,
            "KB",
            note=_grown(grown),
        ),
    ]


def _grown(grown: Growth | None) -> str:
    if grown is None:
        return ""
    return (
        f"± {grown.slope.error:.1f}, over {grown.requests:,}, "
        f"from {grown.first:.1f} to {grown.last:.1f} MB"
    )


def bar_table(all_bars: Sequence[Bar]) -> list[str]:
    """The promises as Markdown."""
    return markdown(["what", "target", "measured", "met"], [bar.cells() for bar in all_bars])
