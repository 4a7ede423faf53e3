"""What one relayed request costs inside of the program, counted so that a busy machine does not matter.

    python tests/bench/bench_path.py                 about half a minute
    python tests/bench/bench_path.py --profile FILE  leaves a cProfile of processor time as well

The program runs in this process; the upstream and the client are processes of their own. It prints,
for each request of 2 KB answered at once:

    steps      how often trio ran a task, by task
    calls      Python functions called, by task; those of the connection by the package they are in
    CPU        processor time of this process, by task and in all (the best of several rounds)
    one by one time until the answer is whole, direct and through the program, and what was slow
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import cProfile
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import trio

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent))

import running  # noqa: E402
from client import Client  # noqa: E402

from tests.kit.program import program_over_tcp  # noqa: E402

CONFIGURATION = """\
[upstream]
base_url = "http://127.0.0.1:{port}"
[[account]]
name = "one"
api_key = "made-up-one"
[[account]]
name = "two"
api_key = "made-up-two"
"""
WARM_REQUESTS = 300
LONG_STEP_SECONDS = 0.001
PACKAGES = (
    "trio",
    "server",
    "protocol",
    "actors",
    "supervisor",
    "msgspec",
    "contextlib",
    "logging",
)


class Steps(trio.abc.Instrument):
    """Counts the steps of each kind of task, and their processor time."""

    def __init__(self) -> None:
        self.steps: collections.Counter[str] = collections.Counter()
        self.seconds: collections.Counter[str] = collections.Counter()
        self.longest: list[tuple[float, str]] = []
        self.collections: collections.Counter[int] = collections.Counter()
        self.collecting: collections.Counter[int] = collections.Counter()
        self.longest_collection = 0.0
        self._began = 0.0
        self._collecting = 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps[_kind(task)] += 1
        self._began = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if not self._began:
            return  # the step in which it was put in
        took = time.thread_time() - self._began
        self.seconds[_kind(task)] += took
        if took > LONG_STEP_SECONDS:
            self.longest.append((took, _kind(task)))

    def collected(self, phase: str, told: dict[str, int]) -> None:
        """For `gc.callbacks`."""
        if phase == "start":
            self._collecting = time.thread_time()
            return
        took = time.thread_time() - self._collecting
        self.collections[told["generation"]] += 1
        self.collecting[told["generation"]] += took
        self.longest_collection = max(self.longest_collection, took)


def _kind(task: trio.lowlevel.Task) -> str:
    name = task.name.rpartition(".")[2] if "." in task.name else task.name
    frame = getattr(task.coro, "cr_frame", None)
    known = frame.f_locals.get("self") if frame is not None else None
    context = frame.f_locals.get("context") if frame is not None else None
    label = getattr(context, "name", "") or (type(known).__name__ if known is not None else "")
    label = label.partition("/")[0]
    return f"{label}.{name}" if label else name


class Calls(trio.abc.Instrument):
    """Counts calls by package and by task, with `sys.setprofile`."""

    def __init__(self) -> None:
        self._kind = "the scheduler"
        self.kinds: collections.Counter[str] = collections.Counter()
        self.python: collections.Counter[str] = collections.Counter()
        self.functions: collections.Counter[str] = collections.Counter()
        self.native = 0

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            code = frame.f_code
            if code.co_filename == __file__:
                return
            self.kinds[self._kind] += 1
            if not self._kind.endswith("_contain"):
                return
            self.python[_package(code.co_filename)] += 1
            self.functions[f"{code.co_filename[-40:]}:{code.co_qualname}"] += 1
        elif event == "c_call" and self._kind.endswith("_contain"):
            self.native += 1

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._kind = _kind(task)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._kind = "the scheduler"


def _package(file: str) -> str:
    parts = Path(file).parts
    for package in PACKAGES:
        if package in parts or parts[-1] == f"{package}.py":
            return package
    return "other"


async def _client(port: int, connections: int, requests: int, mode: str) -> None:
    """The process of the client: seconds it took, and each request's where there is one connection."""
    gc.freeze()
    clients = [await Client.to(port, mode) for _ in range(connections)]
    each: list[float] = []

    async def work(client: Client) -> None:
        for _ in range(requests // connections):
            began = time.perf_counter()
            await client.ask()
            each.append(time.perf_counter() - began)

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for client in clients:
            nursery.start_soon(work, client)
    print(json.dumps({"seconds": time.perf_counter() - began, "each": each}))


async def _ask(
    port: int, requests: int, connections: int = 1, mode: str = "json"
) -> dict[str, Any]:
    plan = [str(port), str(connections), str(requests), mode]
    command = [sys.executable, __file__, "--client", *plan]
    done = await trio.run_process(command, capture_stdout=True)
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


@contextlib.contextmanager
def _profiled(file: str | None) -> Iterator[None]:
    if file is None:
        yield
        return
    profile = cProfile.Profile(time.process_time)
    profile.enable()
    try:
        yield
    finally:
        profile.disable()
        profile.dump_stats(file)


class PathBench:
    """One program, measured in several ways."""

    def __init__(self, port: int, upstream: int, requests: int, rounds: int) -> None:
        self._port = port
        self._upstream = upstream
        self._requests = requests
        self._rounds = rounds

    async def run(self, profile: str | None, listed: int) -> None:
        """Prints everything."""
        await _ask(self._port, WARM_REQUESTS, 16)
        gc.collect()
        gc.freeze()
        for connections in (1, 16):
            await self._cpu(connections)
        await self._steps(16)
        await self._steps(1)
        await self._calls(16, listed)
        with _profiled(profile):
            await _ask(self._port, self._requests, 16)
        await self._latency()

    async def _cpu(self, connections: int) -> None:
        spent, rate = [], []
        for _ in range(self._rounds):
            before = os.times()
            measured = await _ask(self._port, self._requests, connections)
            after = os.times()
            user, system = after.user - before.user, after.system - before.system
            spent.append((user + system, user, system))
            rate.append(self._requests / measured["seconds"])
        all_of_it, user, system = (part / self._requests * 1e6 for part in min(spent))
        print(
            f"{connections:3} connections: CPU {all_of_it:6.0f} us per request ({user:.0f} user,"
            f" {system:.0f} system), best of {self._rounds}; {max(rate):6.0f} requests/s"
        )

    async def _steps(self, connections: int) -> None:
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        gc.callbacks.append(steps.collected)
        await _ask(self._port, self._requests, connections)
        gc.callbacks.remove(steps.collected)
        trio.lowlevel.remove_instrument(steps)
        print(f"steps and CPU per request by task, {connections} connections:")
        for kind, count in steps.steps.most_common(8):
            each = steps.seconds[kind] / self._requests * 1e6
            print(f"    {count / self._requests:6.2f} {each:7.1f} us  {kind}")
        total = sum(steps.steps.values()) / self._requests
        print(f"    {total:6.2f} {sum(steps.seconds.values()) / self._requests * 1e6:7.1f} us  all")
        longest = sorted(steps.longest, reverse=True)
        print(
            f"    {len(longest)} steps of more than {LONG_STEP_SECONDS * 1000:g} ms of CPU: ",
            end="",
        )
        print(", ".join(f"{took * 1000:.1f} {kind}" for took, kind in longest[:6]))
        for generation, count in sorted(steps.collections.items()):
            each = steps.collecting[generation] / count
            print(f"    {count} collections of generation {generation}, {each * 1000:.2f} ms each")
        print(f"    the longest {steps.longest_collection * 1000:.1f} ms")

    async def _calls(self, connections: int, listed: int) -> None:
        calls = Calls()
        trio.lowlevel.add_instrument(calls)
        sys.setprofile(calls)
        await _ask(self._port, self._requests, connections)
        sys.setprofile(None)
        trio.lowlevel.remove_instrument(calls)
        each = self._requests
        print(f"Python calls per request: {sum(calls.kinds.values()) / each:.0f}")
        for kind, count in calls.kinds.most_common(6):
            print(f"    {count / each:7.1f}  {kind}")
        print(f"in the client's connection, beside {calls.native / each:.0f} calls of C:")
        for package, count in calls.python.most_common():
            print(f"    {count / each:7.1f}  {package}")
        for function, count in calls.functions.most_common(listed):
            print(f"        {count / each:7.2f}  {function}")

    async def _latency(self) -> None:
        direct, through = [], []
        for _ in range(self._rounds):
            direct.append(_figures((await _ask(self._upstream, self._requests))["each"]))
            through.append(_figures((await _ask(self._port, self._requests))["each"]))
        for name, measured in (("direct", direct), ("through", through)):
            best = [min(one[place] for one in measured) * 1000 for place in range(3)]
            print(f"one by one, {name:8} p50 {best[0]:.3f} p90 {best[1]:.3f} p99 {best[2]:.3f} ms")


def _figures(samples: list[float]) -> tuple[float, float, float]:
    ordered = sorted(samples)
    return tuple(ordered[int(len(ordered) * part)] for part in (0.5, 0.9, 0.99))  # type: ignore[return-value]


async def main(arguments: argparse.Namespace) -> None:
    """Starts what is needed and measures."""
    with tempfile.TemporaryDirectory() as home, running.upstream(Path(home) / "up") as upstream:
        config = CONFIGURATION.format(port=upstream.port)
        async with program_over_tcp(config, Path(home)) as program:
            port = int(program.url.rpartition(":")[2])
            bench = PathBench(port, upstream.port, arguments.requests, arguments.rounds)
            await bench.run(arguments.profile, arguments.listed)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--client"]:
        port, connections, requests = (int(text) for text in sys.argv[2:5])
        trio.run(_client, port, connections, requests, sys.argv[5])
    else:
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("--requests", type=int, default=2000)
        parser.add_argument("--rounds", type=int, default=5)
        parser.add_argument("--profile")
        parser.add_argument("--listed", type=int, default=0, help="functions called most, to list")
        trio.run(main, parser.parse_args())
