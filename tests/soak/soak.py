"""`make soak`: the program as a process, under mixed traffic, while all of its actors crash.

    python tests/soak/soak.py                    fifteen minutes
    python tests/soak/soak.py --minutes 3        less
    python tests/soak/soak.py --seed 7           other faults, at other moments

Clients ask for whole answers, streams, counts and chat completions, some leave in the middle; the
upstream limits, fails, resets and cuts; the configuration is loaded again all the time; each actor
crashes about once a minute (`crashing.py`). Told in the end: what became of every request, who
crashed how often, and memory and descriptors of the worker over time. Exit code 1: a request was
lost, an actor is not back, or something grew.
"""

from __future__ import annotations

import argparse
import random
import signal
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import trio

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from server.scripted import ScriptedUpstream  # noqa: E402
from tests.kit.live import accounts  # noqa: E402
from tests.kit.process import Supervised, listening, pointed_at, write_config  # noqa: E402
from tests.kit.spoilt import spoilt  # noqa: E402
from tests.soak.traffic import Client, Upstream  # noqa: E402

CLIENTS = 12
SAMPLE_SECONDS = 2.0
WARM_SECONDS = 10.0
"""Before the first sample: with the first answer the table of prices is read, which takes 13 MB."""
RELOAD_SECONDS = 5.0
GROWTH_BYTES_MAX = 8 * 2**20
"""From the second quarter of the run to the last one."""
DESCRIPTORS_MORE_MAX = 2
"""At the end, when it is quiet, beside the kept connections to the upstream."""
QUIET_SECONDS = 8.0
BACK_SECONDS = 10.0
"""Who is away for longer in the end does not come back."""
TOLD_CHARACTERS = 20_000
"""Of what the program said, when the soak itself breaks off."""


class Sample(NamedTuple):
    """The worker at one moment; `at` in seconds of the run."""

    at: float
    memory: int
    descriptors: int


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        return trio.run(soak, asked.minutes * 60, asked.seed, Path(directory))


async def soak(seconds: float, seed: int, directory: Path) -> int:
    """The whole run; the exit code."""
    print(f"seed {seed}, {seconds:g} s, {CLIENTS} clients", flush=True)
    rng = random.Random(seed)
    behaviour = Upstream(rng)
    upstream = ScriptedUpstream(behaviour.answer, remember=100)
    async with trio.open_nursery() as nursery:
        url = await nursery.start(upstream.serve_tcp)
        config = directory / "config.toml"
        write_config(config, configuration(url, "first"))
        worker = f"from tests.soak.crashing import install; install({seed})"
        async with listening(
            config,
            "--no-client",
            state=directory / "state",
            environment={"PYTHONPATH": str(ROOT)},
            command=spoilt(worker),
        ) as process:
            try:
                problems = await Run(process, upstream, behaviour, rng, config, url).of(seconds)
            except BaseException:
                print(process.stderr[-TOLD_CHARACTERS:])
                raise
            process.signal(signal.SIGTERM)
            if await process.ends() != 0:
                problems.append("it did not end as asked")
            if "Traceback" in process.stderr:
                problems.append("a traceback on standard error")
        nursery.cancel_scope.cancel()
    for problem in problems[:20]:
        print(f"PROBLEM: {problem}")
    print("flat, and nothing was lost" if not problems else f"{len(problems)} problems")
    return 1 if problems else 0


def configuration(url: str, alias: str) -> str:
    """Three accounts in turn. `alias` makes two configurations differ."""
    more = '[routing]\nstrategy = "round-robin"\n[cooldown]\nbase = 0.2\nmaximum = 1\n'
    models = f'[models]\naliases = {{ "{alias}" = "claude-opus-5-5" }}\n'
    return pointed_at(url, f"{accounts('a', 'b', 'c')}\n{more}{models}", drain=5)


