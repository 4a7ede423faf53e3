"""The benchmark's load client: raw sockets, a process of its own.

Takes its plan as JSON in the first argument and prints what it measured as JSON. A plan names a
`scenario` (a function below) and its arguments; `pids` are the processes whose CPU time is to be
taken over the measured time.
"""

from __future__ import annotations

import gc
import json
import random
import re
import socket
import struct
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import psutil
import trio
from client import QUESTION_BYTES, STREAM_END, Client, Unexpected, request
from wire import STAMP_DIGITS, Line

Measured = dict[str, Any]

WARM_SECONDS = 0.5
WARM_REQUESTS = 30
CHURN_AT_ONCE = 25
OPEN_SECONDS = 40.0
"""Until all streams must be open; then it goes on with those that are."""
LONGEST_STAY = 0.08
"""Seconds until a request of the churn is cancelled; no answer of its upstream ends so early."""

_STAMP = re.compile(rb'"text":"(\d{%d})"' % STAMP_DIGITS)


class Window:
    """The measured time: opens after a warm-up; takes CPU times at both ends."""

    def __init__(self, pids: dict[str, int], *, warm: float = WARM_SECONDS) -> None:
        self.open = False
        self.errors: list[str] = []
        self._warm = warm
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._processes["load"] = psutil.Process()

    async def run(
        self, count: int, work: Callable[[], Awaitable[None]], seconds: float
    ) -> Measured:
        """Runs `count` times `work` beside each other; seconds, CPU seconds and errors."""

        async def contained() -> None:
            try:
                await work()
            except (Unexpected, OSError) as error:
                self.errors.append(repr(error))

        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(contained)
            await trio.sleep(self._warm)
            before, began = self._cpu(), time.perf_counter()
            self.open = True
            await trio.sleep(seconds)
            self.open = False
            took, after = time.perf_counter() - began, self._cpu()
            nursery.cancel_scope.cancel()
        spent = {name: after[name] - before[name] for name in after}
        return {"seconds": took, "cpu": spent, "errors": self.errors}

    def _cpu(self) -> dict[str, float]:
        times = {name: process.cpu_times() for name, process in self._processes.items()}
        return {name: taken.user + taken.system for name, taken in times.items()}


