"""Every way to ask for an end, or a pause, with Claude Code's real settings file."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import trio

from tests.e2e.conftest import Upstream
from tests.e2e.conversation import Stream, held_stream
from tests.e2e.kept_settings import EDITED, ORIGINAL, Home, quick, worker_pids
from tests.e2e.test_foreground import CTRL_C, CTRL_Z, falls_asleep, in_a_terminal
from tests.e2e.test_keeper import (
    BUSY,
    DEAF_FOR_A_SECOND,
    PROMPTLY,
    another_worker,
    let_go,
    under_load,
)
from tests.kit.process import pointed_at, write_config
from tests.kit.rounds import SWEEPING
from tests.kit.spoilt import spoilt

pytestmark = [pytest.mark.slow, pytest.mark.sweep]

only_in_a_sweep = pytest.mark.skipif(
    not SWEEPING, reason="the parts have quicker tests of their own; TEST_SWEEP=1"
)

RUN = ("-m", "supervisor", "run")
LOOKS = 2.2
"""Seconds in which the guard has looked at the settings twice."""


@pytest.fixture
def person(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def brief(upstream: Upstream, config: Path) -> Path:
    return write_config(config, quick(upstream.url))


async def test_a_stop_sets_the_direct_url_first_and_serves_until_it_is_removed(
    upstream: Upstream, config: Path, person: Home
) -> None:
    write_config(config, pointed_at(upstream.url, "[client]\nrelease_after = 1.2\n"))
    async with person.program(config) as process:
        await process.listens()
        person.edit()
        asked = time.monotonic()
        process.signal(signal.SIGTERM)
        direct = await person.points_at(upstream.url)
        assert direct - asked < PROMPTLY + BUSY
        await trio.sleep(0.5)
        assert (await process.ask("GET", "/health/live")).status == 200, "who did not notice yet"
        removed = await person.points_at(None)
        assert 1.1 < removed - direct < 1.2 + BUSY
        assert await process.ends() == 0
    await person.is_as_it_was(EDITED)


@pytest.mark.promise("S5")
@pytest.mark.parametrize("worker", ["that drains", "that is stopped"])
async def test_a_second_ctrl_c_puts_everything_back_at_once(
    upstream: Upstream, config: Path, person: Home, worker: str
) -> None:
    upstream.default(held_stream())
    write_config(config, pointed_at(upstream.url, "[client]\nrelease_after = 20\n"))
    async with person.program(config) as process:
        await process.listens()
        async with await Stream.begun(process.url):
            if worker == "that is stopped":
                os.kill(worker_pids(process.process.pid)[0], signal.SIGSTOP)
            process.signal(signal.SIGINT)
            await trio.sleep(0.2)
            asked = process.signal(signal.SIGINT)
            assert await process.ends() == 0
            assert trio.current_time() - asked < 1 + BUSY
    await person.is_as_it_was(ORIGINAL)


@pytest.mark.promise("S5")
async def test_a_hang_up_without_a_terminal_reloads_and_changes_no_settings(
    brief: Path, person: Home
) -> None:
    async with person.program(brief) as process:
        await process.listens()
        before = person.file.read_bytes()
        process.signal(signal.SIGHUP)
        await process.says("configuration")
        assert person.file.read_bytes() == before
        process.signal(signal.SIGINT)
        assert await process.ends() == 0
    await person.is_as_it_was(ORIGINAL)


async def test_a_terminal_that_is_closed_leaves_the_file_as_it_was(
    brief: Path, person: Home
) -> None:
    async with in_a_terminal(brief, person.state, person.environment, RUN) as terminal:
        assert person.url == terminal.process.url
        person.edit()
        terminal.close()
        await person.is_as_it_was(EDITED)
        await let_go(person.state)


async def test_ctrl_z_puts_the_client_back_and_fg_points_it_again(
    upstream: Upstream, brief: Path, person: Home
) -> None:
    async with in_a_terminal(brief, person.state, person.environment, RUN) as terminal:
        process = terminal.process
        for _ in range(2):
            assert person.url == process.url
            terminal.press(CTRL_Z)
            await process.says("job stopped")
            await falls_asleep(terminal.pid)
            assert person.url == upstream.url, "before it fell asleep"
            terminal.bring_back()
            await person.points_at(process.url)
        person.edit()
        await trio.sleep(LOOKS)
        assert person.url == process.url
        assert (await process.status())["client"]["state"] == "pointed"
        terminal.press(CTRL_C)
        assert await process.ends() == 0
    await person.is_as_it_was(EDITED)


async def test_who_went_elsewhere_is_not_brought_back_by_ctrl_z_and_fg(
    brief: Path, person: Home
) -> None:
    async with in_a_terminal(brief, person.state, person.environment, RUN) as terminal:
        process = terminal.process
        person.file.write_bytes(ORIGINAL)
        await process.says("was removed by somebody else")
        terminal.press(CTRL_Z)
        await process.says("job stopped")
        await falls_asleep(terminal.pid)
        terminal.bring_back()
        await trio.sleep(LOOKS)
        assert person.file.read_bytes() == ORIGINAL
        terminal.press(CTRL_C)
        assert await process.ends() == 0
    await person.is_as_it_was(ORIGINAL)


@only_in_a_sweep
async def test_a_stuck_worker_is_replaced_and_the_client_points_at_the_new_one(
    brief: Path, person: Home
) -> None:
    async with person.program(brief, command=spoilt("", keeper=DEAF_FOR_A_SECOND)) as process:
        await process.listens()
        person.edit()
        [worker] = worker_pids(process.process.pid)
        os.kill(worker, signal.SIGSTOP)
        await process.says("is stuck")
        await another_worker(person.state, worker)
        await process.says(r"points here \(", count=2)
        assert person.url == process.url
        process.signal(signal.SIGTERM)
        assert await process.ends() == 0
    await person.is_as_it_was(EDITED)


async def test_who_is_replaced_in_time_stays_pointed_at_and_refuses_nobody(
    upstream: Upstream, config: Path, person: Home
) -> None:
    write_config(config, pointed_at(upstream.url, "[client]\nrelease_after = 0.2\n"))
    async with person.program(config) as process:
        await process.listens()
        person.edit()
        pointed = person.file.read_bytes()
        [worker] = worker_pids(process.process.pid)
        async with under_load(process.url, 20) as load:
            os.kill(worker, signal.SIGKILL)
            await another_worker(person.state, worker)
            before = load.outcomes["answered"]
            while load.outcomes["answered"] < before + 20:  # noqa: ASYNC110 - of another process
                assert person.file.read_bytes() == pointed
                await trio.sleep(0.005)
        assert load.outcomes["refused"] == 0
        process.signal(signal.SIGTERM)
        assert await process.ends() == 0
    await person.is_as_it_was(EDITED)


SLOW_SECONDS = 1.6
SLOW_TO_SAY_SO = f"""
import time
from supervisor.keeper_line import KeeperLine
tell = KeeperLine.tell
def slowly(self, word):
    if word.startswith("ready") and self.letter.life == 2:
        time.sleep({SLOW_SECONDS})
    tell(self, word)
