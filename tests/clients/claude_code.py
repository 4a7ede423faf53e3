"""Drives the real Claude Code command line, kept to this machine and to a home of its own.

`ClaudeCode.run_print` is `claude -p`; `ClaudeCode.interactive` is the program in a pseudo-terminal
with somebody at the keyboard.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import signal
import struct
import subprocess
import termios
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from tests.clients.screen import Screen

INSTALLED = Path(__file__).parents[2] / ".clients" / "node_modules" / "@anthropic-ai"
BINARY_VARIABLE = "TEST_CLAUDE_CODE_BINARY"
"""Names another binary to test with. Read at import: the tests' own environment starts empty."""
_NAMED_BINARY = os.environ.get(BINARY_VARIABLE)

API_KEY = "sk-ant-api03-made-up-for-tests-0123456789abcdef"

STAY_HERE = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    # Whatever would go elsewhere all the same is sent to a port where nobody listens.
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "127.0.0.1,localhost,::1",
}

KEYS = {
    "enter": b"\r",
    "escape": b"\x1b",
    "tab": b"\t",
    "shift-tab": b"\x1b[Z",
    "up": b"\x1b[A",
    "down": b"\x1b[B",
    "ctrl-c": b"\x03",
    "ctrl-d": b"\x04",
    "ctrl-u": b"\x15",
}

READY = "❯"  # noqa: RUF001 - the mark before the input line is this very character

EXIT_SECONDS = 5
"""How long the program may take to end once it was told to."""


def find_binary() -> Path | None:
    """The installed program, or None. npm installs the one package that fits this machine."""
    if _NAMED_BINARY:
        return Path(_NAMED_BINARY)
    return next(iter(sorted(INSTALLED.glob("claude-code-*/claude"))), None)


