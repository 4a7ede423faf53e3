"""Other proxies under the load of the comparison: those that install from PyPI and npm.

    make bench-peers                     installs into .bench/, measures, writes docs/benchmarks-peers.md
    make bench-peers ARGS=--quick        rough figures, nothing written
    make bench-peers ARGS="--only LiteLLM --only Portkey"

Installing needs the internet; measuring does not: the only upstream is one on this machine. A peer that
cannot be installed or does not start is a row that says why.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import measures
import peers
import relays
import running
import surroundings
from bench_comparison import Comparison, Size, upstreams
from benchmarks_page import peers_page
from figures import markdown
from measures import SMALL, STREAMS, Case
from peers import Peer
from relays import Relay
from running import ROOT, Failed
from standings import Standing, table

DOCUMENT = ROOT / "docs" / "benchmarks-peers.md"
FULL = Size(starts=3, rounds=2, load=4, latency=10, idle=0, lag=0, failovers=0, open_streams=200)
QUICK = Size(starts=1, rounds=1, load=3, latency=1, idle=0, lag=0, failovers=0, open_streams=50)

Opened = contextlib.AbstractContextManager[Relay]
Open = Callable[[str], Opened]
"""Starts a relay in front of one answer of the upstream."""


class Peers(Comparison):
    """One run. A relay is started anew for each answer: not every peer passes on what a URL asks."""

    def measure(self, name: str, opened: Open) -> Standing:
        """All figures of one relay."""
        standing = Standing(name)
        with self.trying(standing):
            with opened("hold") as relay:
                standing.start = relay.start_seconds
                if relay.pid is not None:
                    standing.memory = self.tried(
                        f"{name}: memory", lambda: measures.memory(relay, self.size.open_streams)
                    )
            with opened("2KB.json") as relay:
                self.case(standing, SMALL, relay)
                direct = Relay("direct", self.there.plain.port, None)
                standing.alone = self.tried(
                    f"{name}: one at a time",
                    lambda: measures.one_at_a_time(direct, relay, self.size.latency),
                )
            with opened("stream.sse") as relay:
                self.case(standing, STREAMS, relay)
        return standing

    @contextlib.contextmanager
    def trying(self, standing: Standing) -> Iterator[None]:
        """What does not start leaves the reason in its row."""
        try:
            yield
        except Failed as failure:
            why = " ".join(str(failure).split())
            self.alarms.append(f"{standing.name}: {why}")
            if standing.start is None:
                standing.why = why[:120]

    def case(self, standing: Standing, case: Case, relay: Relay) -> None:
        """The better of the rounds."""
        costs = []
        for _ in range(self.size.rounds):
            cost = self.tried(
                f"{standing.name}: {case.title}",
                lambda: measures.throughput(case, relay, self.own_home(), self.size.load),
            )
            if cost is None:
                return
            costs.append(cost)
        found = measures.best(costs)
        if found.load.errors.isdigit() and int(found.load.errors) >= found.load.requests:
            self.alarms.append(f"{standing.name}, {case.title}: no answer was a success")
            return
        if found.load.errors:
            self.alarms.append(f"{standing.name}, {case.title}: errors: {found.load.errors}")
        standing.costs[case] = found

    def ours_and_theirs(self, chosen: list[Peer]) -> list[Standing]:
        """A row for direct, for the express lane, and for each peer."""
        plain = self.there.plain

        @contextlib.contextmanager
        def direct(answer: str) -> Iterator[Relay]:
            yield Relay("direct", plain.port, None, prefix=f"/as/{answer}")

        def express(answer: str) -> Opened:
            return _express(self.own_home(), f"{plain.url}/as/{answer}")

        rows = [self.measure("direct", direct), self.measure(relays.EXPRESS.name, express)]
        if rows[0].alone is not None:
            del rows[0].alone["added"]  # to itself
        return rows + [self._peer(peer) for peer in chosen]

    def _peer(self, peer: Peer) -> Standing:
        standing = Standing(f"{peer.name} {peer.version}")
        with self.trying(standing):
            print(f"  {peer.name}: installing, unless it is there", file=sys.stderr, flush=True)
            peers.install(peer)
            plain = self.there.plain
            return self.measure(
                standing.name,
                lambda answer: peers.started(peer, self.own_home(), f"{plain.url}/as/{answer}"),
            )
        return standing


@contextlib.contextmanager
def _express(home: Path, url: str) -> Iterator[Relay]:
    with running.proxy(url, home, in_server=relays.CONNECTIONS) as process:
        yield Relay("", process.port, process.root, start_seconds=process.start_seconds)


def _rows(standings: list[Standing], open_streams: int) -> list[str]:
    """The comparison's table without the columns that no peer has a figure in."""
    lines = table(standings)
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    kept = [0, 1, 2, 3, 4, 7, 8, 10]
    columns = [cells[0][place] for place in kept]
    columns[6] = f"{open_streams:,} streams open"
    return markdown(columns, [[row[place] for place in kept] for row in cells[2:]])


def main(arguments: list[str]) -> int:
    """No figure fails the run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="rough figures, nothing written")
    parser.add_argument(
        "--write",
        action="store_true",
        help=f"with --quick: write docs/{DOCUMENT.name} all the same",
    )
    names = [peer.name for peer in peers.PEERS]
    parser.add_argument("--only", action="append", choices=names, help="these; may be repeated")
    options = parser.parse_args(arguments)
    began, before = time.monotonic(), surroundings.load_average()
    gaps = [gap for gap in surroundings.missing() if "no bare Node pipe" not in gap]
    for gap in gaps:
        print(f"** {gap}", file=sys.stderr)
    running.ended_like_interrupted()
    running.many_descriptors()
    chosen = [peer for peer in peers.PEERS if not options.only or peer.name in options.only]
    size = QUICK if options.quick else FULL
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as directory,
        upstreams(Path(directory)) as there,
    ):
        run = Peers(size, Path(directory), there, [])
        standings = run.ours_and_theirs(chosen)
    text = peers_page(
        table=_rows(standings, size.open_streams),
        versions=[f"- {peer.name} {peer.version}: {peer.does}" for peer in chosen],
        about=surroundings.described(),
        loads=(before, surroundings.load_average()),
        minutes=(time.monotonic() - began) / 60,
        command=" ".join(
            ["make bench-peers", *([f'ARGS="{" ".join(arguments)}"'] if arguments else [])]
        ),
        wrong=gaps + run.alarms,
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
