"""Keeper and worker as real processes: what kills what, who waits, and who puts the client back.

The client is a stand-in that writes down when it was pointed and put back.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import trio

from supervisor import instance
from tests.e2e.conftest import Upstream
from tests.e2e.conversation import Stream, ask, held_stream
from tests.kit.client_standin import history, pointed, with_client
from tests.kit.live import accounts
from tests.kit.process import Supervised, listening, pointed_at, started, write_config
from tests.kit.promises import Measured
from tests.kit.rounds import SWEEPING, rounds
from tests.kit.wire import Wire

PROMPTLY = 0.1
"""Seconds from a decision to the settings being back."""
BUSY = 0.4
"""What a busy machine may add to that before a process gets its turn."""
PATIENCE = 30.0

LONG = pytest.mark.timeout(3600 if SWEEPING else 60)

DEAF_FOR_A_SECOND = "from supervisor import keeper; keeper.SILENCE_SECONDS = 1.5"


async def worker_of(process: Supervised, state: Path) -> int:
    """The worker's pid."""
    found = instance.read(state)
    assert found is not None
    assert found.pid == process.process.pid
    return found.worker_pid


async def another_worker(state: Path, before: int) -> int:
    """Waits until a worker other than that one has said that it is there."""
    with trio.fail_after(PATIENCE):
        while (found := instance.read(state)) is None or found.worker_pid == before:  # noqa: ASYNC110 - of another process
            await trio.sleep(0.02)
    return found.worker_pid


async def gone(pid: int) -> None:
    """Waits for the end of a process that is nobody's child here."""
    with trio.fail_after(PATIENCE):
        while alive(pid):  # noqa: ASYNC110 - of another process
            await trio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


async def let_go(state: Path) -> None:
    """Waits until nobody holds the lock: of a killed process, its last thread does."""
    with trio.fail_after(5):
        while instance.held(state):  # noqa: ASYNC110 - of another process
            await trio.sleep(0.01)


async def until(state: Path, what: str, count: int = 1) -> float:
    """Waits for the client to be changed so; when it was (monotonic)."""
    with trio.fail_after(PATIENCE):
        while len(done := [one for one in history(state) if one.what == what]) < count:  # noqa: ASYNC110 - of another process
            await trio.sleep(0.005)
    return done[count - 1].at