@dataclass(frozen=True)
class Result:
    """What `claude -p` left behind."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        """The closing `result` object, of `--output-format json` and `stream-json` alike."""
        results = [event for event in self.events if event.get("type") == "result"]
        assert results, f"no result in: {self}"
        return results[-1]

    @property
    def events(self) -> list[dict[str, Any]]:
        lines = [line for line in self.stdout.splitlines() if line.startswith("{")]
        return [json.loads(line) for line in lines]

    @property
    def text(self) -> str:
        return str(self.json.get("result", ""))


def _squeezed(text: str) -> str:
    return " ".join(text.split())


@dataclass
class Terminal:
    """The program on a screen. `wait_for` ignores how white space and line ends fall."""

    process: trio.Process
    screen: Screen
    _controller: int
    _changed: trio.Event = field(default_factory=trio.Event)
    _closed: bool = False

    async def type(self, text: str, *, timeout: float = 20) -> None:
        """Types `text` and waits until it is on the screen; `press("enter")` sends it."""
        await self._write(text.encode())
        await self.wait_for(text, timeout=timeout)

    async def press(self, key: str) -> None:
        await self._write(KEYS[key])

    async def wait_for(self, text: str, *, timeout: float = 20) -> None:
        """Until `text` is on the screen. Raises AssertionError with the screen after `timeout`."""
        await self._wait(text, timeout, wanted=True)

    async def wait_until_gone(self, text: str, *, timeout: float = 20) -> None:
        """Until `text` is no longer on the screen. Raises AssertionError like `wait_for`."""
        await self._wait(text, timeout, wanted=False)

    async def _wait(self, text: str, timeout: float, *, wanted: bool) -> None:
        with trio.move_on_after(timeout):
            while (_squeezed(text) in _squeezed(self.screen.text)) != wanted:
                if self._closed:
                    raise AssertionError(f"it ended before {text!r}:\n{self.screen.text}")
                await self._changed.wait()
            return
        verb = "not shown" if wanted else "still shown"
        raise AssertionError(f"{text!r} {verb} after {timeout} s:\n{self.screen.text}")

    async def _write(self, data: bytes) -> None:
        with trio.fail_after(EXIT_SECONDS):
            while data:
                await trio.lowlevel.wait_writable(self._controller)
                data = data[os.write(self._controller, data) :]

    async def read(self) -> None:
        """Keeps the screen up to date until the program has closed the terminal."""
        while data := await self._read_some():
            self.screen.feed(data)
            self._tell()
        self._closed = True
        self._tell()

    async def _read_some(self) -> bytes:
        while True:
            await trio.lowlevel.wait_readable(self._controller)
            try:
                return os.read(self._controller, 65536)
            except BlockingIOError:
                continue
            except OSError:  # Linux says EIO once nobody holds the other end
                return b""

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


class ClaudeCode:
    """One installation with its own home, as one person would have it.

    `base_url` or `api_key` None: not in the environment, so that the client's own settings or
    login below `home/.claude` decide.
    """

    def __init__(
        self,
        binary: Path,
        base_url: str | None,
        home: Path,
        *,
        api_key: str | None = API_KEY,
        extra_env: Mapping[str, str] | None = None,
    ) -> None:
        self.binary = binary
        self.home = home
        self.config_dir = home / ".claude"
        self.project = home / "project"
        self.project.mkdir(parents=True, exist_ok=True)
        self.env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "CLAUDE_CONFIG_DIR": str(self.config_dir),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            **STAY_HERE,
        }
        if base_url is not None:
            self.env["ANTHROPIC_BASE_URL"] = base_url
        if api_key is not None:
            self.env["ANTHROPIC_API_KEY"] = api_key
        self.env.update(extra_env or {})
        self._answer_first_questions()

    def _answer_first_questions(self) -> None:
        """Theme, trust in the folder and use of the key, asked once per home, as if answered."""
        path = self.config_dir / ".claude.json"
        known = json.loads(path.read_text("utf-8")) if path.exists() else {}
        known.update(hasCompletedOnboarding=True, theme="dark")
        project = known.setdefault("projects", {}).setdefault(str(self.project.resolve()), {})
        project.update(hasTrustDialogAccepted=True, hasCompletedProjectOnboarding=True)
        if key := self.env.get("ANTHROPIC_API_KEY"):
            answers = known.setdefault("customApiKeyResponses", {"approved": [], "rejected": []})
            answers["approved"] = sorted({*answers["approved"], key[-20:]})
        self.config_dir.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(known), "utf-8")

    async def run_print(self, prompt: str, *args: str, timeout: float = 50) -> Result:
        """`claude -p PROMPT ARGS...`, as JSON unless `args` name another output format.

        Raises trio.TooSlowError after `timeout` seconds; everything it had started is then gone.
        """
        command = [str(self.binary), "-p", prompt, *args]
        if "--output-format" not in args:
            command += ["--output-format", "json"]
        elif "stream-json" in args and "--verbose" not in args:
            command += ["--verbose"]
        async with self._process(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            output: dict[str, bytes] = {}
            assert process.stdout is not None
            assert process.stderr is not None
            with trio.fail_after(timeout):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_collect, process.stdout, output, "stdout")
                    nursery.start_soon(_collect, process.stderr, output, "stderr")
                returncode = await process.wait()
        stdout, stderr = (output[name].decode("utf-8", "replace") for name in ("stdout", "stderr"))
        return Result(returncode, stdout, stderr)

    @contextlib.asynccontextmanager
    async def interactive(
        self, *args: str, rows: int = 40, columns: int = 120, start_timeout: float = 30
    ) -> AsyncIterator[Terminal]:
        """The program in a terminal, ready for input; it is ended when the block is left."""
        controller, terminal = os.openpty()
        try:
            os.set_blocking(controller, False)
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            command = [str(self.binary), *args]
            streams = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
            failure: Exception | None = None
            async with self._process(command, **streams) as process, trio.open_nursery() as nursery:
                os.close(terminal)
                terminal = -1
                seen = Terminal(process, Screen(rows, columns), controller)
                nursery.start_soon(seen.read)
                try:
                    await seen.wait_for(READY, timeout=start_timeout)
                    yield seen
                except Exception as error:
                    failure = error
                nursery.cancel_scope.cancel()
            if failure is not None:  # raised out here, the nursery does not wrap it
                raise failure
        finally:
            os.close(controller)
            if terminal >= 0:
                os.close(terminal)

    @contextlib.asynccontextmanager
    async def _process(self, command: list[str], **streams: Any) -> AsyncIterator[trio.Process]:
        # A session of its own, so that what it starts (shells, tools) can be ended with it.
        process = await trio.lowlevel.open_process(
            command, cwd=self.project, env=self.env, start_new_session=True, **streams
        )
        try:
            yield process
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 2 * EXIT_SECONDS):
                await _end(process)


async def _collect(stream: Any, into: dict[str, bytes], name: str) -> None:
    async with stream:
        into[name] = b"".join([chunk async for chunk in stream])


async def _end(process: trio.Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with trio.move_on_after(EXIT_SECONDS if number == signal.SIGTERM else math.inf):
            await process.wait()
