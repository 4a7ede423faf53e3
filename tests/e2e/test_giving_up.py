"""What no restart cures, and what no cancellation ends: the process ends all the same."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import trio

from supervisor import instance
from tests.e2e.conftest import Upstream
from tests.e2e.conversation import Stream, held_stream
from tests.kit.live import accounts
from tests.kit.process import Supervised, listening, pointed_at, write_config
from tests.kit.spoilt import spoilt

SABOTAGED = """
import sys, time, trio
from pathlib import Path
from actors.account import AccountActor
from actors.front_end import FrontEndActor
from actors.loop_lag import LoopLagActor

trigger = Path(sys.argv.pop(1))
whom = sys.argv.pop(1)
classes = {"loop-lag": LoopLagActor, "front-end": FrontEndActor}

async def crash_on_trigger(self, context, run):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, self, context)
        while not trigger.exists() and not context.stopping.is_set():
            await trio.sleep(0.01)
        if trigger.exists():
            raise RuntimeError("sabotage")
        nursery.cancel_scope.cancel()

async def never_end(self, context, run):
    context.ready()
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()

def sabotage(actor, how):
    run = actor.run
    actor.run = lambda self, context: how(self, context, run)

if whom in classes:
    sabotage(classes[whom], crash_on_trigger)
if whom in ("shielded", "loop-lag"):
    from supervisor import tree
    spec = tree.ChildSpec
    tree.ChildSpec = lambda *given, **named: spec(*given, **{
        **named, "shutdown_timeout": min(named.get("shutdown_timeout", 5.0), 0.5)
    })
    sabotage(AccountActor if whom == "loop-lag" else LoopLagActor, never_end)
"""
"""A worker with one actor spoilt: `argv` begins with the file that sets it off, and whom. An actor
that shields itself has half a second to stop instead of five."""

SUPERVISION = "[supervision]\nintensity = 2\nbackoff = 0.01\nmaximum_backoff = 0.02\n"
CRASHES = 12
"""Three starts of the actor in each of the four lives of its group."""


def sabotaged(whom: str, trigger: Path) -> dict[str, Any]:
    return {"command": spoilt(SABOTAGED, str(trigger), whom)}


@pytest.mark.promise("A3")
async def test_a_crash_loop_ends_in_70_after_the_streams_have_ended(
    upstream: Upstream, config: Path, state: Path, tmp_path: Path
) -> None:
    """The acceptor loops, the one actor that has to do with the door: even so the drain is kept."""
    upstream.default(held_stream())
    trigger = tmp_path / "trigger"
    write_config(config, pointed_at(upstream.url, SUPERVISION + accounts("a"), drain=30))
    async with listening(config, state=state, **sabotaged("front-end", trigger)) as process:
        async with await Stream.begun(process.url) as stream:
            trigger.touch()
            await process.says("connections open: 1")
            assert process.process.returncode is None
            upstream.gate("end").open()
            assert await stream.ended_well()
        assert await process.ends() == 70
        assert not (state / instance.INSTANCE_FILE).exists()
        lines = process.stderr.splitlines()
        crashes = [line for line in lines if "actor front-end crashed" in line]
        assert len(crashes) == CRASHES
        assert len(lines) <= 2 * CRASHES
        assert [line for line in lines if "CRITICAL" in line and "front-end kept crashing" in line]
        assert "Traceback" not in process.stderr


@pytest.mark.promise("A4")
async def test_an_actor_that_shields_itself_for_ever_cannot_keep_the_process(
    upstream: Upstream, config: Path, tmp_path: Path
) -> None:
    trigger = tmp_path / "trigger"
    write_config(config, pointed_at(upstream.url, SUPERVISION + accounts("a"), drain=0.1))

    async def stops(process: Supervised, signals: int, code: int, seconds: float) -> None:
        began = trio.current_time()
        for number in range(signals):
            process.signal(signal.SIGTERM)
            await process.says("stopping", count=number + 1)
        assert await process.ends() == code, process.stderr
        spent = trio.current_time() - began
        assert spent < seconds
        assert "the process ends without it" in process.stderr, "it was in nobody's way"

    async with (
        listening(config, state=tmp_path / "1", **sabotaged("shielded", trigger)) as patient,
        listening(config, state=tmp_path / "2", **sabotaged("shielded", trigger)) as hasty,
        listening(config, state=tmp_path / "3", **sabotaged("loop-lag", trigger)) as looping,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(stops, patient, 1, 0, 6.0)  # its half second, and the guard's
        nursery.start_soon(stops, hasty, 2, 0, 2.5)
        trigger.touch()
        nursery.start_soon(stops, looping, 0, 70, 20.0)


@pytest.mark.promise("A4", control=True)
async def test_without_the_sabotage_the_same_process_ends_by_itself(
    upstream: Upstream, config: Path, state: Path, tmp_path: Path
) -> None:
    write_config(config, pointed_at(upstream.url, accounts("a"), drain=0.1))
    spoilt = sabotaged("nobody", tmp_path / "trigger")
    async with listening(config, state=state, **spoilt) as process:
        process.signal(signal.SIGTERM)
        assert await process.ends() == 0
        assert "the process ends without it" not in process.stderr


async def test_a_signal_while_the_acceptor_is_down_drains_all_the_same(
    upstream: Upstream, config: Path, state: Path, tmp_path: Path
) -> None:
    upstream.default(held_stream())
    trigger = tmp_path / "trigger"
    more = f"[supervision]\nbackoff = 5\nmaximum_backoff = 5\n{accounts('a')}"
    write_config(config, pointed_at(upstream.url, more, drain=30))
    async with listening(config, state=state, **sabotaged("front-end", trigger)) as process:
        async with await Stream.begun(process.url) as stream:
            trigger.touch()
            await process.says("actor front-end crashed")
            process.signal(signal.SIGTERM)
            await process.says("connections open: 1")
            upstream.gate("end").open()
            assert await stream.ended_well()
        assert await process.ends() == 0