class Load:
    """Clients that ask again and again, each time on a new connection; what came of it."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.stopping = False

    async def client(self, url: str) -> None:
        while not self.stopping:
            self.outcomes[await self._one(url)] += 1
            await trio.sleep(0.005)

    async def _one(self, url: str) -> str:
        try:
            wire = await Wire.to(url)
        except OSError:
            return "refused"
        async with wire:
            try:
                answered = await wire.ask("GET", "/health/live")
            except (OSError, AssertionError, trio.BrokenResourceError):
                return "broken before an answer"
            whole = answered.complete and answered.status == 200
            return "answered" if whole else "broken in an answer"


@contextlib.asynccontextmanager
async def under_load(url: str, clients: int) -> AsyncGenerator[Load]:
    load = Load()
    async with trio.open_nursery() as nursery:
        for _ in range(clients):
            nursery.start_soon(load.client, url)
        yield load
        load.stopping = True


@pytest.fixture
def served(upstream: Upstream, config: Path) -> Path:
    """A configuration with an account."""
    return write_config(config, pointed_at(upstream.url, accounts("work"), drain=5))


@pytest.mark.promise("S4")
@pytest.mark.sweep
@LONG
async def test_while_a_killed_worker_is_replaced_nobody_is_refused(
    served: Path, state: Path, measured: Measured
) -> None:
    async with listening(served, state=state) as process:
        async with under_load(process.url, 50) as load:
            for _ in range(rounds(quick=1, full=5)):
                worker = await worker_of(process, state)
                await trio.sleep(0.3)
                os.kill(worker, signal.SIGKILL)
                await another_worker(state, worker)
                before = load.outcomes["answered"]
                with trio.fail_after(PATIENCE):
                    while load.outcomes["answered"] < before + 50:  # noqa: ASYNC110 - of another process
                        await trio.sleep(0.02)
        refused = load.outcomes["refused"]
        assert refused == 0
        kills = rounds(quick=1, full=5)
        measured("S4", "refused while a killed worker is replaced", refused, rounds=kills)
        broken = load.outcomes.total() - load.outcomes["answered"]
        assert broken <= 50 * rounds(quick=1, full=5), "what the killed ones were at"
        process.signal(signal.SIGTERM)
        assert await process.ends() == 0
        assert process.stdout.count("listening on") == 1
        assert process.stderr.count("a new one starts") == rounds(quick=1, full=5)


@pytest.mark.promise("S4", control=True)
async def test_without_a_keeper_that_holds_the_port_clients_are_refused(
    served: Path, state: Path
) -> None:
    """The control: the same load, and both die."""
    async with listening(served, state=state) as process, under_load(process.url, 50) as load:
        await trio.sleep(0.2)
        worker = await worker_of(process, state)
        process.signal(signal.SIGKILL)
        os.kill(worker, signal.SIGKILL)
        await trio.sleep(0.3)
    assert load.outcomes["refused"] > 0


@pytest.mark.promise("S4")
@pytest.mark.sweep
@pytest.mark.skipif(
    not SWEEPING, reason="test_client_kills has it with real settings; TEST_SWEEP=1"
)
@LONG
async def test_whatever_is_killed_at_whatever_moment_the_client_is_put_back_or_served(
    upstream: Upstream, tmp_path: Path, measured: Measured
) -> None:
    """Three kinds in turn: the worker, the keeper, both. Here for the time that it takes."""
    config = write_config(
        tmp_path / "c.toml",
        pointed_at(upstream.url, f"[client]\nrestore_after = 0\n{accounts('a')}"),
    )
    delays: list[float] = []
    limit = trio.CapacityLimiter(2)
    kinds = [kill_worker, kill_keeper, kill_both]

    async def one(number: int) -> None:
        state = tmp_path / f"state-{number}"
        async with limit, started(config, state=state, command=with_client()) as process:
            await until(state, "point")
            await process.listens()
            async with under_load(process.url, 5):
                await trio.sleep(random.uniform(0, 0.3))
                delay = await kinds[number % 3](process, state)
                delays.extend([] if delay is None else [delay])
            if process.process.returncode is None:
                process.signal(signal.SIGTERM)
                assert await process.ends() == 0
                assert not pointed(state)

    async with trio.open_nursery() as nursery:
        for number in range(300):
            nursery.start_soon(one, number)
    slowest = sorted(delays)
    name, tried = "decided after a kill", len(slowest)
    measured("S4", f"{name}, median", slowest[len(slowest) // 2] * 1000, "ms", rounds=tried)
    measured("S4", f"{name}, slowest", slowest[-1] * 1000, "ms", rounds=tried)
    assert slowest[len(slowest) // 2] < PROMPTLY
    assert slowest[-1] < PROMPTLY + BUSY


async def kill_worker(process: Supervised, state: Path) -> float:
    """It is put back at once (`restore_after` is 0), a new worker serves, and points again."""
    worker = await worker_of(process, state)
    began = time.monotonic()
    os.kill(worker, signal.SIGKILL)
    put_back = await until(state, "restore") - began
    await until(state, "point", 2)
    assert (await process.ask("GET", "/health/live")).status == 200
    return put_back


async def kill_keeper(process: Supervised, state: Path) -> float:
    """The worker puts it back, drains and ends, and leaves nothing held."""
    worker = await worker_of(process, state)
    began = time.monotonic()
    process.signal(signal.SIGKILL)
    put_back = await until(state, "restore") - began
    await gone(worker)
    assert not pointed(state)
    await let_go(state)
    assert instance.read(state) is None
    return put_back


async def kill_both(process: Supervised, state: Path) -> None:
    """Nobody is left to do it, and nothing hinders the next start, whose part it is."""
    worker = await worker_of(process, state)
    process.signal(signal.SIGSTOP)  # so that it does nothing in between
    os.kill(worker, signal.SIGKILL)
    process.signal(signal.SIGKILL)
    await gone(worker)
    await process.process.wait()
    assert pointed(state), "the control: what nobody puts back stays"
    await let_go(state)


@pytest.mark.promise("S4")
@pytest.mark.sweep
@LONG
async def test_a_worker_whose_keeper_died_while_it_started_ends_and_never_points(
    served: Path, tmp_path: Path
) -> None:
    limit = trio.CapacityLimiter(2)

    async def one(number: int) -> None:
        state = tmp_path / f"state-{number}"
        state.mkdir(mode=0o700)
        seen = state / "worker-pid"
        tell = f"import os; open({str(seen)!r}, 'w').write(str(os.getpid()))"
        command = with_client(worker=tell)
        async with limit, started(served, state=state, command=command) as process:
            with trio.fail_after(PATIENCE):
                while not seen.exists() or not seen.read_text():  # noqa: ASYNC110 - of another process
                    await trio.sleep(0.005)
            await trio.sleep(number * 0.03)
            process.signal(signal.SIGKILL)
            await gone(int(seen.read_text()))
            assert not pointed(state)
            await let_go(state)

    async with trio.open_nursery() as nursery:
        for number in range(rounds(quick=1, full=20)):
            nursery.start_soon(one, number)


@pytest.mark.promise("S5")
@pytest.mark.sweep
@LONG
async def test_at_a_stop_the_client_is_put_back_first_and_streams_end(
    upstream: Upstream, config: Path, tmp_path: Path, measured: Measured
) -> None:
    upstream.default(held_stream())
    write_config(config, pointed_at(upstream.url, accounts("work"), drain=20))
    delays: list[float] = []

    async def one(number: int) -> None:
        state = tmp_path / f"state-{number}"
        async with limit, listening(config, state=state, command=with_client()) as process:
            await trio.sleep(random.uniform(0, 0.3))
            async with await Stream.begun(process.url) as stream:
                began = time.monotonic()
                process.signal(random.choice([signal.SIGTERM, signal.SIGINT]))
                delays.append(await until(state, "restore") - began)
                upstream.gate("end").open()
                assert await stream.ended_well()
            assert await process.ends() == 0
            assert [one.what for one in history(state)][-2:] == ["point", "restore"]

    limit = trio.CapacityLimiter(2)
    async with trio.open_nursery() as nursery:
        for number in range(rounds(quick=1, full=20)):
            nursery.start_soon(one, number)
    measured("S5", "decided after a signal, slowest", max(delays) * 1000, "ms", rounds=len(delays))
    assert sorted(delays)[len(delays) // 2] < PROMPTLY
    assert max(delays) < PROMPTLY + BUSY


@pytest.mark.promise("S4")
async def test_a_stuck_worker_is_replaced_and_waiting_clients_are_served(
    served: Path, state: Path
) -> None:
    command = with_client(keeper=DEAF_FOR_A_SECOND)
    async with listening(served, state=state, command=command) as process:
        worker = await worker_of(process, state)
        os.kill(worker, signal.SIGSTOP)
        with trio.fail_after(PATIENCE):
            while True:  # what the stopped one had accepted breaks; who comes then waits
                try:
                    answered = await process.ask("GET", "/health/live")
                except (OSError, AssertionError):
                    continue
                if answered.status == 200:
                    break
        assert await worker_of(process, state) != worker
        assert "is stuck" in process.stderr
        assert (await process.status())["worker_pid"] == await worker_of(process, state)


@pytest.mark.promise("S4", control=True)
async def test_without_the_look_at_its_silence_a_stuck_worker_stays_stuck(
    served: Path, state: Path
) -> None:
    """The control."""
    command = with_client(keeper="from supervisor import keeper; keeper.SILENCE_SECONDS = 1e9")
    async with listening(served, state=state, command=command) as process:
        worker = await worker_of(process, state)
        os.kill(worker, signal.SIGSTOP)
        with trio.move_on_after(2.5) as waiting:
            await process.ask("GET", "/health/live")
        assert waiting.cancelled_caught
        os.kill(worker, signal.SIGKILL)


async def test_a_keeper_that_was_stopped_does_not_blame_its_worker(
    served: Path, state: Path
) -> None:
    command = with_client(keeper=DEAF_FOR_A_SECOND)
    async with listening(served, state=state, command=command) as process:
        worker = await worker_of(process, state)
        process.signal(signal.SIGSTOP)
        await trio.sleep(2.5)
        assert (await ask(process)).status == 200, "the worker goes on alone"
        process.signal(signal.SIGCONT)
        await trio.sleep(0.5)
        assert await worker_of(process, state) == worker
        assert "stuck" not in process.stderr


async def test_a_service_manager_may_signal_both_at_once(
    upstream: Upstream, config: Path, state: Path
) -> None:
    upstream.default(held_stream())
    write_config(config, pointed_at(upstream.url, accounts("work"), drain=20))
    async with listening(config, state=state) as process:
        worker = await worker_of(process, state)
        async with await Stream.begun(process.url) as stream:
            os.kill(worker, signal.SIGTERM)
            process.signal(signal.SIGTERM)
            await trio.sleep(0.3)
            upstream.gate("end").open()
            assert await stream.ended_well()
        assert await process.ends() == 0


async def test_supervisor_stop_and_reload_reach_the_program_after_its_worker_was_replaced(
    served: Path, state: Path
) -> None:
    async with listening(served, state=state) as process:
        worker = await worker_of(process, state)
        os.kill(worker, signal.SIGKILL)
        replaced = await another_worker(state, worker)
        shown = await process.status()
        assert (shown["pid"], shown["worker_pid"]) == (process.process.pid, replaced)
        for command, said in (("reload", "reloaded"), ("stop", "stopped")):
            async with started(command=("-m", "supervisor", command), state=state) as asked:
                assert await asked.ends() == 0, asked.stderr
                assert said in asked.stdout
        assert await process.ends() == 0


async def test_a_configuration_that_is_broken_when_the_worker_is_replaced_ends_in_78(
    served: Path, state: Path
) -> None:
    async with listening(served, state=state, command=with_client()) as process:
        write_config(served, "[server]\nport = 'x'\n")
        os.kill(await worker_of(process, state), signal.SIGKILL)
        assert await process.ends() == 78
        assert "server.port" in process.stderr
        assert not pointed(state)
        assert not instance.held(state)


async def test_a_folder_of_the_users_is_not_taken_for_one_of_ours(
    served: Path, state: Path, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    for name in ("server", "actors", "protocol", "supervisor", "trio"):
        (project / name).mkdir(parents=True)
        (project / name / "__init__.py").write_text("raise RuntimeError('not ours')")
    root = Path(__file__).parents[2]
    source = f"import sys; sys.path[0] = {str(root)!r}; from supervisor.cli import main; main()"
    options: dict[str, Any] = {"cwd": project, "command": ("-c", source, "run")}
    async with listening(served, state=state, **options) as process:
        assert (await ask(process)).status == 200
