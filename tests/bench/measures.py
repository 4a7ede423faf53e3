"""The measurements of a comparison, each of one relay. Each raises Failed where it cannot be done."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import recorded
import running
import wrk
from figures import Load, Slope, median, percentile, slope
from relays import Relay
from running import HERE, Failed, Process

BESIDE_STREAMS = 200
LARGE_BODY = 2_097_152
WINDOWS = 5
SETTLE_SECONDS = 2.0
PATIENCE = 5
"""Times as long is waited for whoever serves nothing in the time that the others have."""


@dataclass(frozen=True)
class Case:
    """A kind of request, asked on `connections` at once."""

    title: str
    answer: str
    request_bytes: int = 2_048
    connections: int = 16


SMALL = Case("2 KB", "2KB.json")
STREAMS = Case(f"streams of {recorded.EVENTS} events", "stream.sse")
CASES = (
    SMALL,
    Case("200 KB answers", "200KB.json"),
    Case("2 MB answers", "2MB.json"),
    Case("200 KB requests", "2KB.json&whole=1", 204_800),
    Case("2 MB requests", "2KB.json&whole=1", LARGE_BODY),
    STREAMS,
)


@dataclass(frozen=True)
class Cost:
    """One relay in one case; milliseconds of its own processor time for each request."""

    load: Load
    cpu_ms: float | None


def throughput(case: Case, relay: Relay, home: Path, seconds: float) -> Cost:
    """One run of load after a short one that warms up."""
    _loaded(case, relay, home, 1)
    before = relay.cpu_seconds()
    load = _loaded(case, relay, home, seconds)
    spent = relay.cpu_seconds() - before
    if not load.requests:  # too slow for that, perhaps
        before = relay.cpu_seconds()
        load = _loaded(case, relay, home, seconds * PATIENCE)
        spent = relay.cpu_seconds() - before
    if not load.requests:
        said = load.errors or "and nobody says why"
        raise Failed(f"no request was served in {seconds * PATIENCE:g} s ({said})")
    return Cost(load, None if relay.pid is None else 1000 * spent / load.requests)


def _loaded(case: Case, relay: Relay, home: Path, seconds: float) -> Load:
    if wrk.found():
        return wrk.run(
            relay.url,
            home,
            answer=case.answer,
            request_bytes=case.request_bytes,
            connections=case.connections,
            seconds=seconds,
            prefix=relay.prefix,
            headers=relay.headers,
        )
    if relay.ca_file:
        raise Failed("the load client of our own does not speak TLS")
    found = running.load(
        "saturate",
        port=relay.port,
        connections=case.connections,
        seconds=seconds,
        pids={},
        mode=case.answer,
        size=case.request_bytes,
    )
    rate = found["count"] / found["seconds"]
    errors = "; ".join(found["errors"][:1])
    return Load(found["count"], rate, found["p50"] / 1e3, found["p99"] / 1e3, errors)


def one_at_a_time(direct: Relay, relay: Relay, seconds: float) -> dict[str, Any]:
    """`latency.py`, in a process of its own: `direct`, `relay` and `added`, each p50 and p99, in ms."""
    plan = {
        "direct": _place(direct),
        "relay": _place(relay),
        "answer": "2KB.json",
        "seconds": seconds,
        "windows": WINDOWS,
    }
    done = subprocess.run(
        [sys.executable, str(HERE / "latency.py"), json.dumps(plan)],
        capture_output=True,
        text=True,
        timeout=seconds + 120,
        check=False,
    )
    if done.returncode:
        raise Failed(done.stderr.strip()[-500:])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _place(relay: Relay) -> dict[str, Any]:
    return {
        "port": relay.port,
        "ca_file": relay.ca_file,
        "prefix": relay.prefix,
        "headers": relay.headers,
    }


def beside_streams(
    direct: Relay, relay: Relay, seconds: float, *, streams: int = BESIDE_STREAMS
) -> dict[str, Any]:
    """The same while so many streams through the relay have 20 events a second each."""
    more = {"prefix": relay.prefix, "headers": relay.headers}
    with running.company(relay.port, streams, "paced", **more) as (opened, became):
        if opened < streams:
            raise Failed(f"only {opened} of {streams} streams could be opened")
        found = one_at_a_time(direct, relay, seconds)
    if errors := became["errors"]:
        raise Failed(f"{len(errors)} of {streams} streams broke, the first with {errors[0]}")
    return found


def memory(relay: Relay, streams: int) -> float:
    """Megabytes of all of the relay's processes while so many streams are open."""
    more = {"prefix": relay.prefix, "headers": relay.headers}
    with running.held_streams(relay.port, streams, **more) as opened:
        if opened < streams:
            raise Failed(f"only {opened} of {streams} streams could be opened")
        held = relay.resident()
    assert held is not None
    return held


