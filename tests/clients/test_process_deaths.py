"""The real Claude Code, interactive, while the program's processes die: its session goes on.

The program relays to the upstream "here"; the direct URL is the upstream "there", so who was asked
says which way a turn took. `docs/claude-code-facts.md` has what was seen.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeAlias

import pytest
import trio

from server.scripted import Gate, ScriptedUpstream, Wait, text_stream
from supervisor import instance
from tests.clients.claude_code import ClaudeCode
from tests.clients.sessions import NOTICED, Session, answering, ask, held, only_in_a_sweep
from tests.kit.process import Supervised, listening, write_config
from tests.kit.spoilt import spoilt

pytestmark = [pytest.mark.client, pytest.mark.slow, pytest.mark.timeout(300)]

ORIGINAL = b'{"model":"opus" ,\n\n "env": { "MINE":"1"}}'
RELEASE = 5.0
"""The default of `client.release_after`."""
RUN = ("-m", "supervisor", "run")


class Kept:
    """A session, and the program that it talks through."""

    def __init__(self, running: Session, process: Supervised, state: Path, config: Path) -> None:
        self.running = running
        self.process = process
        self.state = state
        self.config = config
        self.environment = {"CLAUDE_CONFIG_DIR": str(running.client.config_dir)}

    @property
    def worker(self) -> int:
        found = instance.read(self.state)
        assert found is not None
        return found.worker_pid

    def kill_worker(self) -> None:
        os.kill(self.worker, signal.SIGKILL)

    def kill_keeper(self) -> None:
        self.process.signal(signal.SIGKILL)

    def kill_both(self) -> None:
        self.process.signal(signal.SIGSTOP)
        self.kill_worker()
        self.kill_keeper()

    async def turn(self) -> str:
        """One turn; who answered it."""
        began = time.monotonic()
        name = await self.running.turn()
        print(f"  a turn went {name}, {time.monotonic() - began:.1f} s")  # noqa: T201
        return name

    async def turn_that_is_cut(self, kill: Callable[[], None]) -> str:
        """Kills while an answer is streaming; who answered in the end."""
        cut = held(text_stream("This is cut off"), 3, Wait(Gate()))
        self.running.upstreams["here"].default(cut, then=answering("here"))
        before = await ask(self.running, "w777")
        kill()
        began = time.monotonic()
        with trio.fail_after(100):
            while len(self.running.asked()) < before + 2:  # noqa: ASYNC110 - either may be asked
                await trio.sleep(0.02)
        name = self.running.asked()[before + 1][1]
        number = self.running.upstreams[name].requests[-1].number
        await self.running.terminal.wait_for(f"answer {number} of {name}")
        print(f"  the cut turn was asked again {name}, {time.monotonic() - began:.1f} s")  # noqa: T201
        return name

    async def command(self, *arguments: str) -> None:
        """Another `supervisor ...`."""
        environment = {**os.environ, **self.environment, "SUPERVISOR_STATE_DIR": str(self.state)}
        await trio.run_process([sys.executable, "-m", "supervisor", *arguments], env=environment)

    async def put_back(self) -> None:
        """Waits until the file is what it was."""
        with trio.fail_after(3 * RELEASE):
            while self.running.file.read_bytes() != ORIGINAL:  # noqa: ASYNC110 - of another process
                await trio.sleep(0.02)


Keep: TypeAlias = Callable[..., contextlib.AbstractAsyncContextManager[Kept]]


@pytest.fixture
def kept(claude_code_binary: Path, tmp_path: Path) -> Keep:
    """`async with kept() as it`: the client was started after the program."""

    @contextlib.asynccontextmanager
    async def keep(command: tuple[str, ...] = RUN) -> AsyncIterator[Kept]:
        upstreams = {name: ScriptedUpstream(answering(name)) for name in ("here", "there")}
        client = ClaudeCode(claude_code_binary, None, tmp_path / "home")
        running = Session(client, upstreams)
        running.file.write_bytes(ORIGINAL)
        state, config = tmp_path / "state", tmp_path / "config.toml"
        async with trio.open_nursery() as nursery:
            for name, upstream in upstreams.items():
                running.urls[name] = await nursery.start(upstream.serve_tcp)
            write_config(config, configuration(running))
            environment = {"CLAUDE_CONFIG_DIR": str(client.config_dir)}
            async with (
                listening(config, state=state, command=command, environment=environment) as process,
                client.interactive() as running.terminal,
            ):
                yield Kept(running, process, state, config)
            nursery.cancel_scope.cancel()

    return keep


def configuration(running: Session, port: int = 0) -> str:
    """In front of "here", with "there" as the way without us."""
    here, there = (running.urls[name] for name in ("here", "there"))
    return (
        f'[server]\nport = {port}\ndrain_seconds = 1\n[upstream]\nbase_url = "{here}"\n'
        f'[client]\ndirect_url = "{there}"\nrelease_after = {RELEASE}\n'
    )


@pytest.mark.promise("S4")
async def test_a_session_goes_on_while_a_worker_is_replaced_and_after_a_clean_stop(
    kept: Keep,
) -> None:
    async with kept() as it:
        assert await it.turn() == "here"
        it.kill_worker()
        assert await it.turn() == "here", "it waited for the next worker"
        it.process.signal(signal.SIGTERM)
        await trio.sleep(NOTICED)
        assert await it.turn() == "there"
        assert await it.process.ends() == 0
        await it.put_back()


@only_in_a_sweep
async def test_what_the_worker_was_answering_when_it_died_is_asked_again(kept: Keep) -> None:
    async with kept() as it:
        assert await it.turn() == "here"
        assert await it.turn_that_is_cut(it.kill_worker) == "here"
        assert await it.turn() == "here"


SLOW_AGAIN = """
import time
from supervisor import kept_life
run_kept = kept_life.run_kept
def slowly(line, environ):
    if line.letter.life == 2:
        time.sleep(12)
    return run_kept(line, environ)
