"""Claude Code's settings of somebody who has his own way of writing them, beside a real program."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import psutil
import trio

from tests.e2e.test_keeper import PATIENCE
from tests.kit.process import Supervised, pointed_at, started

ORIGINAL = (
    '{\r\n\t"model" :"opus",  "unknown": {"nested": [1,2,   3], "é": 1e3, "slash": "\\/"},\r\n'
    '   "env":{ "FOO" : "bar"\r\n},"hooks":{} , "permissions": {"allow": [ ]}}'
).encode()
"""Odd line ends and indentation, keys that nobody knows, no newline at the end."""

EDITED = ORIGINAL.replace(b'"hooks":{}', b'"hooks":{}, "added" : true')
"""What a stranger makes of it."""

RELEASE = 0.2


class Home:
    """One person's settings, and the state directory of the program that changes them."""

    def __init__(self, directory: Path) -> None:
        self.claude = directory / ".claude"
        self.state = directory / "state"
        self.file = self.claude / "settings.json"
        self.claude.mkdir(parents=True)
        self.file.write_bytes(ORIGINAL)
        self.environment = {"HOME": str(directory), "CLAUDE_CONFIG_DIR": str(self.claude)}

    @property
    def url(self) -> str | None:
        """Where the client points."""
        found: str | None = json.loads(self.file.read_bytes())["env"].get("ANTHROPIC_BASE_URL")
        return found

    @property
    def lease(self) -> Path:
        return self.state / "client.json"

    def edit(self) -> None:
        """A stranger adds something, and leaves what is ours as it stands."""
        content = self.file.read_bytes().replace(b'"hooks":{}', b'"hooks":{}, "added" : true')
        temporary = self.file.with_name("edited")
        temporary.write_bytes(content)
        temporary.replace(self.file)

    async def points_at(self, url: str | None, seconds: float = PATIENCE) -> float:
        """Waits until the client points there; when that was seen (monotonic)."""
        with trio.fail_after(seconds):
            while self.url != url:  # noqa: ASYNC110 - of another process
                await trio.sleep(0.001)
        return time.monotonic()

    async def points_elsewhere_than(self, url: str | None) -> float:
        """Waits until it does; when that was seen (monotonic)."""
        with trio.fail_after(PATIENCE):
            while self.url == url:  # noqa: ASYNC110 - of another process
                await trio.sleep(0.001)
        return time.monotonic()

    async def is_as_it_was(self, content: bytes = EDITED) -> None:
        """Waits for the last bytes, and for the end of everything that knows of a change."""
        with trio.move_on_after(PATIENCE):
            while self.file.read_bytes() != content or self.lease.exists():  # noqa: ASYNC110 - of another process
                await trio.sleep(0.005)
        assert self.file.read_bytes() == content, self.file.read_bytes()
        assert sorted(self.claude.iterdir()) == [self.file], "nothing is left beside it"
        assert not self.lease.exists()

    @contextlib.asynccontextmanager
    async def program(
        self, config: Path, *arguments: str, **options: object
    ) -> AsyncGenerator[Supervised]:
        """`supervisor run` for this person."""
        environment = {**self.environment, **dict(options.pop("environment", {}))}  # type: ignore[call-overload]
        async with started(
            config, *arguments, state=self.state, environment=environment, **options
        ) as process:
            yield process

    async def command(self, *arguments: str) -> str:
        """Another `supervisor ...` of this person; what it said."""
        async with started(
            command=("-m", "supervisor", *arguments), state=self.state, environment=self.environment
        ) as process:
            assert await process.ends() == 0, process.stderr
            return process.stdout


def quick(upstream_url: str, more: str = "") -> str:
    """A configuration in which everything that waits is short."""
    client = f"[client]\nrelease_after = {RELEASE}\nrestore_after = 0\n"
    return pointed_at(upstream_url, client + more, drain=5)


def worker_pids(keeper: int) -> list[int]:
    """Of a keeper whose worker may not have said anything yet."""
    try:
        return [child.pid for child in psutil.Process(keeper).children()]
    except psutil.NoSuchProcess:
        return []
