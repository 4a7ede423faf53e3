"""The end of a process: signals, the drain, and what cannot hold it up."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest
import trio

from server.scripted import Answer, Send, Wait
from supervisor import instance
from tests.e2e.conftest import Upstream
from tests.e2e.conversation import Stream, ask, held_stream, question
from tests.kit.live import accounts
from tests.kit.process import JSON, Supervised, listening, pointed_at, started, write_config
from tests.kit.wire import Wire

AT_ONCE = 1.5
"""Seconds that count as "at once" on a busy machine, an interpreter's end included."""


def endless() -> Answer:
    """Upstream sends much more than anybody's buffers hold, and then goes on."""
    piece = Send(b"event: ping\ndata: " + b"x" * 65536 + b"\n\n")
    headers = (("content-type", "text/event-stream"),)
    return Answer(headers=headers, parts=(*[piece] * 400, Wait("never")))


@pytest.mark.promise("S5")
@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "POST /status/drain", "supervisor stop"])
async def test_running_streams_end_and_nobody_new_is_let_in(
    how: str, upstream: Upstream, config: Path, state: Path
) -> None:
    write_config(config, pointed_at(upstream.url, accounts("work"), drain=30))
    upstream.default(held_stream())
    async with listening(config, state=state) as process, trio.open_nursery() as nursery:
        async with (
            await Stream.begun(process.url) as stream,
            await Wire.to(process.url) as idle,
            await Wire.to(process.url) as silent,
        ):
            assert (await idle.ask("GET", "/health/live")).status == 200
            if how.startswith("SIG"):
                process.signal(signal.Signals[how])
            elif how.startswith("POST"):
                assert (await process.ask("POST", "/status/drain", JSON, b"")).status == 202
            else:
                nursery.start_soon(stop_by_command, state)
            with trio.fail_after(5):  # the drain has 30
                assert await idle.ended() == b""
                assert await silent.ended() == b""
            await refused(process.port)
            assert process.process.returncode is None
            upstream.gate("end").open()
            assert await stream.ended_well()
        assert await process.ends() == 0, process.stderr
        assert not (state / instance.INSTANCE_FILE).exists()
        assert not instance.held(state)
        assert "Traceback" not in process.stderr


async def stop_by_command(state: Path) -> None:
    async with started(command=("-m", "supervisor", "stop"), state=state) as stop:
        assert await stop.ends() == 0, stop.stderr
        assert "stopped" in stop.stdout


async def refused(port: int) -> None:
    """Nobody listens there any more, or soon."""
    with trio.fail_after(5):
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                return
            await stream.aclose()
            await trio.sleep(0.01)


async def test_a_request_on_a_kept_connection_during_the_drain_is_served_or_told_to_come_back(
    upstream: Upstream, config: Path, state: Path
) -> None:
    """A client whose request crosses our close sees a closed connection, never half an answer."""
    write_config(config, pointed_at(upstream.url, accounts("work"), drain=30))
    upstream.default(held_stream())
    async with listening(config, state=state) as process:
        async with await Stream.begun(process.url) as stream:
            process.signal(signal.SIGTERM)
            await refused(process.port)
            upstream.gate("end").open()
            await stream.wire.send("POST", "/v1/messages", list(JSON), question(stream=False))
            assert await stream.ended_well()
            after = await stream.wire.ended()
            assert after == b"" or after.startswith(b"HTTP/1.1 503 "), after[:200]
        assert await process.ends() == 0


@pytest.mark.promise("S5")
async def test_a_client_that_reads_nothing_does_not_hold_the_drain(
    upstream: Upstream, config: Path, state: Path
) -> None:
    write_config(config, pointed_at(upstream.url, accounts("work"), drain=1))
    upstream.default(endless())
    async with listening(config, state=state) as process:
        wires = [await Wire.to(process.url) for _ in range(3)]
        for wire in wires:
            wire.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await wire.send("POST", "/v1/messages", list(JSON), question(stream=True))
            await wire.answer_head()
        began = process.signal(signal.SIGTERM)
        assert await process.ends() == 0, process.stderr
        spent = trio.current_time() - began
        assert 0.9 < spent < 3, "the drain has one second"
        for wire in wires:
            await trio.aclose_forcefully(wire.stream)


@pytest.mark.promise("S5")
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_stops_at_once(
    second: signal.Signals, upstream: Upstream, config: Path, state: Path
) -> None:
    write_config(config, pointed_at(upstream.url, accounts("work"), drain=30))
    upstream.default(held_stream())
    async with listening(config, state=state) as process:
        async with await Stream.begun(process.url) as stream, await Stream.begun(process.url):
            process.signal(signal.SIGTERM)
            await process.says("connections open: 2")
            began = process.signal(second)
            rest = await stream.wire.ended()
            assert b"message_stop" not in rest
            assert not rest.endswith(b"\r\n0\r\n\r\n"), "a cut stream must not look complete"
            assert await process.ends() == 0, "stopped as asked, however hard"
            assert trio.current_time() - began < AT_ONCE
        assert "Traceback" not in process.stderr


