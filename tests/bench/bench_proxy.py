"""What the proxy costs: each figure beside the same request sent directly to the upstream.

    make bench                          about a minute
    make bench ARGS=--quick             under 20 seconds, rough figures
    make bench ARGS="--json FILE"       the figures for a program as well

The program runs as a user starts it, in front of an upstream that answers fixed bytes over raw
sockets (`upstream.py`) and behind a load client that is as bare (`load.py`): three processes and
the loopback interface. No figure fails the run: machines differ. What fails it (exit code 1) is
a process that does not start, dies or hangs. Requests that went wrong, complaints of the proxy
and anything that does not come back to where it was after the cancelled requests are
printed at the end between lines of asterisks.

Reading it: latency and first byte are measured in turns, direct and through the proxy, so a noisy
machine troubles both alike. Requests/s and events/s are those of one core of the proxy. An event
is one small write of the upstream, and becomes one write to the client.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import running
from report import Report, Section
from running import Failed, Process
from settling import settle, state

CONNECTIONS = 16
STREAMS = 50
SEED = 20
GROWTH_MB_MAX = 8.0
"""Resident memory that the cancelled requests may leave behind: what an allocator keeps for good
was there already after the ones before the baseline."""


@dataclass(frozen=True)
class Size:
    """How much of everything: seconds of measuring, and counts."""

    starts: int
    seconds: float
    open_streams: int
    cancelled: int
    cancelled_before: int


FULL = Size(starts=3, seconds=4.0, open_streams=500, cancelled=2000, cancelled_before=1000)
QUICK = Size(starts=1, seconds=0.5, open_streams=100, cancelled=300, cancelled_before=300)


class Bench:
    """One run. Each method measures one thing and adds its rows."""

    def __init__(self, size: Size, report: Report, home: Path) -> None:
        self._size = size
        self._report = report
        self._home = home

    def run(self) -> None:
        """Everything, in an order in which nothing spoils what follows."""
        with contextlib.ExitStack() as stack:
            upstream = stack.enter_context(running.upstream(self._home / "upstream"))
            self._starts(upstream)
            proxy = stack.enter_context(running.proxy(upstream.port, self._home / "proxy"))
            stack.callback(self._hear, proxy)
            steps: list[Callable[[Process, Process], None]] = [
                self._memory, self._one_at_a_time, self._beside_streams, self._many, self._floods,
                self._paced, self._churn,
            ]  # fmt: skip
            for step in steps:
                print(".", end="", file=sys.stderr, flush=True)
                step(upstream, proxy)
                if not proxy.running():
                    raise Failed("the proxy died")
            self._lanes(upstream, proxy)
            print(file=sys.stderr)

    def _lanes(self, upstream: Process, express: Process) -> None:
        """The express lane, which everything else here is measured with, beside the reference one."""
        columns = ("reference lane", "express lane")
        section = self._report.section("Both lanes", columns)
        home = self._home / "reference"
        with running.proxy(upstream.port, home, express=False) as reference:
            both = (reference, express)
            alone = [self._added(upstream, lane) for lane in both]
            for name in ("p50", "p99"):
                slow, fast = (added[name] for added in alone)
                section.add(f"2 KB answer, one at a time, added {name}", slow, fast, "ms")
            many = [
                self._flat_out(upstream, lane, "saturate", connections=CONNECTIONS) for lane in both
            ]
            what = f"{CONNECTIONS} connections, 2 KB answers"
            section.add(f"{what}, requests/s", _rate(many[0]), _rate(many[1]), "/s")
            slow, fast = (_cpu(measured) for measured in many)
            section.add(f"{what}, CPU per request", slow, fast, "us")
            for streams in (1, STREAMS):
                floods = [self._flat_out(upstream, lane, "flood", streams=streams) for lane in both]
                what = f"{streams} streams" if streams > 1 else "one stream"
                section.add(f"events/s, {what}", _rate(floods[0]), _rate(floods[1]), "/s")
                section.add(f"CPU per event, {what}", _cpu(floods[0]), _cpu(floods[1]), "us")
            rss = []
            for lane in both:
                with running.held_streams(lane.port, self._size.open_streams):
                    rss.append(lane.rss())
            section.add(f"RSS, {self._size.open_streams} open streams", rss[0], rss[1], "MB")
            self._hear(reference)

    def _added(self, upstream: Process, lane: Process) -> dict[str, float]:
        """What a lane adds to one request at a time, in ms."""
        ports = {"direct": upstream.port, "proxy": lane.port}
        measured = running.load("alternate", mode="json", seconds=self._size.seconds / 2, **ports)
        whole = measured["whole"]
        return {name: whole["proxy"][name] - whole["direct"][name] for name in ("p50", "p99")}

    def _flat_out(
        self, upstream: Process, lane: Process, scenario: str, **plan: int
    ) -> dict[str, Any]:
        pids = {"upstream": upstream.pid, "proxy": lane.pid}
        seconds = self._size.seconds / 2
        measured = running.load(scenario, port=lane.port, seconds=seconds, pids=pids, **plan)
        if errors := measured["errors"]:
            self._alarm(f"{scenario}: {len(errors)} failed, the first with {errors[0]}")
        return measured

    def _starts(self, upstream: Process) -> None:
        section = self._report.section("Start and stop", ("", "proxy"))
        starts, stops = [], []
        for number in range(self._size.starts):
            with running.proxy(upstream.port, self._home / f"start-{number}") as proxy:
                starts.append(proxy.start_seconds)
                stops.append(proxy.stop())
                self._hear(proxy)
        section.add("start to `listening on` (median)", None, statistics.median(starts), "s")
        section.add("SIGTERM to exit, idle (median)", None, statistics.median(stops), "s")

    def _memory(self, upstream: Process, proxy: Process) -> None:
        count = self._size.open_streams
        section = self._report.section("Memory (RSS) and descriptors", ("idle", "then"))
        running.get(proxy.port, "/v1/bench?answer=json")  # what is made at its first use
        time.sleep(0.2)
        idle, descriptors = proxy.rss(), proxy.descriptors()
        for number, times in enumerate(("", ", a second time"), start=1):
            with running.held_streams(proxy.port, count) as opened:
                in_flight = running.get(proxy.port, "/status")["in_flight"]
                if opened != count or in_flight != count:
                    self._alarm(f"{count} streams wanted, {opened} open, {in_flight} in flight")
                section.add(f"RSS, {count} open streams{times}", idle, proxy.rss(), "MB")
                if number == 1:
                    grown = (proxy.rss() - idle) * 1000 / max(opened, 1)
                    now = proxy.descriptors()
            settle(upstream, proxy, descriptors)
            section.add(f"RSS, after they ended{times}", idle, proxy.rss(), "MB")
        section.add("RSS per open stream", None, grown, "KB")
        section.add(f"descriptors, {count} open streams", descriptors, now, "")
        section.add("descriptors, after they ended", descriptors, proxy.descriptors(), "")

    def _one_at_a_time(self, upstream: Process, proxy: Process) -> None:
        section = self._report.section("One request at a time")
        ports = {"direct": upstream.port, "proxy": proxy.port, "seconds": self._size.seconds}
        answers = running.load("alternate", mode="json", **ports)["whole"]
        streams = running.load("alternate", mode="short", **ports)
        for what, figures in (
            ("2 KB answer", answers),
            ("stream of 8 events, first byte", streams["first"]),
            ("stream of 8 events, all of it", streams["whole"]),
        ):
            for name in ("p50", "p99"):
                section.add(
                    f"{what}, {name}", figures["direct"][name], figures["proxy"][name], "ms"
                )

    def _beside_streams(self, upstream: Process, proxy: Process) -> None:
        count = self._size.open_streams
        section = self._report.section(f"One request at a time, beside {count} open streams")
        ports = {"direct": upstream.port, "proxy": proxy.port}
        with running.held_streams(proxy.port, count):
            before = self._accepted(upstream)
            measured = running.load(
                "alternate", mode="json", seconds=self._size.seconds / 2, **ports
            )
            opened = self._accepted(upstream) - before - 2  # its own one, and the first state's
        for name in ("p50", "p99"):
            direct, through = (measured["whole"][side][name] for side in ("direct", "proxy"))
            section.add(f"2 KB answer, {name}", direct, through, "ms")
        requests = measured["requests"]
        section.add(f"upstream connections opened, {requests} requests", 1, opened, "")
        settle(upstream, proxy, 0)

    @staticmethod
    def _accepted(upstream: Process) -> int:
        return int(running.get(upstream.port, "/?bench=state")["accepted"])

    def _many(self, upstream: Process, proxy: Process) -> None:
        section = self._report.section(f"{CONNECTIONS} connections, 2 KB answers")
        direct, through = self._both(upstream, proxy, "saturate", connections=CONNECTIONS)
        section.add("requests/s", _rate(direct), _rate(through), "/s", ratio=True)
        for name in ("p50", "p99"):
            section.add(f"latency, {name}", direct[name], through[name], "ms")
        self._cost(section, "request", through)

    def _floods(self, upstream: Process, proxy: Process) -> None:
        for streams in (1, STREAMS):
            title = "one stream" if streams == 1 else f"{streams} streams"
            section = self._report.section(f"Events, {title}, as fast as they are read")
            direct, through = self._both(upstream, proxy, "flood", streams=streams)
            section.add("events/s", _rate(direct), _rate(through), "/s", ratio=True)
            self._cost(section, "event", through)

    def _paced(self, upstream: Process, proxy: Process) -> None:
        section = self._report.section(f"Events, {STREAMS} streams, 20 events/s each")
        direct, through = self._both(upstream, proxy, "paced", streams=STREAMS)
        section.add("events/s", _rate(direct), _rate(through), "/s", ratio=True)
        for name in ("p50", "p99"):
            section.add(f"from write to read, {name}", direct[name], through[name], "ms")
        self._cost(section, "event", through)

    def _both(
        self, upstream: Process, proxy: Process, scenario: str, **plan: int
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The same plan direct (half as long: it is steadier) and through the proxy."""
        seconds = self._size.seconds
        pids = {"upstream": upstream.pid}
        direct = running.load(scenario, port=upstream.port, seconds=seconds / 2, pids=pids, **plan)
        pids["proxy"] = proxy.pid
        through = running.load(scenario, port=proxy.port, seconds=seconds, pids=pids, **plan)
        for errors in (direct["errors"], through["errors"]):
            if errors:
                self._alarm(f"{scenario}: {len(errors)} failed, the first with {errors[0]}")
        return direct, through

    def _cost(self, section: Section, per: str, through: dict[str, Any]) -> None:
        """CPU of the proxy, and whether it was the proxy that set the pace."""
        cpu, seconds = through["cpu"], through["seconds"]
        each = cpu["proxy"] / max(through["count"], 1)
        section.add(f"CPU of the proxy per {per}", None, each * 1e6, "us")
        shares = ", ".join(f"{name} {spent / seconds:.0%}" for name, spent in cpu.items())
        section.notes.append(f"of one core each: {shares}")

    def _churn(self, upstream: Process, proxy: Process) -> None:
        size = self._size
        columns = ("before", "after")
        section = self._report.section(
            f"{size.cancelled} requests cancelled at random moments", columns
        )
        self._cancel(proxy, size.cancelled_before, SEED)
        settle(upstream, proxy, 0)
        before = state(upstream, proxy)
        cancelled = self._cancel(proxy, size.cancelled, SEED + 1)
        settle(upstream, proxy, int(before["descriptors"]))
        after = state(upstream, proxy)
        units = {"RSS": "MB"}
        for what, value in after.items():
            section.add(what, before[what], value, units.get(what, ""))
        section.notes.append(
            f"in {cancelled['seconds']:.1f} s; seed {SEED + 1}; cancelled "
            + ", ".join(f"{count} {moment}" for moment, count in cancelled["left"].items())
        )
        grown = after.pop("RSS") - before.pop("RSS")
        if grown > GROWTH_MB_MAX:
            self._alarm(f"{size.cancelled} cancelled requests left {grown:.1f} MB behind")
        for what, value in after.items():
            if value > before[what] or (what != "descriptors" and value):
                self._alarm(
                    f"after {size.cancelled} cancelled requests: {what} {value:g}, "
                    f"before them {before[what]:g}"
                )

    def _cancel(self, proxy: Process, requests: int, seed: int) -> dict[str, Any]:
        cancelled = running.load("churn", port=proxy.port, requests=requests, seed=seed)
        if errors := cancelled["errors"]:
            self._alarm(f"churn: {len(errors)} went wrong, the first with {errors[0]}")
        return cancelled

    def _hear(self, proxy: Process) -> None:
        lines = [line for line in proxy.complaints().splitlines() if " INFO " not in line]
        if lines:
            shown = "\n".join(lines[:20])
            self._alarm(f"the proxy wrote {len(lines)} lines to standard error:\n{shown}")

    def _alarm(self, what: str) -> None:
        self._report.alarms.append(what)


def _rate(measured: dict[str, Any]) -> float:
    return float(measured["count"] / measured["seconds"])


def _cpu(measured: dict[str, Any]) -> float:
    """Microseconds of the proxy's CPU for each request or event."""
    return float(measured["cpu"]["proxy"] / max(measured["count"], 1) * 1e6)


def main() -> int:
    """Measures and prints; the exit code."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under 20 seconds, rough figures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    report = Report(_version(), options.quick)
    began = time.monotonic()
    failure = ""
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        try:
            Bench(QUICK if options.quick else FULL, report, Path(home)).run()
        except Failed as error:
            failure = f"not finished: {error}"
            report.alarms.append(failure)
    report.seconds = time.monotonic() - began
    print(report.text())
    if options.json is not None:
        options.json.write_text(json.dumps(report.document(), indent=2) + "\n", "utf-8")
    return 1 if failure else 0


def _version() -> str:
    try:
        return importlib.metadata.version("llm-supervisor")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