def failovers(proxy: Process, upstream: Process, times: int) -> list[float]:
    """Milliseconds from the upstream's 429 to its having read the same request of the next account."""
    running.get(upstream.port, "/?answer=noted")
    headers = {"content-type": "application/json"}
    question = recorded.question(2_048, stream=False)
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10)
    try:
        for _ in range(times + 5):
            for target, body in (
                ("/v1/messages?answer=limited", question),
                ("/status/accounts/one/reset", b"{}"),
            ):
                connection.request("POST", target, body, headers)
                answer = connection.getresponse()
                said = answer.read()
                if answer.status != 200:
                    raise Failed(f"{target} was answered {answer.status}: {said[:200]!r}")
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"failover: {error!r}") from error
    finally:
        connection.close()
    noted: list[float] = running.get(upstream.port, "/?answer=noted")["ms"][5:]
    if len(noted) < times:
        raise Failed(f"{times} failovers were wanted, and {len(noted)} happened")
    return noted


def idle(proxy: Process, seconds: float) -> float:
    """Percent of one core that all of its processes take while nobody asks."""
    time.sleep(SETTLE_SECONDS)
    before, began = running.cpu_seconds(proxy.root), time.perf_counter()
    time.sleep(seconds)
    return 100 * (running.cpu_seconds(proxy.root) - before) / (time.perf_counter() - began)


def lag(proxy: Process) -> float:
    """The event loop's 99th percentile of the last minute, in ms, as the program tells it."""
    return float(running.get(proxy.port, "/status")["event_loop_lag"]["p99"]) * 1000


def lag_with_large_bodies(proxy: Process, seconds: float) -> tuple[float, int]:
    """The same while 200 streams run whose requests have 2 MB; and how many requests that were.

    Each stream is `turns`: 100 events in five seconds, then the next request on that connection.
    """
    with running.company(proxy.port, BESIDE_STREAMS, "turns", size=LARGE_BODY) as (opened, became):
        if opened < BESIDE_STREAMS:
            raise Failed(f"only {opened} of {BESIDE_STREAMS} streams could be opened")
        time.sleep(seconds)
        found = lag(proxy)
    if errors := became["errors"]:
        raise Failed(f"{len(errors)} streams broke, the first with {errors[0]}")
    return found, opened + int(became["turns"])


WARM_REQUESTS = 40_000
"""Until then memory grows by a megabyte or two and stays there: what is kept of the newest requests
fills up, and the allocator finds out how much it needs at most. A slope over that says nothing."""


@dataclass(frozen=True)
class Growth:
    """What memory did over so many requests; `slope` in KB per 100,000 of them."""

    requests: int
    first: float
    last: float
    slope: Slope


def growth(relay: Relay, home: Path, requests: int) -> Growth:
    """Resident memory, read each second, over so many requests after a warm-up."""
    points: list[tuple[float, float]] = []
    served = 0
    warm = max(requests // 10, WARM_REQUESTS)
    while served < warm + requests or len(points) < 3:
        load = _loaded(SMALL, relay, home, 1)
        if not load.requests:
            raise Failed(f"no request was served ({load.errors})")
        served += load.requests
        held = relay.resident()
        assert held is not None
        if served > warm:
            points.append((served / 1e5, held * 1e3))
    ends = points[0][1] / 1e3, points[-1][1] / 1e3
    return Growth(round((points[-1][0] - points[0][0]) * 1e5), *ends, slope(points))


def best(costs: Iterable[Cost]) -> Cost:
    """The round with the most requests: what disturbs a round only ever takes from it."""
    return max(costs, key=lambda cost: cost.load.per_second)


def both(samples: list[float]) -> dict[str, float]:
    """Median and 99th percentile."""
    return {"p50": median(samples), "p99": percentile(samples, 0.99)}
