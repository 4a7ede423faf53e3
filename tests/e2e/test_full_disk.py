"""A disk that is full or gone costs log lines, which are counted, and nothing else (D3, `peers.md` P25)."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import trio

from server.scripted import ScriptedUpstream, text_message
from tests.e2e.conftest import Upstream
from tests.e2e.conversation import JSON, question
from tests.kit.http_client import MemoryClient
from tests.kit.live import accounts
from tests.kit.memory_disk import MemoryDisk
from tests.kit.process import Supervised, listening, pointed_at, write_config
from tests.kit.program import program_in_memory
from tests.kit.promises import Measured
from tests.kit.rounds import rounds
from tests.kit.wire import Wire

REQUESTS = rounds(quick=600, full=100_000)
DISK_BYTES = rounds(quick=128 * 1024, full=10 * 1024 * 1024)
CLIENTS = 8

ON_A_SMALL_DISK = """
import os, sys
directory, size, *arguments = sys.argv[1:]
mount = 'mount -t tmpfs -o size="$1" tmpfs "$0" && shift && exec "$@"'
program = [sys.executable, "-m", "supervisor", *arguments]
os.execvp("unshare", ["unshare", "-Urm", "sh", "-c", mount, directory, size, *program])
"""
WITH_SMALL_FILES = """
import os, resource, sys
directory, size, *arguments = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), int(size)))
os.execv(sys.executable, [sys.executable, "-m", "supervisor", *arguments])
"""


def may_mount(directory: Path) -> bool:
    """Whether this machine gives an ordinary user a file system of his own."""
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "-Urm", "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(directory)]
    return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0


async def ask_many(process: Supervised, count: int) -> list[int]:
    """That many requests over a few kept connections; their statuses."""
    statuses: list[int] = []

    async def client(share: int) -> None:
        async with await Wire.to(process.url) as wire:
            for _ in range(share):
                answered = await wire.ask("POST", "/v1/messages", JSON, question(stream=False))
                statuses.append(answered.status)

    async with trio.open_nursery() as nursery:
        for _ in range(CLIENTS):
            nursery.start_soon(client, count // CLIENTS)
    return statuses


@pytest.mark.promise("D1", "D3")
@pytest.mark.slow
@pytest.mark.sweep
@pytest.mark.timeout(rounds(quick=120, full=3600))
async def test_a_full_disk_fails_no_request_and_every_lost_line_is_counted(
    upstream: Upstream,
    config: Path,
    state: Path,
    tmp_path: Path,
    measured: Measured,
) -> None:
    logs = tmp_path / "small"
    logs.mkdir()
    mounted = may_mount(logs)
    upstream.default(text_message("hello"))
    text = pointed_at(upstream.url, f"{accounts('a')}\n[logs]\ndirectory = '{logs}'\n")
    write_config(config, text)
    script = ON_A_SMALL_DISK if mounted else WITH_SMALL_FILES
    command = ("-c", script, str(logs), str(DISK_BYTES), "run")
    async with listening(config, state=state, command=command) as process:
        seen = Path(f"/proc/{process.process.pid}/root{logs}") if mounted else logs
        statuses = await ask_many(process, REQUESTS)
        assert statuses == [200] * REQUESTS
        await process.says("request log not written", seconds=30)
        await trio.sleep(1.1)  # what is queued is written, and the next loss is said again
        (file,) = seen.glob("requests-*.jsonl")
        data = file.read_bytes()
        assert len(data) <= DISK_BYTES
        assert data.endswith(b"\n"), "no half line, although a full disk takes a part of one"
        written = data.count(b"\n")
        file.unlink()  # somebody made room
        await ask_many(process, CLIENTS)
        wanted = REQUESTS + CLIENTS
        with trio.fail_after(30):
            while written + _later(seen) + _dropped(process) != wanted:  # noqa: ASYNC110 - a file
                await trio.sleep(0.05)
        dropped = _dropped(process)
        assert dropped > REQUESTS / 3, "the disk was too small for this"
        on = "tmpfs" if mounted else "RLIMIT_FSIZE"
        measured("D1", f"failed requests, disk full ({on})", 0, rounds=wanted)
        measured("D3", f"lines dropped and counted ({on})", dropped, rounds=wanted)
        assert "crashed" not in process.stderr


def _later(logs: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in logs.glob("requests-*.jsonl"))


def _dropped(process: Supervised) -> int:
    """As told last."""
    told = re.findall(r"request log is written again; (\d+) lines", process.stderr)
    return int(told[-1]) if told else 0


class SlowDisk(MemoryDisk):
    """Takes an hour for each line."""

    async def append(self, path: Path, data: bytes) -> None:
        await trio.sleep(3600)


class FullDisk(MemoryDisk):
    """Refuses everything."""

    def __init__(self) -> None:
        super().__init__()
        self.failing = True


async def latencies(disk: MemoryDisk, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What each of 200 requests took, in virtual time, on that disk."""
    monkeypatch.setattr("tests.kit.program.MemoryDisk", lambda: disk)
    upstream = ScriptedUpstream(text_message("hello"))
    taken: list[float] = []
    async with program_in_memory(accounts("a"), upstream) as program:
        for _ in range(200):
            client = MemoryClient(await program.connect())
            began = trio.current_time()
            assert (await client.post("/v1/messages", question(stream=False))).status == 200
            taken.append(trio.current_time() - began)
            await client.leave()
            await trio.sleep(0.06)
    return taken


@pytest.mark.promise("D3")
async def test_no_request_is_slower_for_a_disk_that_is_full_or_takes_an_hour_for_each_line(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = await latencies(MemoryDisk(), monkeypatch)
    assert await latencies(FullDisk(), monkeypatch) == pytest.approx(usual, abs=1e-6)
    assert await latencies(SlowDisk(), monkeypatch) == pytest.approx(usual, abs=1e-6)
