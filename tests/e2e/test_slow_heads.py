"""C3: what two hundred slow heads cost those who are not slow, each in a process of its own.

How long one answer takes depends on who else uses the machine. What the program itself computes while
a good request is under way does not, so that is bounded for each of them: whatever it does for slow
heads comes first at worst. That it does not let the good ones wait for nothing is seen in the middle one.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
import trio

from tests.e2e.conftest import Upstream
from tests.e2e.kept_settings import worker_pids
from tests.kit.process import JSON, Supervised, listening, pointed_at, started, write_config
from tests.kit.promises import Measured
from tests.kit.rounds import rounds

SECONDS = rounds(quick=1, full=12)
"""More than the five that a head has: also while two hundred are refused at once."""
DELAY_SECONDS = 0.1
SLOW = """
import socket, sys, time

def begun():
    one = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    one.sendall(b"POST /v1/messages HTTP/1.1\\r\\nx-")
    return one

slow = [begun() for _ in range(200)]
print("all are there", flush=True)
while True:
    for place, one in enumerate(slow):
        time.sleep(0.01)
        try:
            one.sendall(b"x")
        except OSError:  # it was closed: one that is slow comes again
            one.close()
            slow[place] = begun()
"""
"""Each begins a head, and sends a byte of it every two seconds."""

ONE_AFTER_THE_OTHER = """
import contextlib, socket

with socket.create_server(("127.0.0.1", 0), backlog=500) as listening:
    print("listening on http://127.0.0.1:%d" % listening.getsockname()[1], flush=True)
    while True:
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError):
            connection.settimeout(0.02)
            while b"\\r\\n\\r\\n" not in connection.recv(65536):
                pass
            connection.sendall(b"HTTP/1.1 200 OK\\r\\ncontent-length: 0\\r\\n\\r\\n")
"""
"""A server that reads a whole head, for a fiftieth of a second, before it looks at the next client."""


BODY = json.dumps(
    {"model": "claude-opus-5-5", "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}]}
).encode()


class Good(NamedTuple):
    """One request that was answered: how long it took, and what the server computed meanwhile."""

    seconds: float
    busy: float


def middle(times: list[float]) -> float:
    return sorted(times)[len(times) // 2]


@asynccontextmanager
async def slow_heads(port: int) -> AsyncGenerator[None, None]:
    async with started(str(port), command=("-c", SLOW)) as slow:
        await slow.says("all are there")
        yield


async def good_requests(
    server: Supervised, pid: int, seconds: float = 0.0, least: int = 20
) -> list[Good]:
    """One after the other, for so long, and so many at least."""
    theirs, found = psutil.Process(pid), []
    due = time.monotonic() + seconds
    while len(found) < least or time.monotonic() < due:
        busy, began = sum(theirs.cpu_times()[:2]), time.monotonic()
        answered = await server.ask("POST", "/v1/messages", JSON, BODY)
        assert answered.status == 200
        found.append(Good(time.monotonic() - began, sum(theirs.cpu_times()[:2]) - busy))
        await trio.sleep(0.02)
    return found


def delay(alone: list[Good], beside: list[Good]) -> float:
    """How much longer the middle one takes beside slow ones."""
    return middle([one.seconds for one in beside]) - middle([one.seconds for one in alone])


@pytest.mark.sweep
@pytest.mark.promise("C3")
async def test_no_good_request_is_delayed_by_two_hundred_slow_ones(
    upstream: Upstream, config: Path, state: Path, measured: Measured
) -> None:
    write_config(config, pointed_at(upstream.url))
    async with listening(config, state=state) as process:
        (worker,) = worker_pids(process.process.pid)
        alone = await good_requests(process, worker, SECONDS / 2)
        async with slow_heads(process.port):
            beside = await good_requests(process, worker, SECONDS)
    busiest = max(one.busy for one in beside)
    assert busiest <= DELAY_SECONDS
    assert delay(alone, beside) <= DELAY_SECONDS
    count = len(beside)
    measured(
        "C3",
        "computed during a good request beside 200 slow heads, most",
        busiest,
        "s",
        rounds=count,
    )
    measured(
        "C3",
        "good request beside 200 slow heads, middle one later by",
        delay(alone, beside),
        "s",
        rounds=count,
    )


@pytest.mark.promise("C3", control=True)
async def test_where_one_waits_for_the_other_good_requests_are_delayed(state: Path) -> None:
    async with started(command=("-c", ONE_AFTER_THE_OTHER), state=state) as server:
        await server.listens()
        alone = await good_requests(server, server.process.pid, least=3)
        async with slow_heads(server.port):
            beside = await good_requests(server, server.process.pid, least=1)  # it waits for all
    assert delay(alone, beside) > DELAY_SECONDS
