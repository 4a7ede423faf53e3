"""A real process of the program: started, asked, signalled, and its every word kept."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import trio

from tests.kit import canaries
from tests.kit.wire import Answered, Headers, Wire

START_SECONDS = 40.0
"""Longest wait for the listening line; only a failing test waits so long."""
END_SECONDS = 40.0

LISTENING = re.compile(r"^listening on (https?)://(\[[^\]]+\]|[^:\s]+):(\d+)\n", re.MULTILINE)

JSON = [("content-type", "application/json")]


class Supervised:
    """`python -m supervisor run ...`. `stdout` and `stderr` grow while it runs."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._said = {1: bytearray(), 2: bytearray()}
        self._changed = trio.Event()
        self._open = 2

    @property
    def stdout(self) -> str:
        return self._said[1].decode("utf-8", "replace")

    @property
    def stderr(self) -> str:
        return self._said[2].decode("utf-8", "replace")

    @property
    def url(self) -> str:
        """Where it listens."""
        found = LISTENING.search(self.stdout)
        assert found, f"it does not listen:\n{self.stdout}\n{self.stderr}"
        return f"{found[1]}://{found[2]}:{found[3]}"

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.url.rpartition(":")[2])

    async def keep_words(self, number: int, stream: trio.abc.ReceiveStream | None) -> None:
        """Collects one of its two outputs, to its end."""
        if stream is not None:
            async with stream:
                async for data in stream:
                    self._said[number] += data
                    self._notify()
        self._open -= 1
        self._notify()

    async def listens(self) -> None:
        """Waits until it says so."""
        await self.says(LISTENING.pattern, seconds=START_SECONDS)

    async def says(self, pattern: str, *, count: int = 1, seconds: float = END_SECONDS) -> None:
        """Waits until what it said, on either output, has that pattern `count` times."""
        wanted = re.compile(pattern, re.MULTILINE)
        with trio.move_on_after(seconds):
            while len(wanted.findall(self.stdout)) + len(wanted.findall(self.stderr)) < count:
                if not self._open:
                    break
                await self._changed.wait()
            else:
                return
        raise AssertionError(f"{pattern!r} never came; it said:\n{self.stdout}\n{self.stderr}")

    def signal(self, number: signal.Signals) -> float:
        """Sends a signal; gives back when (trio time)."""
        self.process.send_signal(number)
        return trio.current_time()

    def kill_all(self) -> None:
        """Keeper and worker in the same moment, as a machine without memory would."""
        for member in _family(self.process.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()

    async def ends(self) -> int:
        """Waits for its end; the exit code (negative: the signal that killed it)."""
        with trio.move_on_after(END_SECONDS):
            code = await self.process.wait()
            while self._open:
                await self._changed.wait()
            return code
        raise AssertionError(f"it did not end; it said:\n{self.stdout}\n{self.stderr}")

    async def ask(
        self, method: str, target: str, headers: Headers | None = None, body: bytes | None = None
    ) -> Answered:
        """One request on a connection of its own."""
        async with await Wire.to(self.url) as wire:
            return await wire.ask(method, target, headers, body)

    async def status(self) -> dict[str, Any]:
        """`GET /status`."""
        answered = await self.ask("GET", "/status")
        assert answered.status == 200, answered
        view: dict[str, Any] = answered.json()
        return view

    async def reload(self) -> Answered:
        """`POST /status/reload`."""
        return await self.ask("POST", "/status/reload", JSON, b"")

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def _family(pid: int) -> list[psutil.Process]:
    """A process and its children, who would go on for a while without it."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


@contextlib.asynccontextmanager
async def started(
    *arguments: str | Path,
    environment: Mapping[str, str] | None = None,
    state: Path | None = None,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.PIPE,
    command: Sequence[str] = ("-m", "supervisor", "run"),
    **options: Any,
) -> AsyncGenerator[Supervised, None]:
    """The process, which may not listen yet; killed at the end if it still runs."""
    wanted = {**os.environ, **(environment or {})}
    if state is not None:
        wanted["SUPERVISOR_STATE_DIR"] = str(state)
    async with trio.open_nursery() as nursery:
        process = await trio.lowlevel.open_process(
            [sys.executable, *command, *map(str, arguments)],
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=wanted,
            **options,
        )
        supervised = Supervised(process)
        canaries.used_among(environment or {})
        canaries.written_to(Path(wanted["SUPERVISOR_STATE_DIR"]))
        canaries.said("standard output", lambda: supervised.stdout)
        canaries.said("standard error", lambda: supervised.stderr)
        nursery.start_soon(supervised.keep_words, 1, process.stdout)
        nursery.start_soon(supervised.keep_words, 2, process.stderr)
        try:
            yield supervised
        finally:
            if process.returncode is None:
                supervised.kill_all()
            with trio.CancelScope(shield=True):  # a killed process ends
                await process.wait()
            nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def listening(
    *arguments: str | Path,
    environment: Mapping[str, str] | None = None,
    state: Path | None = None,
    **options: Any,
) -> AsyncGenerator[Supervised, None]:
    """The same, once it listens."""
    async with started(*arguments, environment=environment, state=state, **options) as supervised:
        await supervised.listens()
        yield supervised


def write_config(path: Path, text: str) -> Path:
    """A configuration file as its owner would have it: replaced whole, private."""
    canaries.used_in(text)
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text, encoding="utf-8")
    temporary.chmod(0o600)
    temporary.replace(path)
    return path


def pointed_at(upstream_url: str, more: str = "", *, drain: float = 10) -> str:
    """Configuration for any free port, in front of that upstream."""
    return (
        f"[server]\nport = 0\ndrain_seconds = {drain}\n"
        f'[upstream]\nbase_url = "{upstream_url}"\n{more}\n'
    )
