"""D1: a real file system on which nothing can be forced to the disk any more (seccomp(2) says so)."""

from __future__ import annotations

import errno
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from server.scripted import Window, text_message, unified_headers
from tests.e2e.conftest import Upstream
from tests.e2e.conversation import JSON, question
from tests.e2e.kept_settings import ORIGINAL, Home
from tests.kit.live import accounts
from tests.kit.process import pointed_at, write_config
from tests.kit.program import EPOCH
from tests.kit.promises import Measured
from tests.kit.rounds import SWEEPING
from tests.kit.spoilt import spoilt

FSYNCS = {"x86_64": (0xC000003E, 74, 75, 317), "aarch64": (0xC00000B7, 82, 83, 277)}
"""By machine: its audit number, fsync, fdatasync and seccomp."""

REFUSING = f"""
import ctypes, struct, threading, time
from pathlib import Path

def refuse_fsync():
    architecture, fsync, fdatasync, seccomp = {FSYNCS.get(platform.machine(), (0, 0, 0, 0))}
    def step(code, value, yes=0, no=0):
        return struct.pack("HBBI", code, yes, no, value)
    steps = [
        step(0x20, 4), step(0x15, architecture, 0, 3),        # of another machine: let it be
        step(0x20, 0), step(0x15, fsync, 2, 0), step(0x15, fdatasync, 1, 0),
        step(0x06, 0x7FFF0000), step(0x06, 0x00050000 | {errno.EIO}),
    ]
    code = ctypes.create_string_buffer(b"".join(steps))
    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(38, 1, 0, 0, 0)                                # no new privileges
    program = Program(len(steps), ctypes.cast(code, ctypes.c_void_p))
    if libc.syscall(seccomp, 1, 1, ctypes.byref(program)):    # a filter, for all threads
        raise OSError(ctypes.get_errno(), "seccomp")
"""

TRIGGERED = f"""{REFUSING}
trigger = Path(sys.argv.pop(1))

def wait():
    while not trigger.exists():
        time.sleep(0.01)
    refuse_fsync()
    trigger.with_name("refused").touch()

threading.Thread(target=wait, daemon=True).start()
"""

TRIED = f"""{REFUSING}
import os, sys
refuse_fsync()
file = open(sys.argv[1], "w")
try:
    os.fsync(file.fileno())
except OSError as error:
    print(error.errno)
"""


def refusable(directory: Path) -> bool:
    """Whether this system lets a process forbid itself a call; the control of what follows."""
    if platform.machine() not in FSYNCS or sys.platform != "linux":
        return False
    command = [sys.executable, "-c", TRIED, str(directory / "tried")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.strip() == str(errno.EIO)


def reading(used: float) -> dict[str, str]:
    return dict(unified_headers({"5h": Window(utilization=used, resets_at=int(EPOCH) + 9 * 10**8)}))


@pytest.mark.promise("D1")
@pytest.mark.sweep
@pytest.mark.skipif(not SWEEPING, reason="takes a quarter of a minute: TEST_SWEEP=1")
async def test_where_nothing_can_be_forced_to_the_disk_requests_are_served_and_old_files_stay(
    upstream: Upstream, config: Path, tmp_path: Path, measured: Measured
) -> None:
    """It is said once, nothing half-written is left, and the settings are put back at the end."""
    if not refusable(tmp_path):
        pytest.skip("this system does not let a process forbid itself fsync")
    home, trigger = Home(tmp_path / "home"), tmp_path / "trigger"
    client = "[client]\nrelease_after = 0.2\n"
    write_config(config, pointed_at(upstream.url, accounts("a") + "\n" + client, drain=5))
    upstream.default(text_message("well").with_headers(reading(0.1)))
    command = spoilt(TRIGGERED, str(trigger))
    async with home.program(config, command=command) as process:
        await process.listens()
        await home.points_at(process.url)
        assert (
            await process.ask("POST", "/v1/messages", JSON, question(stream=False))
        ).status == 200
        memory = home.state / "quota.json"
        with trio.fail_after(30):
            while not memory.exists():  # noqa: ASYNC110 - of another process
                await trio.sleep(0.05)
        kept = memory.read_bytes()
        trigger.touch()
        with trio.fail_after(30):
            while not trigger.with_name("refused").exists():  # noqa: ASYNC110 - the same
                await trio.sleep(0.05)
        upstream.default(text_message("well").with_headers(reading(0.5)))
        statuses = []
        with trio.fail_after(40):
            while len(statuses) < 30 or "quota.json is not written" not in process.stderr:
                asked = await process.ask("POST", "/v1/messages", JSON, question(stream=False))
                statuses.append(asked.status)
                await trio.sleep(0.05)
        await trio.sleep(6)  # it is tried again after five seconds, and not said again
        assert set(statuses) == {200}
        assert process.stderr.count("quota.json is not written") == 1
        assert "Input/output error" in process.stderr
        assert memory.read_bytes() == kept, "the old one, whole"
        assert [one.name for one in home.state.iterdir() if one.name.startswith(".quota")] == []
        process.signal(signal.SIGTERM)
        assert await process.ends() == 0
        assert "crashed" not in process.stderr
    assert home.file.read_bytes() == ORIGINAL
    measured("D1", "failed requests, fsync refused (EIO)", 0, rounds=len(statuses))
