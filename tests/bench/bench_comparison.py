"""What relays cost, side by side: the same upstream, the same client, one run.

    make bench                      some minutes; writes docs/benchmarks.md
    make bench ARGS=--quick         rough figures, nothing written

Compared are: no relay at all, this program with and without its express lane, a bare Node pipe, and
nginx with one worker. The upstream is nginx (a file from memory), the client is wrk with one thread,
so neither is ever the slow part; both share the machine's cores with the relay, as a user's do. This
program runs as a user starts it: every actor, the request log, quota and usage reading.

CPU is the relay's own, user and system, of all of its processes, divided by the requests it served.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nginx
import psutil
import wrk
from report import machine
from running import HERE, ROOT, Failed, proxy

DOCUMENT = ROOT / "docs" / "benchmarks.md"
EXPRESS_OFF = "[server]\nexpress = false\n"


@dataclass(frozen=True)
class Relay:
    """Something between client and upstream; `pid` None: nothing is, and it may speak TLS then."""

    name: str
    port: int
    pid: int | None
    tls: bool = False

    def cpu_seconds(self) -> float:
        """Of all its processes so far."""
        if self.pid is None:
            return 0.0
        family = [psutil.Process(self.pid), *psutil.Process(self.pid).children(recursive=True)]
        return float(sum(sum(member.cpu_times()[:2]) for member in family))

    def resident(self) -> float:
        """Megabytes of all its processes."""
        if self.pid is None:
            return 0.0
        family = [psutil.Process(self.pid), *psutil.Process(self.pid).children(recursive=True)]
        return sum(member.memory_info().rss for member in family) / 1e6


@dataclass(frozen=True)
class Case:
    """A kind of request. `connections` ask at once."""

    title: str
    answer: str
    request_bytes: int = 2_048
    connections: int = 16
    tls: bool = False


CASES = (
    Case("2 KB, 16 connections", "2KB.json"),
    Case("2 KB, one at a time", "2KB.json", connections=1),
    Case("200 KB answers", "200KB.json"),
    Case("2 MB answers", "2MB.json"),
    Case(f"streams of {nginx.EVENTS} events", "stream.sse"),
    Case(f"streams of {nginx.EVENTS} events, 200 at once", "stream.sse", connections=200),
    Case("2 KB, 16 connections, TLS to the upstream", "2KB.json", tls=True),
    Case(f"streams of {nginx.EVENTS} events, TLS to the upstream", "stream.sse", tls=True),
)


@dataclass(frozen=True)
class Row:
    """One relay in one case."""

    relay: str
    load: wrk.Load
    cpu_ms: float
    resident: float


Start = Callable[[Path, nginx.Upstream], contextlib.AbstractContextManager[Relay]]


@contextlib.contextmanager
def _direct(home: Path, upstream: nginx.Upstream) -> Iterator[Relay]:
    yield Relay("direct", upstream.port, None, tls=bool(upstream.ca_file))


@contextlib.contextmanager
def _node(home: Path, upstream: nginx.Upstream) -> Iterator[Relay]:
    home.mkdir(parents=True)
    with subprocess.Popen(
        ["node", str(HERE / "pipe.js"), upstream.url, upstream.ca_file],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().strip().rpartition(":")[2])
        try:
            yield Relay("a bare Node pipe", port, process.pid)
        finally:
            process.terminate()


@contextlib.contextmanager
def _nginx(home: Path, upstream: nginx.Upstream) -> Iterator[Relay]:
    with nginx.relay(home, upstream) as (port, pid):
        yield Relay("nginx, one worker", port, pid)


def _ours(name: str, extra: str) -> Start:
    @contextlib.contextmanager
    def started(home: Path, upstream: nginx.Upstream) -> Iterator[Relay]:
        ca_file = f'ca_file = "{upstream.ca_file}"' if upstream.ca_file else ""
        with proxy(upstream.url, home, extra=extra, in_upstream=ca_file) as process:
            yield Relay(name, process.port, process.pid)

    return started


def _contenders() -> list[Start]:
    found = [_direct, _ours("reference lane", EXPRESS_OFF), _ours("express lane", "")]
    if shutil.which("node"):
        found.append(_node)
    found.append(_nginx)
    return found


def measure(case: Case, relay: Relay, home: Path, seconds: float) -> Row:
    """One run after a short one that warms up. Raises Failed."""

    def run(seconds: float) -> wrk.Load:
        return wrk.run(
            f"{'https' if relay.tls else 'http'}://127.0.0.1:{relay.port}",
            home,
            answer=case.answer,
            request_bytes=case.request_bytes,
            connections=case.connections,
            seconds=seconds,
        )

    run(1)
    before = relay.cpu_seconds()
    load = run(seconds)
    spent = relay.cpu_seconds() - before
    return Row(relay.name, load, 1000 * spent / max(load.requests, 1), relay.resident())


def table(case: Case, rows: list[Row]) -> list[str]:
    """One case as Markdown."""
    lines = [
        f"### {case.title}",
        "",
        "| relay | requests/s | CPU per request | p50 | p99 | memory |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        cpu = f"{row.cpu_ms:.3f} ms" if row.cpu_ms else "-"
        resident = f"{row.resident:.0f} MB" if row.resident else "-"
        errors = f" ({row.load.errors})" if row.load.errors else ""
        lines.append(
            f"| {row.relay} | {row.load.per_second:,.0f}{errors} | {cpu} "
            f"| {row.load.p50 * 1e3:.3f} ms | {row.load.p99 * 1e3:.3f} ms | {resident} |"
        )
    return [*lines, ""]


def _versions() -> str:
    def said(*command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return (done.stdout or done.stderr).strip().splitlines()[0]

    about = machine()
    node = f", Node {said('node', '--version')}" if shutil.which("node") else ""
    return (
        f"{about['cores']} cores shared by all, {about['python']}, {about['system']}, "
        f"{said(str(nginx.found()), '-v')}{node}"
    )


def main(arguments: list[str]) -> int:
    """1 when something did not start or hung; no figure fails the run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="rough figures, nothing written")
    options, _ = parser.parse_known_args(arguments)
    missing = [
        name for name, there in (("nginx", nginx.found()), ("wrk", wrk.found())) if not there
    ]
    if missing:
        print(
            f"not measured: {' and '.join(missing)} missing (Debian: apt install nginx-light wrk)"
        )
        return 0
    lines: list[str] = [_versions(), ""]
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        home.chmod(0o755)  # nginx's worker is another user where the master is root
        with (
            nginx.upstream(home / "plain") as plain,
            nginx.upstream(home / "tls", tls=True) as secure,
        ):
            for place, case in enumerate(CASES):
                rows: list[Row] = []
                for number, contender in enumerate(_contenders()):
                    own = home / f"{place}-{number}"
                    with contender(own, secure if case.tls else plain) as relay:
                        rows.append(measure(case, relay, own / "load", 1 if options.quick else 5))
                fresh = table(case, rows)
                print("\n".join(fresh), flush=True)
                lines += fresh
    if not options.quick:
        DOCUMENT.write_text(_document(lines), "utf-8")
    return 0


def _document(lines: list[str]) -> str:
    method = "\n".join((__doc__ or "").strip().splitlines()[6:])
    return "\n".join(
        [
            "# Benchmarks",
            "",
            "Written by `make bench`; run it to repeat them. No machine has the same figures;",
            "what carries over is how the rows stand to each other.",
            "",
            method,
            "",
            *lines,
        ]
    )


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Failed as failure:
        sys.exit(f"not measured: {failure}")
