"""How long anything on a connection may take, in virtual time; and how a drain ends it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator

import pytest
import trio

from server.scripted import (
    Answer,
    Pause,
    ScriptedUpstream,
    Send,
    Stall,
    stall_before_head,
    stream_pair,
)
from tests.kit.http_client import MemoryClient
from tests.kit.lanes import lane  # noqa: F401 - a fixture
from tests.kit.program import RunningProgram, program_in_memory
from tests.kit.raw_client import until

pytestmark = pytest.mark.usefixtures("lane")

ACCOUNT = '[[account]]\nname = "work"\napi_key = "key-work"\n'
HEAD = b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\n"


def echo(seen: object) -> Answer:
    return Answer(body=seen.body)  # type: ignore[attr-defined]


@pytest.fixture
async def program() -> AsyncGenerator[RunningProgram, None]:
    """In memory, for virtual time (a test asks for the clock itself); answers what it is sent."""
    async with program_in_memory(ACCOUNT, ScriptedUpstream(default=echo)) as program:
        yield program


async def dribble(stream: trio.abc.Stream, data: bytes, pause: float) -> None:
    with contextlib.suppress(trio.BrokenResourceError):
        for byte in data:
            await stream.send_all(bytes([byte]))
            await trio.sleep(pause)


@pytest.mark.promise("C3")
@pytest.mark.parametrize("pause", [0.1, 1.0, 4.9])
async def test_a_head_has_five_seconds_however_it_dribbles(
    program: RunningProgram, autojump_clock: object, pause: float
) -> None:
    client = MemoryClient(await program.connect())
    await trio.sleep(100)  # an idle connection is no slow head
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dribble, client.stream, HEAD * 3, pause)
        received = await client.receive()
        assert await client.stream.receive_some(1) == b""
        assert 5 <= trio.current_time() - began <= 5.5
        nursery.cancel_scope.cancel()
    assert (received.status, received.header("connection")) == (408, "close")


@pytest.mark.promise("C3")
async def test_the_second_head_has_five_seconds_too(
    program: RunningProgram, autojump_clock: object
) -> None:
    """Half of it came with the first request, so its time runs from that one's end."""
    client = MemoryClient(await program.connect())
    await client.stream.send_all(HEAD + b"Content-Length: 2\r\n\r\n{}" + HEAD)
    began = trio.current_time()
    data = b""
    while piece := await client.stream.receive_some(65536):
        data += piece
    assert data.count(b"HTTP/1.1 ") == 2
    assert b"HTTP/1.1 408 " in data
    assert 5 <= trio.current_time() - began <= 5.5


@pytest.mark.parametrize("sent", [b"", b"\r\n"])
async def test_an_idle_connection_ends_after_five_minutes(
    program: RunningProgram, autojump_clock: object, sent: bytes
) -> None:
    """Silently, and line ends do not prolong it."""
    client = MemoryClient(await program.connect())
    await trio.sleep(200)
    assert (await client.get("/health/live")).status == 200
    began = trio.current_time()

    async def chatter() -> None:
        while sent:
            await trio.sleep(61)
            with contextlib.suppress(trio.BrokenResourceError):
                await client.stream.send_all(sent)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(chatter)
        assert await client.stream.receive_some(1) == b""
        nursery.cancel_scope.cancel()
    assert trio.current_time() - began == pytest.approx(300, abs=1)


@pytest.mark.promise("C3")
async def test_a_slow_body_is_refused_after_a_minute_of_silence(
    program: RunningProgram, autojump_clock: object
) -> None:
    client = MemoryClient(await program.connect())
    await client.stream.send_all(HEAD + b"Content-Length: 6\r\n\r\n")
    for byte in (b"a", b"b", b"c"):
        await trio.sleep(50)  # slow, but it comes
        await client.stream.send_all(byte)
    began = trio.current_time()
    received = await client.receive()
    assert (received.status, received.header("connection")) == (408, "close")
    assert 60 <= trio.current_time() - began <= 61
    assert program.parts.door.ports.budget.held == 0


async def test_a_slow_body_of_an_own_route_is_refused(
    program: RunningProgram, autojump_clock: object
) -> None:
    client = MemoryClient(await program.connect())
    head = HEAD.replace(b"/v1/messages", b"/status/reload")
    await client.stream.send_all(
        head + b"Content-Type: application/json\r\nContent-Length: 6\r\n\r\nabc"
    )
    began = trio.current_time()
    received = await client.receive()
    assert (received.status, json.loads(received.body)["type"]) == (408, "error")
    assert trio.current_time() - began <= 61


