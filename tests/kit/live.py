"""The program and a scripted upstream beside each other, both on real loopback sockets."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import trio

from server.scripted import ScriptedUpstream
from server.upstream import DirectUpstream
from tests.kit.program import RunningProgram, program_over_tcp
from tests.kit.wire import Wire

PATIENCE_SECONDS = 30.0
"""For what a busy machine will do in the end; only a failing test waits so long."""


def accounts(*names: str) -> str:
    """Configuration of accounts with these names; the API key of `work` is `key-work`."""
    return "\n".join(f'[[account]]\nname = "{name}"\napi_key = "key-{name}"' for name in names)


class Live:
    """One program in front of one upstream. `url` is the program's, `upstream_url` the other's."""

    def __init__(self, upstream: ScriptedUpstream, upstream_url: str) -> None:
        self.upstream = upstream
        self.upstream_url = upstream_url
        self.url = ""
        self.program: RunningProgram

    async def connect(self) -> Wire:
        """A connection of a client."""
        return await Wire.to(self.url)

    async def ask(
        self,
        method: str,
        target: str,
        headers: list[tuple[str, str]] | None = None,
        body: bytes | None = None,
    ) -> Any:
        """One request on a connection of its own; its `Answered`."""
        async with await self.connect() as wire:
            return await wire.ask(method, target, headers, body)

    async def request_lines(self) -> list[dict[str, Any]]:
        """What `/status/requests` shows, newest first."""
        answered = await self.ask("GET", "/status/requests")
        assert answered.status == 200, answered
        lines: list[dict[str, Any]] = json.loads(answered.body)["requests"]
        return lines

    async def wait_for_lines(self, count: int = 1) -> list[dict[str, Any]]:
        """The newest `count` lines, as soon as there are so many."""
        with trio.fail_after(PATIENCE_SECONDS):
            while len(lines := await self.request_lines()) < count:  # noqa: ASYNC110
                await trio.sleep(0.01)  # the log tells nobody that it has grown
        return lines[:count]

    async def wait_until_left(self, number: int = -1) -> float:
        """The trio time at which the proxy left that request of the upstream's."""
        seen = self.upstream.requests[number]
        with trio.fail_after(PATIENCE_SECONDS):
            await seen.left.wait()
        assert seen.left_at is not None
        return seen.left_at

    async def reset(self, account: str) -> None:
        """Ends that account's cooldowns."""
        target = f"/status/accounts/{account}/reset"
        answered = await self.ask("POST", target, [("content-type", "application/json")], b"")
        assert answered.status == 200, answered


async def serve_live(
    config: str, state: Path, task_status: trio.TaskStatus[Live] = trio.TASK_STATUS_IGNORED
) -> None:
    """Runs both until cancelled. `config` must not have an `[upstream]` of its own."""
    upstream = ScriptedUpstream()
    async with trio.open_nursery() as nursery:
        live = Live(upstream, await nursery.start(upstream.serve_tcp))
        pointed = f'[upstream]\nbase_url = "{live.upstream_url}"\n{config}\n'
        async with program_over_tcp(pointed, state) as program:
            live.program, live.url = program, program.url
            task_status.started(live)
            async with upstreams_closed(program):
                await trio.sleep_forever()


@contextlib.asynccontextmanager
async def upstreams_closed(program: RunningProgram) -> AsyncGenerator[None, None]:
    """At the end closes what the program keeps open towards upstreams; it can serve no more."""
    try:
        yield
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + PATIENCE_SECONDS):
            for one in program.parts.upstreams.renew(_no_more):
                await one.aclose()


def _no_more(base_url: str) -> DirectUpstream:
    raise AssertionError(f"a request for {base_url} after the end of the test")
