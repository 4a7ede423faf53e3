"""`docs/benchmarks.md`: the tables of a run, and how they came about."""

from __future__ import annotations

from collections.abc import Sequence

_METHOD = """\
## How it is measured

Everything runs on one machine, over its loopback interface, and shares its cores, as a user's client and
this program do. This program runs as a user starts it: keeper and worker, every actor, two accounts, the
request log, quota and usage reading. Nothing is turned off.

- **Upstream**: nginx with one worker, answering files from memory; what has to live (slow streams, silent
  streams, a 429 for one key only) is `tests/bench/upstream.py` behind it. TLS is between relay and upstream,
  with certificate verification; *direct, TLS* is a client that speaks TLS itself.
- **Requests/s, CPU per request, events/s**: wrk, one thread, 16 connections, 2 KB requests and answers unless
  the column says otherwise, after a second of warming up. All relays take their turn in each round, and the
  round with the most requests counts. CPU is user and system time of all of the relay's processes, divided by
  the requests. A stream has 200 events whose sizes are those of recorded traffic (`tests/corpus`); events/s
  are 200 times the streams/s.
- **Added latency**: one 2 KB request at a time over a kept connection, in turns direct and through the relay,
  by a client with blocking sockets. Percentiles are taken in five windows, of each window direct is subtracted
  from relayed, and the median window counts. In the rows of no relay the brackets hold what is added to.
- **200 streams**: the same beside 200 streams through the relay with 20 events a second each.
- **Streams open**: resident memory of all of the relay's processes with 1,000 streams open after their first
  events, in a process that has done nothing else. Pages that keeper and worker share count twice.
- **Failover**: from the upstream's sending a 429 for the first account until it has read the same request for
  the second one: both ways, the verdict, the bench, the next choice.
- **Start**: from starting the process until it says that it listens, or accepts a connection; for this program
  the median of five.
- **Event loop's lag**: what the program measures of itself and tells on `/status`, over a minute in which 200
  streams run, each with 20 events a second for five seconds and then asked for anew with 2 MB.
- **Idle**: processor time of all processes over 20 seconds, two seconds after the start.
- **Memory's slope**: a straight line by least squares through resident memory, read each second under load,
  after a warm-up of 40,000 requests, or a tenth of them if that is more: what is kept of the newest requests
  fills up, and the allocator finds out how much it needs at most. Met means no more than a byte for each.

No machine has the same figures. What carries over is how the rows stand to each other; and what else ran on
the machine (its load average is above) shows in latencies first.

## Repeating it

```sh
apt install nginx-light wrk nodejs       # what is missing is named, and left out
make bench                               # this page
make bench ARGS="--requests 1000000"     # memory's slope over a million requests
make bench ARGS=--quick                  # two minutes, rough figures, printed only
make bench-peers                         # other proxies: benchmarks-peers.md
```
"""


def page(
    *,
    table: Sequence[str],
    by_size: Sequence[str],
    bar: Sequence[str],
    about: Sequence[str],
    loads: tuple[str, str],
    minutes: float,
    command: str,
    wrong: Sequence[str],
    quick: bool,
) -> str:
    """The whole page."""
    rough = ["**Rough figures of a quick run.**", ""] if quick else []
    return "\n".join(
        [
            "# Benchmarks",
            "",
            f"Written by `{command}`; edit nothing here. Other proxies, measured in the same way, are in",
            "[benchmarks-peers.md](benchmarks-peers.md); what was done for speed, and where the time goes, in",
            "[performance.md](performance.md).",
            "",
            *rough,
            *about,
            *_circumstances(loads, minutes),
            "",
            "## The comparison",
            "",
            *table,
            "",
            "## The bar",
            "",
            "For the express lane, with everything on.",
            "",
            *bar,
            "",
            "## By size",
            "",
            *by_size,
            "",
            *_troubles(wrong),
            _METHOD,
        ]
    )


_PEERS_METHOD = """\
## How it is measured

As in [benchmarks.md](benchmarks.md#how-it-is-measured): the same upstream, the same clients, the same kinds
of request, in one run with this program's express lane. Each peer is installed into an environment of its
own below `.bench/`, from PyPI or npm, in the version that the table names; configured by its documentation
to relay Anthropic's Messages API to the upstream on this machine, with logging at its lowest; and asked in
the way its clients ask it. It runs with one worker process, which is what this program has.

A peer that does not relay Messages as they are but translates does more for each request, and does it
whether it is needed or not: that is what its users pay, too. A dash is a figure that could not be taken;
*What went wrong* says why.

## Repeating it

```sh
apt install nginx-light wrk nodejs npm
make bench-peers                         # installs what is not there yet, then measures
make bench-peers ARGS=--quick            # rough figures, printed only
```
"""


def peers_page(
    *,
    table: Sequence[str],
    versions: Sequence[str],
    about: Sequence[str],
    loads: tuple[str, str],
    minutes: float,
    command: str,
    wrong: Sequence[str],
    quick: bool,
) -> str:
    """The page of the other proxies."""
    rough = ["**Rough figures of a quick run.**", ""] if quick else []
    return "\n".join(
        [
            "# Benchmarks: other proxies",
            "",
            f"Written by `{command}`; edit nothing here.",
            "",
            *rough,
            *about,
            *_circumstances(loads, minutes),
            "",
            *table,
            "",
            *versions,
            "",
            *_troubles(wrong),
            _PEERS_METHOD,
        ]
    )


def _circumstances(loads: tuple[str, str], minutes: float) -> list[str]:
    return [
        (
            f"- load average (1, 5, 15 minutes) {loads[0]} before, {loads[1]} after; the run itself took "
            f"{minutes:.0f} minutes and is part of the latter"
        )
    ]


def _troubles(wrong: Sequence[str]) -> list[str]:
    if not wrong:
        return []
    lines = [f"- {' '.join(what.split())[:400]}" for what in dict.fromkeys(wrong)]
    return ["## What went wrong", "", *lines, ""]