class Run:
    """One soak of a program that listens."""

    def __init__(
        self,
        process: Supervised,
        upstream: ScriptedUpstream,
        behaviour: Upstream,
        rng: random.Random,
        config: Path,
        url: str,
    ) -> None:
        self._process = process
        self._upstream = upstream
        self._behaviour = behaviour
        self._rng = rng
        self._config = config
        self._url = url
        self._samples: list[Sample] = []

    async def of(self, seconds: float) -> list[str]:
        """What went wrong."""
        before = await self._process.status()
        worker = psutil.Process(before["worker_pid"])
        began, descriptors = trio.current_time(), worker.num_fds()
        outcomes: Counter[str] = Counter()
        clients = [Client(self._process.url, self._rng, outcomes) for _ in range(CLIENTS)]
        async with trio.open_nursery() as nursery:
            for number, client in enumerate(clients):
                nursery.start_soon(client.run, number)
            nursery.start_soon(self._sample, worker, began)
            nursery.start_soon(self._reload)
            await trio.sleep(seconds)
            for client in clients:
                client.stopping = True
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        await trio.sleep(QUIET_SECONDS)
        status = await self._settled()
        problems = [lost for client in clients for lost in client.lost]
        if status["worker_pid"] != before["worker_pid"]:
            return [*problems, "the worker was replaced"]
        kept = self._upstream.open_connections
        left = worker.num_fds() - kept - descriptors
        self._tell(outcomes, status, left, kept)
        return problems + self._judged(status, left, seconds)

    async def _settled(self) -> dict[str, Any]:
        """With everybody back: crashes go on while nobody asks, so somebody may be away just now."""
        status = await self._process.status()
        with trio.move_on_after(BACK_SECONDS):
            while any(actor["state"] != "running" for actor in status["actors"]):
                await trio.sleep(0.1)
                status = await self._process.status()
        return status

    async def _sample(self, worker: psutil.Process, began: float) -> None:
        await trio.sleep(WARM_SECONDS)
        while True:
            at = trio.current_time() - began
            self._samples.append(Sample(at, worker.memory_info().rss, worker.num_fds()))
            await trio.sleep(SAMPLE_SECONDS)

    async def _reload(self) -> None:
        number = 0
        while True:
            await trio.sleep(RELOAD_SECONDS)
            number += 1
            write_config(self._config, configuration(self._url, f"alias-{number % 2}"))
            answered = await self._process.reload()
            if answered.status not in (200, 503):
                print(f"a reload was answered {answered.status}: {answered.body!r}")

    def _tell(self, outcomes: Counter[str], status: dict[str, Any], left: int, kept: int) -> None:
        print(f"{outcomes.total()} requests: {dict(sorted(outcomes.items()))}")
        print(f"faults of the upstream: {dict(sorted(self._behaviour.faults.items()))}")
        crashes = {actor["name"]: actor["restarts"] for actor in status["actors"]}
        print(f"{sum(crashes.values())} crashes: {crashes}")
        memory = [sample.memory for sample in self._samples]
        slope = statistics.linear_regression(
            [sample.at / 3600 for sample in self._later()],
            [sample.memory / 2**20 for sample in self._later()],
        ).slope
        print(
            f"memory: {memory[0] / 2**20:.1f} MB at first, {max(memory) / 2**20:.1f} MB at most, "
            f"{memory[-1] / 2**20:.1f} MB at last, slope {slope:+.1f} MB/h after the first quarter"
        )
        print(
            f"descriptors: {max(sample.descriptors for sample in self._samples)} at most, "
            f"{left:+d} in the end beside {kept} kept connections to the upstream"
        )

    def _judged(self, status: dict[str, Any], left: int, seconds: float) -> list[str]:
        problems: list[str] = []
        if left > DESCRIPTORS_MORE_MAX:
            problems.append(f"{left} descriptors more than at first")
        later = self._later()
        half = len(later) // 3
        early, late = _memory(later[:half]), _memory(later[-half:])
        if late - early > GROWTH_BYTES_MAX:
            problems.append(f"memory grew by {(late - early) / 2**20:.1f} MB")
        if status["in_flight"]:
            problems.append(f"{status['in_flight']} requests in flight, and nobody asks")
        for actor in status["actors"]:
            if actor["state"] != "running":
                problems.append(f"{actor['name']} is {actor['state']}")
            elif not actor["restarts"] and seconds > 80:
                problems.append(f"{actor['name']} never crashed: nothing was shown of it")
        return problems

    def _later(self) -> list[Sample]:
        """All but the first quarter, in which caches fill."""
        return self._samples[len(self._samples) // 4 :]


def _memory(samples: Sequence[Sample]) -> float:
    return statistics.median(sample.memory for sample in samples)


if __name__ == "__main__":
    sys.exit(main())
