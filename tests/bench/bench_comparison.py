"""What relays cost, side by side: the same upstream, the same client, one run.

    make bench                                  some fifteen minutes; writes docs/benchmarks.md
    make bench ARGS=--quick                     two minutes, rough figures, nothing written
    make bench ARGS="--requests 1000000"        memory's slope over a million requests

Compared are no relay at all, this program's two lanes, a bare Node pipe and nginx with one worker;
express lane, pipe and nginx also with TLS to the upstream. What is not installed is named and left
out. No figure fails the run; what goes wrong is printed at its end and written down with it.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import measures
import nginx
import relays
import running
import surroundings
from benchmarks_page import page
from figures import median
from measures import CASES, Cost
from relays import Contender, Relay
from running import ROOT, Failed, Process
from standings import OPEN_STREAMS, Ours, Standing, bar_table, bars, by_size, table

DOCUMENT = ROOT / "docs" / "benchmarks.md"
T = TypeVar("T")


@dataclass(frozen=True)
class Size:
    """How much of everything; seconds, unless it says otherwise."""

    starts: int
    rounds: int
    load: float
    latency: float
    idle: float
    lag: float
    failovers: int
    open_streams: int = OPEN_STREAMS


FULL = Size(starts=5, rounds=2, load=4, latency=10, idle=20, lag=60, failovers=300)
QUICK = Size(starts=1, rounds=1, load=1, latency=1, idle=5, lag=6, failovers=30)


@dataclass(frozen=True)
class Upstreams:
    """What answers. `live` is the process behind the two others."""

    live: Process
    plain: nginx.Upstream
    secure: nginx.Upstream | None

    def of(self, contender: Contender) -> nginx.Upstream:
        """The one that it is measured in front of."""
        if not contender.tls:
            return self.plain
        assert self.secure is not None
        return self.secure


@contextlib.contextmanager
def upstreams(home: Path) -> Iterator[Upstreams]:
    """nginx with and without TLS in front of `upstream.py`, or that alone where nginx is missing."""
    home.chmod(0o755)  # nginx's worker is another user where the master is root
    with contextlib.ExitStack() as stack:
        live = stack.enter_context(running.upstream(home / "live"))
        if not nginx.found():
            yield Upstreams(live, nginx.Upstream(live.port), None)
            return
        yield Upstreams(
            live,
            stack.enter_context(nginx.upstream(home / "plain", live.port)),
            stack.enter_context(nginx.upstream(home / "secure", live.port, tls=True)),
        )


@dataclass
class Comparison:
    """One run."""

    size: Size
    home: Path
    there: Upstreams
    contenders: list[Contender]
    alarms: list[str] = field(default_factory=list)
    standings: dict[str, Standing] = field(default_factory=dict)
    ours: Ours = field(default_factory=Ours)
    _homes: int = 0

    def run(self, requests: int) -> None:
        """Everything, in an order in which nothing spoils what follows."""
        self.standings = {one.name: Standing(one.name) for one in self.contenders}
        for contender in self.contenders:
            self.start_and_memory(contender)
        with contextlib.ExitStack() as stack:
            started = self.all_started(stack)
            self.loads(started)
            self.latencies(started)
        self.failovers()
        self.quiet_and_busy()
        self.slope(requests)
        self.alarms += relays.HEARD

    def tried(self, what: str, measure: Callable[[], T]) -> T | None:
        """A figure, or None and an alarm."""
        began = time.monotonic()
        print(f"  {what} ...", end="", file=sys.stderr, flush=True)
        try:
            return measure()
        except Failed as failure:
            self.alarms.append(f"{what}: {failure}")
            print(" FAILED", end="", file=sys.stderr)
            return None
        finally:
            print(f" {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)

    def own_home(self) -> Path:
        """A folder that nobody has used."""
        self._homes += 1
        return self.home / f"relay-{self._homes}"

    def start_and_memory(self, contender: Contender) -> None:
        """Seconds until it is ready, and memory with many streams open, in fresh processes."""
        standing = self.standings[contender.name]
        starts: list[float] = []

        def fresh() -> float | None:
            if contender.lane:  # compiles what has changed since
                with contender.start(self.own_home(), self.there.of(contender)):
                    pass
            for number in range(self.size.starts if contender.lane else 1):
                with contender.start(self.own_home(), self.there.of(contender)) as relay:
                    if relay.start_seconds is not None:
                        starts.append(relay.start_seconds)
                    if number == 0 and relay.pid is not None:
                        standing.memory = measures.memory(relay, self.size.open_streams)
            return median(starts) if starts else None

        standing.start = self.tried(f"{contender.name}: start and memory", fresh)

    def all_started(self, stack: contextlib.ExitStack) -> list[tuple[Contender, Relay]]:
        """Everybody who starts; idle ones cost the others nothing that could be measured."""
        found = []
        for contender in self.contenders:
            upstream = self.there.of(contender)
            entered = self.tried(
                f"{contender.name}: start",
                lambda one=contender, there=upstream: stack.enter_context(  # type: ignore[misc]
                    one.start(self.own_home(), there)
                ),
            )
            if entered is not None:
                found.append((contender, entered))
        return found

    def loads(self, started: list[tuple[Contender, Relay]]) -> None:
        """Every case, in rounds in which all take their turn; of each relay its best round."""
        for case in CASES:
            taken: dict[str, list[Cost]] = {}
            for _ in range(self.size.rounds):
                for contender, relay in started:
                    cost = self.tried(
                        f"{contender.name}: {case.title}",
                        lambda relay=relay, case=case: measures.throughput(  # type: ignore[misc]
                            case, relay, self.own_home(), self.size.load
                        ),
                    )
                    if cost is not None:
                        taken.setdefault(contender.name, []).append(cost)
                    if cost is not None and cost.load.errors:
                        self.alarms.append(f"{contender.name}, {case.title}: {cost.load.errors}")
            for name, costs in taken.items():
                self.standings[name].costs[case] = measures.best(costs)

    def latencies(self, started: list[tuple[Contender, Relay]]) -> None:
        """One request at a time, alone and beside open streams."""
        directs = {contender.tls: relay for contender, relay in started if relay.pid is None}
        for contender, relay in started:
            direct = directs[contender.tls]
            standing = self.standings[contender.name]
            standing.alone = self.tried(
                f"{contender.name}: one at a time",
                lambda direct=direct, relay=relay: measures.one_at_a_time(  # type: ignore[misc]
                    direct, relay, self.size.latency
                ),
            )
            if not relay.ca_file:
                standing.beside = self.tried(
                    f"{contender.name}: one at a time beside {measures.BESIDE_STREAMS} streams",
                    lambda direct=direct, relay=relay: measures.beside_streams(  # type: ignore[misc]
                        direct, relay, self.size.latency
                    ),
                )
            if relay.pid is None:
                for taken in (standing.alone, standing.beside):
                    if taken is not None:
                        del taken["added"]  # to itself

    def failovers(self) -> None:
        """Of both lanes, straight in front of the upstream that notes the moments."""
        for contender, express in ((relays.REFERENCE, False), (relays.EXPRESS, True)):

            def measured(express: bool = express) -> dict[str, float]:
                live = self.there.live
                with running.proxy(live.port, self.own_home(), express=express) as proxy:
                    return measures.both(measures.failovers(proxy, live, self.size.failovers))

            found = self.tried(f"{contender.name}: failover", measured)
            if contender.name in self.standings:
                self.standings[contender.name].failover = found

    def quiet_and_busy(self) -> None:
        """Idle, then with large bodies: processor time, and how late the event loop is."""

        def measured() -> None:
            with running.proxy(
                self.there.plain.url, self.own_home(), in_server=relays.CONNECTIONS
            ) as proxy:
                self.ours.idle = measures.idle(proxy, self.size.idle)
                self.ours.lag_idle = measures.lag(proxy)
                self.ours.lag, self.ours.large_bodies = measures.lag_with_large_bodies(
                    proxy, self.size.lag
                )

        self.tried("express lane: idle, and the event loop's lag with large bodies", measured)

    def slope(self, requests: int) -> None:
        """Memory over many requests; with few it is the warm-up alone that would be seen."""
        if not requests:
            return

        def measured() -> measures.Growth:
            with relays.EXPRESS.start(self.own_home(), self.there.plain) as relay:
                return measures.growth(relay, self.own_home(), requests)

        self.ours.growth = self.tried(f"express lane: memory over {requests:,} requests", measured)


def main(arguments: list[str]) -> int:
    """1 when nothing could be measured at all; no figure fails the run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="rough figures, nothing written")
    parser.add_argument(
        "--write",
        action="store_true",
        help=f"with --quick: write docs/{DOCUMENT.name} all the same",
    )
    parser.add_argument(
        "--requests",
        type=int,
        default=0,
        help="over which memory's slope is taken (100,000; none with --quick)",
    )
    parser.add_argument(
        "--rounds", type=int, default=0, help="of load, the best of which counts (2)"
    )
    options = parser.parse_args(arguments)
    requests = options.requests or (0 if options.quick else 100_000)
    began, before = time.monotonic(), surroundings.load_average()
    gaps = surroundings.missing()
    for gap in gaps:
        print(f"** {gap}", file=sys.stderr)
    running.ended_like_interrupted()
    running.many_descriptors()
    size = QUICK if options.quick else FULL
    size = replace(size, rounds=options.rounds or size.rounds)
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as directory,
        upstreams(Path(directory)) as there,
    ):
        comparison = Comparison(size, Path(directory), there, relays.contenders())
        comparison.run(requests)
    standings = list(comparison.standings.values())
    text = page(
        table=table(standings),
        by_size=by_size(standings),
        bar=bar_table(bars(comparison.standings, comparison.ours)),
        about=surroundings.described(),
        loads=(before, surroundings.load_average()),
        minutes=(time.monotonic() - began) / 60,
        command=" ".join(["make bench", *([f'ARGS="{" ".join(arguments)}"'] if arguments else [])]),
        wrong=gaps + comparison.alarms,
        quick=options.quick,
    )
    print(text)
    if options.write or not options.quick:
        DOCUMENT.write_text(text, "utf-8")
        print(f"written: docs/{DOCUMENT.name}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Failed as failure:
        sys.exit(f"not measured: {failure}")
