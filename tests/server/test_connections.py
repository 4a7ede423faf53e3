"""How many connections may live, who makes room, and what a failing one does to the others."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme

from server.client_stream import ClientStream
from server.connections import HANDSHAKE_SECONDS, REFUSALS_MAX, Connections
from server.scripted import (
    Answer,
    ScriptedUpstream,
    Send,
    Stall,
    stall_before_head,
    stream_pair,
)
from tests.kit.live import Live
from tests.kit.program import program_in_memory
from tests.kit.raw_client import crashes, serving, until, wait_until_left_alone

CAP = "[server]\nmax_connections = 3\n"


async def stalled(live: Live, stack: contextlib.AsyncExitStack) -> None:
    """A connection that is busy for as long as it stays."""
    count = live.upstream.requests_total
    wire = await stack.enter_async_context(await live.connect())
    await wire.send("POST", "/v1/messages", body=b"{}")
    await live.upstream.wait_for_requests(count + 1)


async def test_past_the_cap_a_client_is_told_to_come_again(tmp_path: Path) -> None:
    async with serving(tmp_path, CAP) as live, contextlib.AsyncExitStack() as stack:
        live.upstream.default(stall_before_head())
        for _ in range(3):
            await stalled(live, stack)
        for _ in range(5):
            with trio.fail_after(10):
                refused = await live.ask("POST", "/v1/messages", body=b"{}")
            assert (refused.status, refused.header("retry-after")) == (503, "1")
            assert refused.header("connection") == "close"
            assert refused.json()["error"]["type"] == "overloaded_error"
        assert live.upstream.requests_total == 3


async def test_a_new_connection_takes_the_place_of_the_one_idle_for_longest(tmp_path: Path) -> None:
    async with serving(tmp_path, CAP) as live:
        wires = [await live.connect() for _ in range(3)]
        for number in (1, 2, 0):  # the first is the last to have been busy
            assert (await wires[number].ask("GET", "/health/live")).status == 200
        async with await live.connect() as fourth:
            assert (await fourth.ask("GET", "/health/live")).status == 200
            with trio.fail_after(10):
                assert await wires[1].ended() == b""
            for number in (0, 2):
                assert (await wires[number].ask("GET", "/health/live")).status == 200
            await until(lambda: len(live.program.program.connections) <= 3)
        for wire in wires:
            await wire.leave()


async def test_a_freed_place_is_taken_again(tmp_path: Path) -> None:
    async with serving(tmp_path, CAP) as live:
        live.upstream.default(stall_before_head())
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(3):
                await stalled(live, stack)
            assert (await live.ask("GET", "/health/live")).status == 503
        await wait_until_left_alone(live)
        assert (await live.ask("GET", "/health/live")).status == 200


async def test_a_client_that_stopped_reading_does_not_outlive_the_drain(tmp_path: Path) -> None:
    """With a real socket's zero window, which a write without a deadline would wait on for ever."""
    async with serving(tmp_path, "[server]\ndrain_seconds = 1\n") as live:
        live.upstream.default(Answer(parts=(Send(b"x" * 20_000_000), Stall())))
        async with await live.connect() as wire:
            await wire.send("POST", "/v1/messages", body=b"{}")
            await live.upstream.wait_for_requests(1)
            await trio.sleep(0.3)  # everybody's buffers fill
            program = live.program.program
            began = trio.current_time()
            program.stop()
            with trio.fail_after(20):
                await program.engine.stopped.wait()
            assert trio.current_time() - began >= 0.9
            await until(lambda: not len(program.connections))


class Lane:
    """Counts what it serves; each connection is busy or idle for as long as it stays."""

    def __init__(self, *, idle: bool) -> None:
        self._idle = idle
        self.living = 0
        self.most = 0

    def open(self, stream: ClientStream) -> Lane.Served:
        return Lane.Served(self, idle=self._idle)

    class Served:
        def __init__(self, lane: Lane, *, idle: bool) -> None:
            self._lane = lane
            self._expired = trio.Event()
            self.idle_since = 0.0 if idle else None

        def expire(self) -> None:
            self._expired.set()

        async def run(self) -> None:
            self._lane.living += 1
            self._lane.most = max(self._lane.most, self._lane.living)
            await self._expired.wait()
            await trio.sleep(0.5)  # closing takes its time
            self._lane.living -= 1