async def test_a_reload_that_takes_long_does_not_delay_a_stop_nor_a_stop_a_reload(
    config: Path, state: Path
) -> None:
    """Many signals of all kinds: the last word is the stop."""
    write_config(config, pointed_at("http://127.0.0.1:9", accounts("work"), drain=1))
    async with listening(config, state=state) as process:
        for _ in range(20):
            process.signal(signal.SIGHUP)
        process.signal(signal.SIGTERM)
        process.signal(signal.SIGHUP)
        assert await process.ends() == 0, process.stderr
        assert "Traceback" not in process.stderr


@pytest.mark.promise("S5")
async def test_sigterm_at_any_moment_of_the_start_ends_it_and_leaves_nothing_held(
    config: Path, tmp_path: Path
) -> None:
    write_config(config, pointed_at("http://127.0.0.1:9", accounts("work"), drain=1))
    moments = [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6]
    codes: dict[float, int] = {}
    limit = trio.CapacityLimiter(2)

    async def stop_after(seconds: float) -> None:
        state = tmp_path / f"state-{seconds}"
        async with limit, started(config, state=state) as process:
            await trio.sleep(seconds)
            process.signal(signal.SIGTERM)
            codes[seconds] = await process.ends()
            assert "Traceback" not in process.stderr, process.stderr
            assert not instance.held(state)
            assert not (state / instance.INSTANCE_FILE).exists()

    async with trio.open_nursery() as nursery:
        for seconds in moments:
            nursery.start_soon(stop_after, seconds)
    assert set(codes.values()) <= {0, -signal.SIGTERM}, codes


@pytest.mark.promise("S5")
async def test_sighup_reloads_without_a_terminal_and_stops_with_one(
    upstream: Upstream, config: Path, tmp_path: Path
) -> None:
    write_config(config, pointed_at(upstream.url, accounts("work"), drain=30))
    upstream.default(held_stream())
    terminal, slave = os.openpty()
    try:
        async with (
            listening(config, state=tmp_path / "service") as service,
            listening(config, state=tmp_path / "shown", stdin=slave) as shown,
        ):
            async with await Stream.begun(shown.url) as stream:
                loaded = (await service.status())["config"]["loaded_at"]
                await trio.sleep(1.1)  # the time of loading is told in whole seconds
                service.signal(signal.SIGHUP)
                shown.signal(signal.SIGHUP)
                shown.signal(signal.SIGHUP)  # a closing terminal and its shell say it both
                await refused(shown.port)
                shown.signal(signal.SIGHUP)
                upstream.gate("end").open()
                assert await stream.ended_well()
            assert await shown.ends() == 0, shown.stderr
            with trio.fail_after(5):
                while (await service.status())["config"]["loaded_at"] == loaded:  # noqa: ASYNC110 - of another process
                    await trio.sleep(0.05)
            assert (await ask(service)).status == 200
    finally:
        os.close(terminal)
        os.close(slave)


async def test_a_refused_reload_by_signal_is_said_and_the_old_configuration_goes_on(
    upstream: Upstream, config: Path, state: Path
) -> None:
    write_config(config, pointed_at(upstream.url, accounts("work")))
    async with listening(config, state=state) as process:
        write_config(config, "[server]\nport = -1\n")
        process.signal(signal.SIGHUP)
        await process.says(r"configuration refused: .*server\.port")
        assert (await ask(process)).status == 200
        assert "server.port" in (await process.status())["config"]["error"]


async def test_a_new_start_may_follow_at_once_on_the_same_port(
    upstream: Upstream, config: Path, state: Path
) -> None:
    write_config(config, pointed_at(upstream.url, accounts("work")))
    port = 0
    for _ in range(2):
        async with listening(config, "--port", str(port), state=state) as process:
            port = process.port
            assert (await ask(process)).status == 200
            process.signal(signal.SIGTERM)
            assert await process.ends() == 0
    async with listening(config, "--port", str(port), state=state) as process:
        worker = (await process.status())["worker_pid"]
        process.signal(signal.SIGSTOP)  # so that it starts no other
        os.kill(worker, signal.SIGKILL)
        process.signal(signal.SIGKILL)
        assert await process.ends() == -signal.SIGKILL
        assert (state / instance.INSTANCE_FILE).exists(), "what killed processes leave"
    async with listening(config, "--port", str(port), state=state) as process:
        assert (await ask(process)).status == 200


async def test_stop_and_reload_say_69_when_nothing_runs(state: Path) -> None:
    for command in ("stop", "reload"):
        async with started(command=("-m", "supervisor", command), state=state) as process:
            assert await process.ends() == 69
            assert "supervisor run" in process.stderr


async def reload_by_command(state: Path) -> tuple[int, Supervised]:
    async with started(command=("-m", "supervisor", "reload"), state=state) as process:
        return await process.ends(), process


async def test_the_reload_command_tells_what_came_of_it(
    upstream: Upstream, config: Path, state: Path
) -> None:
    write_config(config, pointed_at(upstream.url, accounts("work")))
    async with listening(config, state=state):
        code, said = await reload_by_command(state)
        assert (code, said.stdout) == (0, "reloaded\n")
        write_config(config, pointed_at(upstream.url, accounts("work")).replace("= 0", "= 1", 1))
        for _ in range(2):  # it stays so until the restart
            code, said = await reload_by_command(state)
            assert code == 0
            assert "after a restart only: server.port" in said.stdout
        write_config(config, "nonsense")
        code, said = await reload_by_command(state)
        assert code == 78
        assert str(config) in said.stderr
