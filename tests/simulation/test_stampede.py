"""The whole program while its actors are killed one after the other, or one of them hangs."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import pytest
import trio

from server.scripted import ScriptedUpstream, text_message, text_stream
from tests.kit.crashes import Killable
from tests.kit.http_client import MemoryClient
from tests.kit.program import RunningProgram, program_in_memory, wrapped_actors
from tests.kit.promises import Measured

STREAMS = 100
KILLS = 100
ACTORS = (
    "dispatcher",
    "account/first",
    "account/second",
    "journal",
    "providers",
    "quota-store",
    "vault",
    "refresh",
    "probe",
    "config-watcher",
    "log-rotator",
    "loop-lag",
)
CONFIG = """
[[account]]
name = "first"
api_key = "key-first"
[[account]]
name = "second"
api_key = "key-second"
[routing]
strategy = "round-robin"
"""
ENDLESS = "[supervision]\nintensity = 1000\n"
"""So many kills would be a reason to give up; that is another promise (A3)."""

STREAM = text_stream("hello", events=24, pause=0.5)
PLAIN = text_message("hello")


@asynccontextmanager
async def killable(
    config: str, upstream: ScriptedUpstream
) -> AsyncGenerator[tuple[RunningProgram, Mapping[str, Killable]], None]:
    """A program, and its actors by name."""
    actors: dict[str, Killable] = {}

    def wrap(name: str) -> object:
        def wrapped(run: object) -> Killable:
            actors[name] = Killable(run)  # type: ignore[arg-type]
            return actors[name]

        return wrapped

    with wrapped_actors({name: wrap(name) for name in ACTORS}):  # type: ignore[misc]
        async with program_in_memory(config, upstream) as program:
            yield program, actors


async def ask(program: RunningProgram, body: object, **headers: str) -> tuple[int, bool, bytes]:
    client = MemoryClient(await program.connect())
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await client.post("/v1/messages", body, named)
    await client.leave()
    return answer.status, answer.complete, answer.body


@pytest.mark.promise("A7")
async def test_a_hundred_streams_outlive_the_death_of_an_actor_each_tenth_of_a_second(
    autojump_clock: object, measured: Measured
) -> None:
    """And whoever asks meanwhile is answered; a second later it is as if nothing had been."""
    upstream = ScriptedUpstream(STREAM)
    streams: list[tuple[int, bool, bytes]] = []
    beside: list[tuple[int, bool, bytes]] = []
    body = {"model": "m", "messages": []}

    async def stream(program: RunningProgram) -> None:
        streams.append(await ask(program, {**body, "stream": True}))

    async def short(program: RunningProgram) -> None:
        beside.append(await ask(program, body))

    async with killable(CONFIG + ENDLESS, upstream) as (program, actors):
        async with trio.open_nursery() as nursery:
            for _ in range(STREAMS):
                nursery.start_soon(stream, program)
            await upstream.wait_for_requests(STREAMS)
            upstream.default(PLAIN)
            for _, name in zip(range(KILLS), itertools.cycle(ACTORS), strict=False):
                actors[name].kill()
                nursery.start_soon(short, program)
                await trio.sleep(0.1)
        await trio.sleep(1)
        after = [await ask(program, body) for _ in range(20)]
        status = (await MemoryClient(await program.connect()).get("/status")).json()
    assert streams == [(200, True, STREAM.whole_body())] * STREAMS
    assert beside == [(200, True, PLAIN.whole_body())] * KILLS
    assert after == [(200, True, PLAIN.whole_body())] * 20
    assert isinstance(status, dict)
    assert status["in_flight"] == 0
    kills = sum(actor.kills for actor in actors.values())
    assert kills > KILLS / 2, "one that is in its back-off cannot be killed"
    measured("A7", "whole of 100 streams, while actors were killed", len(streams), rounds=kills)
    measured("A7", "answered of 100 requests between the kills", len(beside), rounds=kills)


@pytest.mark.promise("A6")
async def test_a_hanging_account_slows_down_nobody_on_another_one(
    autojump_clock: object, measured: Measured
) -> None:
    """For the whole time until it is restarted. Seconds are virtual: what is measured is waiting."""
    upstream = ScriptedUpstream(text_stream("hello", events=3, pause=0.05))
    body = {"model": "m", "stream": True, "messages": []}

    async def took(program: RunningProgram) -> float:
        began = trio.current_time()
        assert (await ask(program, body, x_account_name="second"))[:2] == (200, True)
        return trio.current_time() - began

    async with killable(CONFIG, upstream) as (program, actors):
        before = [await took(program) for _ in range(50)]
        actors["account/first"].stuck = True
        with trio.move_on_after(5):
            await ask(program, body, x_account_name="first")  # the message that it hangs over
        meanwhile = [await took(program) for _ in range(50)]
        status = (await MemoryClient(await program.connect()).get("/status")).json()
        assert isinstance(status, dict)
        (hanging,) = (one for one in status["actors"] if one["name"] == "account/first")
        assert (hanging["restarts"], hanging["oldest_message_age"] > 10) == (0, True)
        await trio.sleep(30)
        status = (await MemoryClient(await program.connect()).get("/status")).json()
        assert isinstance(status, dict)
        (hanging,) = (one for one in status["actors"] if one["name"] == "account/first")
        assert (hanging["restarts"], hanging["state"]) == (1, "running")
    ratio = max(meanwhile) / max(before)
    assert ratio < 1.1
    measured("A6", "slowest of others while one account hangs, against before", ratio, rounds=50)
