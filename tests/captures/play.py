"""What is shown: a new user's first day, played by the real program in front of a scripted upstream."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import shlex
import shutil
import socket
import string
from collections.abc import AsyncGenerator, Iterator, Mapping
from pathlib import Path

import trio

from server.scripted import (
    Answer,
    ScriptedUpstream,
    SeenRequest,
    Window,
    adding_headers,
    message_events,
    reply_to,
    stream,
    text_block,
    unified_headers,
    window_spent,
)
from tests.captures.clock import Clock
from tests.captures.picture import COLUMNS, Shown
from tests.captures.screen import Screen

PORTS = range(4080, 5000)
"""Four digits, so that tables are as wide as with the usual port."""
HOME = "/home/me"
"""What the home directory is shown as; the real one has as many letters."""

TOKEN = "sk-ant-oat01-made-up-for-a-picture"
KEY = "sk-ant-api03-made-up-for-a-picture"
SESSION = "7d0c1e52-5f0e-4a3b-9b64-2f6d1c0a8e11"
REQUESTS = (
    # The id, the model, and what the login's five-hour window says then.
    ("3f8a41d09c01", "claude-opus-5-5", 0.72),
    ("3f8a41d09c02", "claude-opus-5-5", 0.79),
    ("3f8a41d09c03", "claude-haiku-5-5", 0.80),
    ("3f8a41d09c04", "claude-opus-5-5", 0.93),
    ("3f8a41d09c05", "claude-opus-5-5", 1.00),
    ("3f8a41d09c06", "claude-opus-5-5", 1.00),
)
FAILED_OVER = REQUESTS[4][0]
MINUTES_BETWEEN = 9.0
OBSERVED_SECONDS = 6.0
"""The program looks at its quota readings every five; a forecast is made of what it saw."""
WARM_SECONDS = 5.0


class TooBusy(Exception):
    """This machine is so busy that what is shown would be what a busy machine does."""


class Stage:
    """A fresh home directory, an upstream that answers by the book, and a terminal."""

    def __init__(self, home: Path, upstream: str, port: int, clock: Clock) -> None:
        self.home = home
        self.clock = clock
        self.upstream = upstream
        self.port = port
        self.environment = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "SUPERVISOR_UPSTREAM_BASE_URL": upstream,
            "SUPERVISOR_OAUTH_TOKEN_URL": f"{upstream}/token",
            # The program starts slowly under such a clock, on a busy machine.
            "SUPERVISOR_CLIENT_RESTORE_AFTER": "60",
            **clock.environment,
        }

    async def shows(
        self, line: str, *, answers: int = 0, columns: int = COLUMNS, **environment: str
    ) -> Shown:
        """Types the line; says yes to so many questions; and waits for the end."""
        said = await trio.to_thread.run_sync(self._run, line, answers, columns, environment)
        return Shown(line, said)

    def _run(self, line: str, answers: int, columns: int, environment: Mapping[str, str]) -> str:
        with Screen(shlex.split(line)[1:], {**self.environment, **environment}, columns) as screen:
            for _ in range(answers):
                screen.sees("]: ")
                screen.types("y\n")
            return screen.ends()

    @contextlib.asynccontextmanager
    async def running(self, line: str) -> AsyncGenerator[Screen, None]:
        """The program, from the moment it listens; ended with Ctrl-C."""
        arguments = [*shlex.split(line)[1:], "--port", str(self.port)]
        with Screen(arguments, self.environment, COLUMNS) as screen:
            await trio.to_thread.run_sync(screen.sees, "status --watch")
            await trio.sleep(WARM_SECONDS)
            yield screen
            screen.interrupts()
            await trio.to_thread.run_sync(screen.ends)

    @property
    def log(self) -> Path:
        """The request log of the day."""
        (file,) = (self.home / ".local/state/llm-supervisor/logs").glob("requests-*.jsonl")
        return file

    def everything_has_its_price(self) -> None:
        """The first requests go without a cost where the table of prices is read too slowly.

        Raises TooBusy.
        """
        lines = self.log.read_text("utf-8").splitlines()
        if any(json.loads(line)["cost_usd"] is None for line in lines):
            raise TooBusy("the machine is too busy: prices were read too late. Try again")

    async def asks(self, request_id: str, model: str) -> None:
        """One turn of a Claude Code session."""
        await trio.to_thread.run_sync(self._ask, request_id, model)

    def _ask(self, request_id: str, model: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        body = {
            "model": model,
            "max_tokens": 1024,
            "stream": True,
            "messages": [{"role": "user", "content": "hello"}],
        }
        headers = {
            "content-type": "application/json",
            "anthropic-version": "2023-06-01",
            "x-claude-code-session-id": SESSION,
            "x-request-id": request_id,
        }
        connection.request("POST", "/v1/messages", json.dumps(body), headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"request {request_id} was answered with {answer.status}")


class Login:
    """What the upstream says to the login: an answer each time, until its window is spent."""

    def __init__(self, now: float) -> None:
        self._left = [used for _, _, used in REQUESTS]
        self._resets = int(now + 2.5 * 3600)
        self._week = int(now + 4 * 86400)

    def __call__(self, seen: SeenRequest) -> Answer:
        if seen.endpoint != "/v1/messages":
            return reply_to(seen)
        used = self._left.pop(0) if self._left else 1.0
        if used >= 1.0:
            return window_spent("5h", resets_at=self._resets, retry_after=9000)
        windows = {
            "5h": Window(utilization=used, resets_at=self._resets),
            "7d": Window(utilization=0.31, resets_at=self._week),
        }
        return adding_headers(answer, unified_headers(windows))(seen)


def answer(seen: SeenRequest) -> Answer:
    """Half a second's answer of a thousand tokens or so, most of the question cached."""
    if seen.endpoint != "/v1/messages":
        return reply_to(seen)
    events = message_events(
        [text_block("Hello! How can I help you today?")],
        model=str(seen.json()["model"]),
        input_tokens=2100,
        output_tokens=640,
        cache_read_tokens=18400,
    )
    return stream(events, pause=0.25)


