"""The program without a process: its drain, its hard stop, its capacity."""

from __future__ import annotations

import logging

import pytest
import trio
from trio.testing import MockClock as Clock

from protocol.status import CrashReport
from server.scripted import ScriptedUpstream
from supervisor import program as program_module
from supervisor.crash import crash_report
from tests.e2e.conversation import held_stream, question
from tests.kit.http_client import MemoryClient, Received
from tests.kit.live import accounts
from tests.kit.program import RunningProgram, program_in_memory

DRAIN = 20
CONFIG = f"[server]\ndrain_seconds = {DRAIN}\n{accounts('a')}\n"


async def begun(program: RunningProgram) -> tuple[MemoryClient, Received]:
    """A stream under way."""
    client = MemoryClient(await program.connect())
    await client.send("POST", "/v1/messages", question(stream=True))
    return client, await client.receive_head()


async def ended(client: MemoryClient, received: Received) -> bool:
    while await client.receive_more(received):
        pass
    return received.complete


async def test_the_drain_ends_when_the_last_stream_has_ended(autojump_clock: Clock) -> None:
    upstream = ScriptedUpstream(held_stream())
    async with program_in_memory(CONFIG, upstream) as program:
        client, received = await begun(program)
        program.program.stop()
        assert program.program.stopping
        await trio.sleep(DRAIN - 1)
        assert not program.program.engine.stopped.is_set()
        upstream.gate("end").open()
        assert await ended(client, received)
        with trio.fail_after(0.5):
            await program.program.engine.stopped.wait()


async def test_what_is_left_after_the_drain_is_cut(autojump_clock: Clock) -> None:
    async with program_in_memory(CONFIG, ScriptedUpstream(held_stream())) as program:
        client, received = await begun(program)
        began = trio.current_time()
        program.program.stop()
        assert not await ended(client, received)
        assert trio.current_time() - began == pytest.approx(DRAIN, abs=0.5)
        with trio.fail_after(0.5):
            await program.program.engine.stopped.wait()


async def test_the_time_to_drain_is_the_one_in_force_not_the_one_of_the_start(
    autojump_clock: Clock,
) -> None:
    async with program_in_memory(CONFIG, ScriptedUpstream(held_stream())) as program:
        upstream = f'\n[upstream]\nbase_url = "{program.parts.config.upstream.base_url}"\n'
        program.change(CONFIG.replace(f"= {DRAIN}", "= 100") + upstream)
        await program.parts.apply(program.parts.read())
        client, received = await begun(program)
        began = trio.current_time()
        program.program.stop()
        assert not await ended(client, received)
        assert trio.current_time() - began == pytest.approx(100, abs=0.5)


async def test_a_hard_stop_cuts_everything_at_once(autojump_clock: Clock) -> None:
    async with program_in_memory(CONFIG, ScriptedUpstream(held_stream())) as program:
        client, received = await begun(program)
        program.program.stop()
        with trio.fail_after(0.5):
            await program.program.stop_at_once()
            assert not await ended(client, received)
            await program.program.engine.stopped.wait()


async def test_while_it_drains_a_new_request_is_told_to_come_back(autojump_clock: Clock) -> None:
    upstream = ScriptedUpstream(held_stream())
    async with program_in_memory(CONFIG, upstream) as program:
        client, received = await begun(program)
        program.program.stop()
        await trio.sleep(0.1)
        late = MemoryClient(await program.connect())
        answered = await late.post("/v1/messages", question(stream=False))
        assert answered.status == 503
        assert int(answered.header("retry-after") or 0) >= 1
        assert answered.header("connection") == "close"
        assert upstream.requests_total == 1
        upstream.gate("end").open()
        assert await ended(client, received)


async def test_no_more_connections_are_let_in_than_the_machine_has_room_for(
    autojump_clock: Clock,
) -> None:
    async with program_in_memory(CONFIG, ScriptedUpstream(held_stream())) as program:
        program.parts.connections_limit = 2
        streams = [await begun(program) for _ in range(2)]
        assert [received.status for _, received in streams] == [200, 200]
        third = MemoryClient(await program.connect())
        assert (await third.receive_head()).status == 503


def test_a_crash_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    report: CrashReport = crash_report("journal", 3, ValueError("no\ngood"), at=0.0, where="x.py:1")
    with caplog.at_level(logging.ERROR):
        program_module.log_crash(report)
    assert [record.getMessage() for record in caplog.records] == [
        "actor journal crashed: ValueError: no good (x.py:1)"
    ]
