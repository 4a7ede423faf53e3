"""The real program under what a service manager gives it: a notify socket, a listening socket."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import psutil
import pytest
import trio

from tests.kit.process import pointed_at, started, write_config
from tests.kit.rounds import rounds

NOBODY = "http://127.0.0.1:9"
ALONE = "[client]\nmanage = false"

LAUNCH = """
import os, sys
descriptor, count, *command = sys.argv[1:]
os.dup2(int(descriptor), 3)
os.environ["LISTEN_PID"], os.environ["LISTEN_FDS"] = str(os.getpid()), count
os.execv(command[0], command)
"""
"""What systemd does for a socket unit: the socket as descriptor 3, under the pid of the service."""


async def _heard(told: trio.socket.SocketType, wanted: str, seconds: float = 30) -> dict[str, str]:
    with trio.fail_after(seconds):
        while True:
            words = dict(
                line.split("=", 1) for line in (await told.recv(4096)).decode().splitlines()
            )
            if wanted in words:
                return words


async def test_systemd_hears_of_the_start_of_life_and_of_the_stop(tmp_path: Path) -> None:
    config = write_config(tmp_path / "config.toml", pointed_at(NOBODY, ALONE))
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        await told.bind(str(tmp_path / "notify"))
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1500000"}
        async with started(config, environment=environment, state=tmp_path / "state") as program:
            ready = await _heard(told, "READY")
            await program.listens()
            assert ready["MAINPID"] == str(program.process.pid)
            assert ready["STATUS"] == f"listening on {program.url}"
            for _ in range(3):
                await _heard(told, "WATCHDOG")
            for child in psutil.Process(program.process.pid).children(recursive=True):
                assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC"} & set(child.environ())
            program.signal(signal.SIGTERM)
            await _heard(told, "STOPPING")
            assert await program.ends() == 0


@pytest.mark.slow
async def test_a_worker_that_is_stuck_is_not_said_to_be_alive(tmp_path: Path) -> None:
    config = write_config(tmp_path / "config.toml", pointed_at(NOBODY, ALONE))
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        await told.bind(str(tmp_path / "notify"))
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "600000"}
        async with started(config, environment=environment, state=tmp_path / "state") as program:
            await _heard(told, "READY")
            await program.listens()
            worker = (await program.status())["worker_pid"]
            os.kill(worker, signal.SIGSTOP)
            with trio.move_on_after(20):
                while True:
                    with trio.move_on_after(2.5) as quiet:
                        await _heard(told, "WATCHDOG")
                    if quiet.cancelled_caught:
                        break
            assert quiet.cancelled_caught, "it went on saying that it works"
            os.kill(worker, signal.SIGCONT)
            await _heard(told, "WATCHDOG")


def _launched(listening: socket.socket, count: str = "1") -> list[str]:
    program = [sys.executable, "-m", "supervisor", "run"]
    return ["-c", LAUNCH, str(listening.fileno()), count, *program]


@pytest.mark.sweep
async def test_the_port_of_a_socket_unit_outlives_the_program(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        text = pointed_at(NOBODY, ALONE).replace("port = 0", f"port = {port}")
        config = write_config(tmp_path / "config.toml", text)
        for _life in range(rounds(quick=1, full=5)):
            # This one comes before the program does, and is served when it is there.
            early = await trio.open_tcp_stream("127.0.0.1", port)
            await early.send_all(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n")
            async with started(
                config, state=tmp_path / "state", command=_launched(listening),
                pass_fds=(listening.fileno(),),
            ) as program:  # fmt: skip
                await program.listens()
                assert program.port == port
                with trio.fail_after(10):
                    assert (await early.receive_some(64)).startswith(b"HTTP/1.1 200")
                await early.aclose()
                assert (await program.ask("GET", "/health/live")).status == 200
                program.signal(signal.SIGTERM)
                assert await program.ends() == 0


async def test_a_socket_that_is_not_what_the_configuration_says_ends_it_with_78(
    tmp_path: Path,
) -> None:
    config = write_config(tmp_path / "config.toml", "[server]\nport = 1\n")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with started(
            config, state=tmp_path / "state", command=_launched(listening),
            pass_fds=(listening.fileno(),),
        ) as program:  # fmt: skip
            assert await program.ends() == 78
            assert "the configuration says 127.0.0.1:1" in program.stderr