def percentiles(samples: list[float]) -> dict[str, float]:
    """Median and 99th percentile, in milliseconds."""
    ordered = sorted(samples)
    place = {"p50": len(ordered) // 2, "p99": len(ordered) * 99 // 100}
    return {name: ordered[index] * 1000 for name, index in place.items()}


async def alternate(direct: int, proxy: int, mode: str, seconds: float) -> Measured:
    """One request at a time, in turns direct and through the proxy: first byte and last byte."""
    clients = {"direct": await Client.to(direct, mode), "proxy": await Client.to(proxy, mode)}
    first: dict[str, list[float]] = {name: [] for name in clients}
    whole: dict[str, list[float]] = {name: [] for name in clients}
    for client in clients.values():
        for _ in range(WARM_REQUESTS):
            await client.ask()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, client in clients.items():
            began = time.perf_counter()
            first[name].append(await client.ask() - began)
            whole[name].append(time.perf_counter() - began)
    return {
        "requests": WARM_REQUESTS + len(whole["proxy"]),
        "first": {name: percentiles(samples) for name, samples in first.items()},
        "whole": {name: percentiles(samples) for name, samples in whole.items()},
    }


async def saturate(
    port: int,
    connections: int,
    seconds: float,
    pids: dict[str, int],
    mode: str = "json",
    size: int = QUESTION_BYTES,
) -> Measured:
    """As many requests as the other side will serve on that many connections."""
    window = Window(pids)
    samples: list[float] = []

    async def work() -> None:
        client = Client(await Line.to(port), request(port, mode, size=size))
        while True:
            began = time.perf_counter()
            await client.ask()
            if window.open:
                samples.append(time.perf_counter() - began)

    measured = await window.run(connections, work, seconds)
    return {**measured, "count": len(samples), **percentiles(samples or [0.0])}


async def flood(port: int, streams: int, seconds: float, pids: dict[str, int]) -> Measured:
    """Events of streams that are as fast as they are read."""
    window = Window(pids)
    events = 0

    async def work() -> None:
        nonlocal events
        client = await Client.to(port, "flood")
        last = await client.open()
        while True:
            data = await client.more()
            if window.open:
                # An event that is split between its two line ends counts with the second one.
                events += data.count(b"\n\n") + (last.endswith(b"\n") and data.startswith(b"\n"))
            last = data

    measured = await window.run(streams, work, seconds)
    return {**measured, "count": events}


async def paced(port: int, streams: int, seconds: float, pids: dict[str, int]) -> Measured:
    """How long an event is under way, when every stream has one now and then."""
    window = Window(pids, warm=2 * WARM_SECONDS)
    delays: list[float] = []

    async def work() -> None:
        # Not all in step: the upstream's pace begins with the request.
        await trio.sleep(random.uniform(0, WARM_SECONDS))
        client = await Client.to(port, "paced")
        rest = await client.open()
        while True:
            rest += await client.more()
            now = time.monotonic_ns()
            place = 0
            for found in _STAMP.finditer(rest):
                place = found.end()
                if window.open:
                    delays.append((now - int(found[1])) / 1e9)
            rest = rest[place:]

    measured = await window.run(streams, work, seconds)
    return {**measured, "count": len(delays), **percentiles(delays or [0.0])}


async def hold(
    port: int,
    streams: int,
    prefix: str = "",
    headers: tuple[tuple[str, str], ...] = (),
) -> Measured:
    """Opens streams, says so, and keeps them until a line comes in."""
    clients: list[Client] = []
    errors: list[str] = []
    asked = request(port, "hold", prefix=prefix, headers=headers)
    gate = trio.CapacityLimiter(CHURN_AT_ONCE)

    async def work() -> None:
        async with gate:
            try:
                client = Client(await Line.to(port), asked)
                clients.append(client)
                await client.open()
            except (Unexpected, OSError) as error:
                errors.append(repr(error))

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(streams):
            nursery.start_soon(work)
    print(json.dumps({"open": len(clients) - len(errors)}), flush=True)
    took = time.perf_counter() - began
    await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
    for client in clients:
        client.close()
    return {"seconds": took, "errors": errors}


async def company(
    port: int,
    streams: int,
    mode: str,
    size: int = QUESTION_BYTES,
    prefix: str = "",
    headers: tuple[tuple[str, str], ...] = (),
) -> Measured:
    """Streams that are read, and asked for anew when they end; says so when all are open, and goes on
    until a line comes in. `size` is that of a request's body.
    """
    errors: list[str] = []
    asked = request(port, mode, prefix=prefix, headers=headers, size=size)
    gate = trio.CapacityLimiter(CHURN_AT_ONCE)
    opened = turns = 0
    all_open = trio.Event()

    def another() -> None:
        nonlocal opened
        opened += 1
        if opened + len(errors) >= streams:
            all_open.set()

    async def work() -> None:
        nonlocal turns
        try:
            async with gate:
                client = Client(await Line.to(port), asked)
                await client.open()
            another()
            while True:
                last = b""
                while not last.endswith(STREAM_END):
                    last = last[-len(STREAM_END) :] + await client.more()
                turns += 1
                await client.open()
        except (Unexpected, OSError) as error:
            errors.append(repr(error))
            another()

    async with trio.open_nursery() as nursery:
        for _ in range(streams):
            nursery.start_soon(work)
        with trio.move_on_after(OPEN_SECONDS):
            await all_open.wait()
        print(json.dumps({"open": opened - len(errors)}), flush=True)
        began = time.perf_counter()
        await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()
    return {"seconds": time.perf_counter() - began, "turns": turns, "errors": errors}


async def churn(port: int, requests: int, seed: int) -> Measured:
    """Requests that are all cancelled: before, in and after the request, in and before the answer."""
    rng = random.Random(seed)
    asked = {mode: request(port, mode) for mode in ("late-json", "paced", "flood")}
    left = dict.fromkeys(("unsent", "half sent", "waiting", "reading"), 0)
    errors: list[str] = []
    numbers = iter(range(requests))

    async def one() -> None:
        line = await Line.to(port)
        moment = rng.choices(list(left), weights=[1, 2, 5, 5])[0]
        data = asked[rng.choice(list(asked))]
        left[moment] += 1
        try:
            if moment == "half sent":
                data = data[: rng.randrange(1, len(data))]
            if moment != "unsent":
                await line.send(data)
            with trio.move_on_after(rng.uniform(0, LONGEST_STAY)):
                if moment != "reading":
                    await trio.sleep_forever()
                while received := await line.receive():
                    if received.startswith(b"HTTP/1.1 ") and received[9:12] != b"200":
                        errors.append(received[:300].decode("latin-1"))
        finally:
            if rng.random() < 0.5:  # a reset, as programs that are killed leave behind
                linger = struct.pack("ii", 1, 0)
                line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            line.close()

    async def work() -> None:
        for _ in numbers:
            try:
                await one()
            except OSError as error:
                errors.append(repr(error))

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(CHURN_AT_ONCE):
            nursery.start_soon(work)
    return {"seconds": time.perf_counter() - began, "left": left, "errors": errors}


SCENARIOS: dict[str, Callable[..., Awaitable[Measured]]] = {
    scenario.__name__: scenario
    for scenario in (alternate, saturate, flood, paced, hold, company, churn)
}


async def main() -> None:
    """Carries out the plan."""
    plan = json.loads(sys.argv[1])
    print(json.dumps(await SCENARIOS[plan.pop("scenario")](**plan)), flush=True)


if __name__ == "__main__":
    gc.freeze()
    trio.run(main)