@contextlib.asynccontextmanager
async def stage() -> AsyncGenerator[Stage, None]:
    """Everything in place: a login of Claude Code's in the home directory, and nothing else."""
    with _home() as home, Clock.started() as clock:
        _log_in(home / ".claude", clock.now)
        upstream = ScriptedUpstream(answer, {TOKEN: [Login(clock.now)]})
        async with trio.open_nursery() as nursery:
            url = await nursery.start(upstream.serve_tcp)
            yield Stage(home, url, _free_port(), clock)
            nursery.cancel_scope.cancel()


@contextlib.contextmanager
def _home() -> Iterator[Path]:
    """With a path as long as `HOME`, so that nothing is wrapped or cut elsewhere."""
    letters = len(HOME) - len("/tmp/")
    while True:
        home = Path("/tmp") / "".join(random.choices(string.ascii_lowercase, k=letters))
        with contextlib.suppress(FileExistsError):
            home.mkdir(mode=0o700)
            break
    try:
        yield home
    finally:
        shutil.rmtree(home)


def _log_in(directory: Path, now: float) -> None:
    directory.mkdir(mode=0o700)
    login = {
        "accessToken": TOKEN,
        "refreshToken": "sk-ant-ort01-made-up-for-a-picture",
        "expiresAt": int((now + 6.5 * 3600) * 1000),
        "scopes": ["user:inference"],
        "subscriptionType": "max",
    }
    file = directory / ".credentials.json"
    file.write_text(json.dumps({"claudeAiOauth": login}), "utf-8")
    file.chmod(0o600)
    settings = directory / "settings.json"
    settings.write_text('{\n  "model": "opus"\n}\n', "utf-8")


def _free_port() -> int:
    for port in PORTS:
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no port of four digits is free")
