"""Whatever is killed, whenever: nobody has to open `settings.json`. With the real file."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from supervisor import instance
from tests.e2e.conftest import Upstream
from tests.e2e.kept_settings import EDITED, ORIGINAL, Home, quick, worker_pids
from tests.e2e.test_keeper import BUSY, LONG, PROMPTLY, gone, let_go, under_load
from tests.kit.process import Supervised, write_config
from tests.kit.promises import Measured
from tests.kit.rounds import rounds

pytestmark = [pytest.mark.slow, LONG]

WITHOUT_KEEPER = (
    "from supervisor import starting; starting.keeper_possible = lambda: False;"
    "from supervisor.cli import main; main()"
)


class Round:
    """One program, one person's settings, and the moment something is killed."""

    def __init__(self, home: Home, process: Supervised, config: Path) -> None:
        self.home = home
        self.process = process
        self.config = config
        self.delay: float | None = None
        """From the kill to settings that do not point at the program, where they did."""

    async def killed(self, *pids: int) -> None:
        before = self.home.url
        began = time.monotonic()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        if before is not None:
            self.delay = await self.home.points_elsewhere_than(before) - began

    async def stopped(self) -> None:
        if self.process.process.returncode is None:
            self.process.signal(signal.SIGTERM)
            assert await self.process.ends() == 0, self.process.stderr


async def kill_worker(one: Round) -> None:
    """Put back, replaced, pointed again; and put back for good by the stop."""
    await one.killed(*worker_pids(one.process.process.pid))
    await one.process.listens()
    await one.home.points_at(one.process.url)
    assert (await one.process.ask("GET", "/health/live")).status == 200
    await one.stopped()


async def kill_keeper(one: Round) -> None:
    """The worker puts it back, drains and ends."""
    keeper = one.process.process.pid
    workers = worker_pids(keeper)
    await one.killed(keeper)
    for worker in workers:
        await gone(worker)
    await let_go(one.home.state)


async def kill_both(one: Round) -> None:
    """Nobody is left: it stays, until a repair or the next start."""
    keeper = one.process.process.pid
    one.process.signal(signal.SIGSTOP)  # so that it does nothing in between
    for worker in worker_pids(keeper):
        os.kill(worker, signal.SIGKILL)
        await gone(worker)
    before = one.home.url  # not earlier: a worker that starts may have pointed it meanwhile
    one.process.signal(signal.SIGKILL)
    await one.process.process.wait()
    await let_go(one.home.state)
    await trio.sleep(0.05)
    assert one.home.url == before, "the control: what nobody puts back stays"
    if random.random() < 0.5:
        async with one.home.program(one.config) as again:
            await again.listens()
            assert one.home.url == again.url != before
            again.signal(signal.SIGTERM)
            assert await again.ends() == 0
        return
    for _ in range(2):
        await one.home.command("repair")
        assert one.home.file.read_bytes() in (EDITED, ORIGINAL)
    assert "nothing to repair" in await one.home.command("repair")


KINDS: list[Callable[[Round], Awaitable[None]]] = [kill_worker, kill_keeper, kill_both]


@pytest.mark.promise("S4")
@pytest.mark.sweep
async def test_whatever_is_killed_at_whatever_moment_the_file_is_what_it_was(
    upstream: Upstream, config: Path, tmp_path: Path, measured: Measured
) -> None:
    """The three kinds in turn; in every other round while the program starts."""
    write_config(config, quick(upstream.url))
    delays: list[float] = []
    limit = trio.CapacityLimiter(2)

    async def one(number: int) -> None:
        home = Home(tmp_path / f"home-{number}")
        async with limit, home.program(config) as process:
            if number // len(KINDS) % 2:
                await trio.sleep(random.uniform(0.1, 1.2))
                home.edit()
                await KINDS[number % len(KINDS)](this := Round(home, process, config))
            else:
                await process.listens()
                async with under_load(process.url, 5):
                    await trio.sleep(random.uniform(0, 0.3))
                    home.edit()
                    await KINDS[number % len(KINDS)](this := Round(home, process, config))
            delays.extend([] if this.delay is None else [this.delay])
            await home.is_as_it_was()
            assert instance.read(home.state) is None or number % len(KINDS) == 2

    async with trio.open_nursery() as nursery:
        for number in range(rounds(quick=3, full=300)):
            nursery.start_soon(one, number)
    delays.sort()
    measured("S4", "put back, median", delays[len(delays) // 2] * 1000, "ms", rounds=len(delays))
    measured("S4", "put back, slowest", delays[-1] * 1000, "ms", rounds=len(delays))
    assert delays[len(delays) // 2] < PROMPTLY
    assert delays[-1] < PROMPTLY + BUSY


@pytest.mark.promise("S4", control=True)
async def test_without_a_keeper_a_killed_program_leaves_the_client_at_a_dead_port(
    upstream: Upstream, config: Path, tmp_path: Path
) -> None:
    """The control; and a repair puts it back."""
    write_config(config, quick(upstream.url))
    home = Home(tmp_path / "home")
    async with home.program(config, command=("-c", WITHOUT_KEEPER, "run")) as process:
        await process.listens()
        process.signal(signal.SIGKILL)
        await process.ends()
    await trio.sleep(0.3)
    assert home.url == process.url
    await home.command("repair", "--if-dead")
    await home.is_as_it_was(ORIGINAL)


@pytest.mark.promise("S5")
@pytest.mark.sweep
async def test_asked_to_stop_at_whatever_moment_the_file_is_what_it_was(
    upstream: Upstream, config: Path, tmp_path: Path, measured: Measured
) -> None:
    """Once or twice, by either signal, in every other round while the program starts."""
    write_config(config, quick(upstream.url))
    delays: list[float] = []
    limit = trio.CapacityLimiter(2)

    async def watch(home: Home, asked: float) -> None:
        delays.append(await home.points_elsewhere_than(home.url) - asked)

    async def one(number: int) -> None:
        home = Home(tmp_path / f"home-{number}")
        async with limit, home.program(config) as process:
            if number % 2:
                await trio.sleep(random.uniform(0.1, 2.0))
            else:
                await process.listens()
            home.edit()
            serving = "listening on" in process.stdout
            async with trio.open_nursery() as watching:
                if home.url is not None:
                    watching.start_soon(watch, home, time.monotonic())
                for _ in range(random.choice([1, 2])):
                    if process.process.returncode is None:
                        process.signal(random.choice([signal.SIGTERM, signal.SIGINT]))
                    await trio.sleep(random.uniform(0, 0.1))
            code = await process.ends()
            # Before it has handlers for them, signals do to Python what they always do.
            assert code == 0 or not serving, (code, process.stderr)
            await home.is_as_it_was()
            assert instance.read(home.state) is None

    async with trio.open_nursery() as nursery:
        for number in range(rounds(quick=2, full=100)):
            nursery.start_soon(one, number)
    if delays:
        slowest = max(delays) * 1000
        measured("S5", "put back after a signal, slowest", slowest, "ms", rounds=len(delays))
    assert all(delay < PROMPTLY + BUSY for delay in delays)