async def test_a_burst_never_exceeds_the_cap(autojump_clock: object) -> None:
    lane = Lane(idle=False)
    async with trio.open_nursery() as nursery:
        connections = Connections(nursery, lane.open, lambda: 10)
        clients = []
        for _ in range(REFUSALS_MAX + 100):
            ours, theirs = stream_pair()
            clients.append(ours)
            connections.admit(theirs)
        await trio.testing.wait_all_tasks_blocked()
        assert (lane.living, lane.most) == (10, 10)
        answers = [bytes(await client.receive_some(20)) for client in clients if client.is_readable]
        assert len(answers) == REFUSALS_MAX + 90
        assert all(answer.startswith(b"HTTP/1.1 503 ") for answer in answers)
        await trio.sleep(5)
        assert len(connections) == 10  # who was refused does not stay
        nursery.cancel_scope.cancel()


async def test_in_a_burst_each_newcomer_ends_another_idle_connection(
    autojump_clock: object,
) -> None:
    """One idle connection makes room for one, however long it takes to close."""
    lane = Lane(idle=True)
    async with trio.open_nursery() as nursery:
        connections = Connections(nursery, lane.open, lambda: 10)
        for _ in range(10):
            connections.admit(stream_pair()[1])
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(5):
            connections.admit(stream_pair()[1])
        await trio.testing.wait_all_tasks_blocked()
        assert lane.living == 15  # five of them are closing
        await trio.sleep(1)
        assert lane.living == 10
        nursery.cancel_scope.cancel()


async def test_a_connection_that_fails_ends_alone_and_is_logged_once(
    caplog: pytest.LogCaptureFixture, autojump_clock: object
) -> None:
    class Broken(Lane.Served):
        async def run(self) -> None:
            raise RuntimeError("injected")

    class Reset(Lane.Served):
        async def run(self) -> None:
            raise ConnectionResetError

    lane = Lane(idle=False)
    kinds = iter([Lane.Served, Broken, Reset])
    async with trio.open_nursery() as nursery:
        connections = Connections(nursery, lambda _: next(kinds)(lane, idle=False), lambda: 10)
        for _ in range(3):
            connections.admit(stream_pair()[1])
        await trio.testing.wait_all_tasks_blocked()
        assert len(connections) == 1
        assert len(crashes(caplog)) == 1
        nursery.cancel_scope.cancel()


async def test_in_a_drain_a_newcomer_is_refused(autojump_clock: object) -> None:
    lane = Lane(idle=False)
    async with trio.open_nursery() as nursery:
        connections = Connections(nursery, lane.open, lambda: 10)
        await connections.drain(1)
        ours, theirs = stream_pair()
        connections.admit(theirs)
        assert (await ours.receive_some(20)).startswith(b"HTTP/1.1 503 ")
        nursery.cancel_scope.cancel()


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    client = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    return server, client


async def test_over_tls_requests_are_served_and_a_silent_client_is_dropped(
    caplog: pytest.LogCaptureFixture, autojump_clock: object
) -> None:
    server, client = contexts()
    upstream = ScriptedUpstream()
    async with program_in_memory("", upstream) as program, trio.open_nursery() as nursery:
        lane = program.program._lane.open
        connections = Connections(nursery, lane, lambda: 10, lambda: server)
        silent, theirs = stream_pair()
        connections.admit(theirs)
        plain, theirs = stream_pair()
        connections.admit(theirs)
        await plain.send_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        ours, theirs = stream_pair()
        connections.admit(theirs)
        secure = trio.SSLStream(ours, client, server_hostname="localhost", https_compatible=True)
        await secure.send_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await secure.receive_some(65536)).startswith(b"HTTP/1.1 200 ")
        assert len(connections) == 2  # plain HTTP on a TLS port ended at once
        await trio.sleep(HANDSHAKE_SECONDS + 1)
        assert len(connections) == 1
        assert await silent.receive_some() == b""
        await connections.drain(5)
        assert len(connections) == 0
        nursery.cancel_scope.cancel()
    assert crashes(caplog) == []
