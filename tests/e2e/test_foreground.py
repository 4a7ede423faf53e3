"""Keeper and worker in a terminal: they behave as one process."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from supervisor import instance
from tests.e2e.conftest import Upstream
from tests.e2e.conversation import Stream, held_stream
from tests.e2e.test_keeper import gone, let_go, until
from tests.kit.client_standin import history, pointed, with_client
from tests.kit.live import accounts
from tests.kit.process import Supervised, listening, pointed_at, write_config

CTRL_C, CTRL_Z, CTRL_BACKSLASH = b"\x03", b"\x1a", b"\x1c"

SHELL = """
import fcntl, os, signal, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
job = os.fork()
if job == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    for one in (signal.SIGTTOU, signal.SIGINT, signal.SIGQUIT):
        signal.signal(one, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
while True:
    _, status = os.waitpid(job, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        sys.exit(os.waitstatus_to_exitcode(status) % 256)
    print("job stopped", flush=True)
    os.read(int(os.environ["FOREGROUND"]), 1)
    os.tcsetpgrp(0, job)
    os.kill(job, signal.SIGCONT)
"""
"""A shell of one job: it has the terminal, and brings a stopped job back when told so. Like any shell
it undoes what was ignored where it was started: in the background that is Ctrl-C and Ctrl-\\."""


class Terminal:
    """A pseudo-terminal with the program in its foreground."""

    def __init__(self, process: Supervised, keys: int, foreground: int, pid: int) -> None:
        self.process = process
        self.pid = pid
        self._keys = keys
        self._foreground = foreground

    def press(self, key: bytes) -> None:
        os.write(self._keys, key)

    def bring_back(self) -> None:
        os.write(self._foreground, b"f")

    def close(self) -> None:
        """The window goes, and whatever runs in it is told so."""
        os.dup2(self._foreground, self._keys)


@contextlib.asynccontextmanager
async def in_a_terminal(
    config: Path,
    state: Path,
    environment: Mapping[str, str] | None = None,
    command: Sequence[str] | None = None,
) -> AsyncGenerator[Terminal]:
    """Without a `command`, the program with a stand-in for the client."""
    keys, attached = os.openpty()
    told, tell = os.pipe()
    settings = termios.tcgetattr(attached)
    settings[3] |= termios.ISIG
    termios.tcsetattr(attached, termios.TCSANOW, settings)
    options: dict[str, Any] = {
        "stdin": attached,
        "pass_fds": (told,),
        "command": ("-c", SHELL, *(command or with_client())),
        "environment": {"FOREGROUND": str(told), **(environment or {})},
    }
    try:
        async with listening(config, state=state, **options) as process:
            found = instance.read(state)
            assert found is not None
            yield Terminal(process, keys, tell, found.pid)
    finally:
        for descriptor in (keys, attached, told, tell):
            os.close(descriptor)


@pytest.fixture
def held(upstream: Upstream, config: Path) -> Path:
    upstream.default(held_stream())
    return write_config(config, pointed_at(upstream.url, accounts("work"), drain=20))


async def test_ctrl_c_drains_and_a_second_one_stops_at_once(held: Path, state: Path) -> None:
    async with in_a_terminal(held, state) as terminal:
        process = terminal.process
        async with await Stream.begun(process.url) as stream:
            pressed = time.monotonic()
            terminal.press(CTRL_C)
            assert await until(state, "restore") - pressed < 5
            await process.says(r"stopping \(SIGINT\)")
            await trio.sleep(0.3)
            assert process.process.returncode is None, "the terminal reached one of them only"
            pressed = time.monotonic()
            terminal.press(CTRL_C)
            assert b"message_stop" not in await stream.wire.ended()
            assert await process.ends() == 0
            assert time.monotonic() - pressed < 8
    assert process.stderr.count("stopping at once") == 1
    assert not instance.held(state)


async def test_ctrl_z_puts_the_client_back_and_its_end_points_it_again(
    held: Path, state: Path, upstream: Upstream
) -> None:
    async with in_a_terminal(held, state) as terminal:
        process = terminal.process
        found = instance.read(state)
        assert found is not None
        async with await Stream.begun(process.url) as stream:
            terminal.press(CTRL_Z)
            await process.says("job stopped")
            assert not pointed(state), "put back before it fell asleep"
            await falls_asleep(found.pid)
            await falls_asleep(found.worker_pid)
            upstream.gate("end").open()
            terminal.bring_back()
            assert await stream.ended_well(), "what was under way goes on"
        await again_pointed(state)
        assert (await process.ask("GET", "/health/live")).status == 200
        assert [change.what for change in history(state)][-3:] == ["point", "restore", "point"]
        terminal.press(CTRL_C)
        assert await process.ends() == 0
    assert not pointed(state)


async def test_a_keeper_killed_while_both_are_stopped_leaves_no_worker_asleep(
    held: Path, state: Path
) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux wakes a stopped process when its parent dies")
    async with in_a_terminal(held, state) as terminal:
        found = instance.read(state)
        assert found is not None
        terminal.press(CTRL_Z)
        await terminal.process.says("job stopped")
        os.kill(found.pid, signal.SIGKILL)
        await gone(found.worker_pid)
    await let_go(state)


async def test_ctrl_backslash_kills_the_keeper_and_the_worker_tidies_up(
    held: Path, state: Path
) -> None:
    async with in_a_terminal(held, state) as terminal:
        found = instance.read(state)
        assert found is not None
        terminal.press(CTRL_BACKSLASH)
        await until(state, "restore")
        await gone(found.worker_pid)
    await let_go(state)


async def again_pointed(state: Path) -> None:
    with trio.fail_after(30):
        while not pointed(state):  # noqa: ASYNC110 - of another process
            await trio.sleep(0.01)


async def falls_asleep(pid: int) -> None:
    """Waits until that process is stopped."""
    with trio.fail_after(5):
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":  # noqa: ASYNC110 - of another process
            await trio.sleep(0.01)