@pytest.mark.promise("C1")
async def test_a_client_that_stops_reading_is_cut_after_a_minute(autojump_clock: object) -> None:
    upstream = ScriptedUpstream(Answer(parts=(Send(b"x" * 1_000_000), Stall())))
    async with program_in_memory(ACCOUNT, upstream) as program:
        ours, theirs = stream_pair(16_384)
        program.program.connections.admit(theirs)
        client = MemoryClient(ours)
        began = trio.current_time()
        await client.send("POST", "/v1/messages", b"{}")
        await upstream.wait_for_requests(1)
        await upstream.wait_until_idle()
        assert 58 <= trio.current_time() - began <= 62
        await trio.sleep(5)
        assert len(program.program.connections) == 0
        assert upstream.requests[0].outcome == "left"
        assert program.parts.door.ports.budget.held == 0


@pytest.mark.promise("C1")
async def test_a_client_that_reads_slowly_is_not_cut(autojump_clock: object) -> None:
    """At a kilobyte a second a body of 200 kB takes minutes, and arrives."""
    upstream = ScriptedUpstream(Answer(body=b"x" * 200_000))
    async with program_in_memory(ACCOUNT, upstream) as program:
        ours, theirs = stream_pair(16_384)
        program.program.connections.admit(theirs)
        await MemoryClient(ours).send("POST", "/v1/messages", b"{}")
        size = 0
        while size < 200_000:
            size += len(await ours.receive_some(1000))
            await trio.sleep(1)
        assert trio.current_time() > 190


# ------------------------------------------------------------------------------------------ drain


async def test_a_drain_ends_idle_connections_at_once_and_lets_busy_ones_finish(
    autojump_clock: object,
) -> None:
    upstream = ScriptedUpstream(
        Answer(parts=(Send(b"begun, "), Pause(8), Send(b"ended"))),
    )
    async with program_in_memory(ACCOUNT, upstream) as program:
        idle = MemoryClient(await program.connect())
        assert (await idle.get("/health/live")).status == 200
        streaming = MemoryClient(await program.connect())
        await streaming.send("POST", "/v1/messages", b"{}")
        received = await streaming.receive_head()
        assert received.header("connection") is None
        program.program.stop()
        began = trio.current_time()
        assert await idle.stream.receive_some(1) == b""
        assert trio.current_time() - began < 0.1
        while await streaming.receive_more(received):
            pass
        assert (received.body, received.complete) == (b"begun, ended", True)
        assert await streaming.stream.receive_some(1) == b""
        assert trio.current_time() - began < 9


async def test_an_answer_that_begins_in_the_drain_says_that_the_connection_closes(
    autojump_clock: object,
) -> None:
    upstream = ScriptedUpstream(Answer(body=b"late").after(5))
    async with program_in_memory(ACCOUNT, upstream) as program:
        client = MemoryClient(await program.connect())
        await client.send("POST", "/v1/messages", b"{}")
        await upstream.wait_for_requests(1)
        program.program.stop()
        received = await client.receive()
        assert (received.status, received.body) == (200, b"late")
        assert received.header("connection") == "close"


async def test_a_request_that_begins_in_the_drain_is_told_to_come_again(
    autojump_clock: object,
) -> None:
    """Its head was under way when the drain began, so its connection was not idle."""
    upstream = ScriptedUpstream()
    async with program_in_memory(ACCOUNT, upstream) as program:
        client = MemoryClient(await program.connect())
        await client.stream.send_all(HEAD)
        await trio.sleep(1)
        program.program.stop()
        await trio.sleep(1)
        await client.stream.send_all(b"Content-Length: 2\r\n\r\n{}")
        received = await client.receive()
        assert (received.status, received.header("retry-after")) == (503, "1")
        assert received.header("connection") == "close"
    assert upstream.requests == []


@pytest.mark.parametrize("reads", [True, False])
async def test_a_drain_ends_at_its_deadline(autojump_clock: object, reads: bool) -> None:
    """Whether the client waits for more or has stopped reading."""
    config = f"[server]\ndrain_seconds = 7\n{ACCOUNT}"
    parts = (Stall(),) if reads else (Send(b"x" * 1_000_000), Stall())
    upstream = ScriptedUpstream(Answer(parts=parts))
    async with program_in_memory(config, upstream) as program:
        ours, theirs = stream_pair(16_384)
        program.program.connections.admit(theirs)
        await MemoryClient(ours).send("POST", "/v1/messages", b"{}")
        await upstream.wait_for_requests(1)
        await trio.sleep(1)
        program.program.stop()
        began = trio.current_time()
        await until(lambda: not len(program.program.connections))
        assert 7 <= trio.current_time() - began <= 7.5
        with trio.fail_after(1):
            await upstream.wait_until_idle()


async def test_a_client_that_stopped_reading_does_not_hold_a_cut(autojump_clock: object) -> None:
    """Forced close reaches a write that hypercorn shields."""
    upstream = ScriptedUpstream(stall_before_head())
    async with program_in_memory(ACCOUNT, upstream) as program:
        client = MemoryClient(await program.connect())
        await client.send("POST", "/v1/messages", b"{}")
        await upstream.wait_for_requests(1)
        began = trio.current_time()
        await program.program.connections.drain(0)
        with trio.fail_after(1):
            await upstream.wait_until_idle()
        assert trio.current_time() - began < 1