KeeperLine.tell = slowly
"""
"""A worker that has pointed the client when the keeper's patience ends."""


@only_in_a_sweep
async def test_what_the_keeper_put_back_is_not_taken_for_a_strangers_decision_but_his_is(
    upstream: Upstream, config: Path, person: Home
) -> None:
    client = "[client]\nrelease_after = 5\nrestore_after = 1.2\n"
    write_config(config, pointed_at(upstream.url, client))
    async with person.program(config, command=spoilt(SLOW_TO_SAY_SO)) as process:
        await process.listens()
        os.kill(worker_pids(process.process.pid)[0], signal.SIGKILL)
        await process.says("no worker has served")
        await person.points_at(upstream.url)
        await person.points_at(process.url)
        await trio.sleep(SLOW_SECONDS + 2 * LOOKS)  # the keeper has heard, and the guard his order
        assert person.url == process.url
        assert (await process.status())["client"]["state"] == "pointed"
        theirs = ORIGINAL.replace(
            b'"bar"', b'"bar", "ANTHROPIC_BASE_URL": "https://theirs.example"'
        )
        person.file.write_bytes(theirs)
        await process.says("was changed by somebody else")
        process.signal(signal.SIGTERM)
        assert await process.ends() == 0
    await person.is_as_it_was(theirs)
