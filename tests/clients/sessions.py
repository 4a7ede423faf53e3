"""A running, interactive session whose settings file changes under it, between two upstreams."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pytest
import trio

from server.scripted import Answer, ScriptedUpstream, SeenRequest, Step, reply_with, text_block
from tests.clients.claude_code import ClaudeCode, Terminal
from tests.kit.rounds import SWEEPING

Write: TypeAlias = Callable[[Path, str], None]

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
BASE_URL = "ANTHROPIC_BASE_URL"

NOTICED = 3.0
"""Seconds after which a running session has noticed a change; on an idle machine it takes 1.0 to
1.4, on a busy one up to 2.5 were seen."""

only_in_a_sweep = pytest.mark.skipif(not SWEEPING, reason="a fact of the client: TEST_SWEEP=1")


def in_place(path: Path, text: str) -> None:
    """Truncated and written, as a simple program does it."""
    path.write_text(text, "utf-8")


def renamed(path: Path, text: str) -> None:
    """A new file takes the name."""
    temporary = path.with_name("settings.json.new")
    temporary.write_text(text, "utf-8")
    temporary.replace(path)


def exchanged(path: Path, text: str) -> None:
    """A new file and the old one swap names, in one step (Linux)."""
    temporary = path.with_name("settings.json.swap")
    temporary.write_text(text, "utf-8")
    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(temporary), os.fsencode(path)
    if libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")
    temporary.unlink()


WAYS: Mapping[str, Write] = {"in_place": in_place, "renamed": renamed, "exchanged": exchanged}


class Session:
    """One session and the upstreams `here` and `there`; `turn` says which of them was asked."""

    def __init__(self, client: ClaudeCode, upstreams: Mapping[str, ScriptedUpstream]) -> None:
        self.client = client
        self.upstreams = upstreams
        self.urls: dict[str, str] = {}
        self.terminal: Terminal
        self._numbers = itertools.count(1)

    @property
    def file(self) -> Path:
        return self.client.config_dir / "settings.json"

    def write(self, write: Write = renamed, /, **environment: str) -> float:
        """The settings have this environment and nothing else; when (trio time)."""
        write(self.file, json.dumps({"env": environment}, indent=2) + "\n")
        return trio.current_time()

    def point(self, name: str, write: Write = renamed, **environment: str) -> float:
        """The base URL is that upstream's from now on."""
        return self.write(write, **{BASE_URL: self.urls[name]}, **environment)

    async def turn(self) -> str:
        """Types something, waits for its answer, and says who gave it: "here" or "there"."""
        number = next(self._numbers)
        word = f"w{number:03}"
        await self.terminal.type(f"say {word}")
        await self.terminal.press("enter")
        with trio.fail_after(60):
            name, seen = await self.asked_for(word)
            await seen.done.wait()
        await self.terminal.wait_for(f"answer {seen.number} of {name}")
        return name

    async def asked_for(self, word: str) -> tuple[str, SeenRequest]:
        """The first request that has this word, as soon as there is one."""
        while True:
            for name, upstream in self.upstreams.items():
                for seen in upstream.requests:
                    if word.encode() in seen.body:
                        return name, seen
            await trio.sleep(0.01)  # two upstreams, either of which may be asked

    def asked(self) -> list[tuple[float, str]]:
        """Every request so far: when, and whom."""
        return sorted(
            (seen.started_at, name)
            for name, upstream in self.upstreams.items()
            for seen in upstream.requests
        )


def answering(name: str) -> Callable[[SeenRequest], Any]:
    """Answers that name who gave them."""

    def answer(seen: SeenRequest) -> Any:
        return reply_with(text_block(f"answer {seen.number} of {name}"))(seen)

    return answer


@contextlib.asynccontextmanager
async def session(
    binary: Path,
    home: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
    before: Callable[[Session], Any] | None = None,
    **options: Any,
) -> AsyncIterator[Session]:
    """A session that was started with its base URL in settings.json, pointing "here".

    `settings` replaces that environment of the settings ({}: an empty one); `environment` is what
    the shell has; `before` is called with the session before the client starts.
    """
    names = ("here", "there")
    upstreams = {name: ScriptedUpstream(answering(name)) for name in names}
    async with trio.open_nursery() as nursery:
        client = ClaudeCode(binary, None, home, extra_env=environment, **options)
        running = Session(client, upstreams)
        for name in names:
            running.urls[name] = await nursery.start(upstreams[name].serve_tcp)
        if settings is None:
            running.point("here")
        else:
            running.write(**settings)
        if before is not None:
            before(running)
        async with client.interactive(*arguments) as running.terminal:
            yield running
        nursery.cancel_scope.cancel()


def held(answer: Answer, sends: int, *steps: Step) -> Answer:
    """The answer with something else after its first parts."""
    parts = answer.parts or ()
    return msgspec.structs.replace(answer, parts=(*parts[:sends], *steps))


async def ask(running: Session, word: str) -> int:
    """Types something with that word and waits until it was asked; how many were before."""
    before = len(running.asked())
    await running.terminal.type(f"go on {word}")
    await running.terminal.press("enter")
    with trio.fail_after(30):
        await running.asked_for(word)
    return before


async def asked_again(running: Session, count: int) -> str:
    """Waits for that many requests in all; whom the last one went to."""
    with trio.fail_after(40):
        while len(running.asked()) < count:  # noqa: ASYNC110 - two upstreams, either may be asked
            await trio.sleep(0.02)
    return running.asked()[count - 1][1]


async def left(running: Session, seconds: float) -> None:
    """The two steps of a release: another URL, and `seconds` later none."""
    running.point("there")
    await trio.sleep(seconds)
    running.write()
    await trio.sleep(NOTICED)