kept_life.run_kept = slowly
"""


@only_in_a_sweep
async def test_where_the_next_worker_is_slow_a_session_goes_around_and_comes_back(
    kept: Keep,
) -> None:
    async with kept(spoilt(SLOW_AGAIN)) as it:
        assert await it.turn() == "here"
        it.kill_worker()
        await it.process.says("no worker has served for 3 s")
        await trio.sleep(NOTICED)
        assert await it.turn() == "there"
        await it.process.says(r"points here \(", count=2)
        await trio.sleep(NOTICED)
        assert await it.turn() == "here"


@pytest.mark.promise("S4")
@only_in_a_sweep
async def test_a_session_goes_on_at_the_direct_url_when_the_keeper_died(kept: Keep) -> None:
    async with kept() as it:
        assert await it.turn() == "here"
        worker = it.worker
        it.kill_keeper()
        assert await it.turn() in ("here", "there"), "the worker serves until it was noticed"
        await trio.sleep(NOTICED)
        assert await it.turn() == "there"
        await it.put_back()
        await trio.sleep(2)
        assert not Path(f"/proc/{worker}").exists()
        assert await it.turn() == "there"


@only_in_a_sweep
async def test_what_the_keepers_death_cuts_off_is_asked_again(kept: Keep) -> None:
    """The worker lets streams end for as long as a drain, here one second."""
    async with kept() as it:
        assert await it.turn() == "here"
        assert await it.turn_that_is_cut(it.kill_keeper) == "there"
        assert await it.turn() == "there"


@only_in_a_sweep
async def test_with_both_dead_the_next_start_at_the_same_port_serves_the_waiting_turn(
    kept: Keep,
) -> None:
    async with kept() as it:
        assert await it.turn() == "here"
        it.kill_both()
        await it.process.ends()
        await it.running.terminal.type("go on w777")
        await it.running.terminal.press("enter")
        await it.running.terminal.wait_for("ECONNREFUSED")
        write_config(it.config, configuration(it.running, it.process.port))
        async with listening(it.config, state=it.state, environment=it.environment) as again:
            with trio.fail_after(30):
                assert (await it.running.asked_for("w777"))[0] == "here"
            await it.running.terminal.wait_for("of here")
            assert await it.turn() == "here"
            again.signal(signal.SIGTERM)
            assert await again.ends() == 0
        assert await it.turn() == "there"
        await it.put_back()


@pytest.mark.promise("S4")
@only_in_a_sweep
async def test_with_both_dead_a_repair_sends_the_next_turn_to_the_direct_url(kept: Keep) -> None:
    async with kept() as it:
        assert await it.turn() == "here"
        it.kill_both()
        await it.process.ends()
        await it.command("repair")
        await it.put_back()
        await trio.sleep(NOTICED)
        assert await it.turn() == "there"


@pytest.mark.promise("S4", control=True)
@only_in_a_sweep
async def test_with_both_dead_and_nothing_done_a_turn_finds_nobody(kept: Keep) -> None:
    """The control of all of these."""
    async with kept() as it:
        assert await it.turn() == "here"
        it.kill_both()
        await it.process.ends()
        await trio.sleep(NOTICED)
        await it.running.terminal.type("go on w777")
        await it.running.terminal.press("enter")
        await it.running.terminal.wait_for("ECONNREFUSED")
        assert len([name for _, name in it.running.asked() if name == "there"]) == 0
