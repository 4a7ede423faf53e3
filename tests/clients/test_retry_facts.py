"""What a running Claude Code does with a request under way when its settings file changes.

See `docs/claude-code-facts.md`; the facts are looked at again as in `test_settings_facts.py`.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from server.scripted import Cut, Gate, Wait, error, text_stream
from tests.clients.conftest import Open
from tests.clients.sessions import (
    BASE_URL,
    NOTICED,
    Session,
    answering,
    ask,
    asked_again,
    held,
    left,
    only_in_a_sweep,
)

pytestmark = [pytest.mark.client, pytest.mark.sweep, pytest.mark.timeout(300)]
RETRY_AFTER = {"retry-after": "8"}


@only_in_a_sweep
async def test_a_stream_that_breaks_after_the_change_is_asked_for_again_there(opened: Open) -> None:
    async with opened() as running:
        assert await running.turn() == "here"
        gate = Gate()
        cut = held(text_stream("This breaks off"), 3, Wait(gate), Cut())
        running.upstreams["here"].default(cut, error(503))
        before = await ask(running, "w777")
        await left(running, 1.5)
        gate.open()
        assert await asked_again(running, before + 2) == "there"


@only_in_a_sweep
@pytest.mark.parametrize("seconds", [1.5, 5.0, None])
async def test_a_request_that_waits_for_its_retry_stays_with_the_old_url(
    opened: Open, seconds: float | None
) -> None:
    async with opened() as running:
        assert await running.turn() == "here"
        running.upstreams["here"].default(error(503, headers=RETRY_AFTER), answering("here"))
        before = await ask(running, "w777")
        if seconds is None:
            running.point("there")
        else:
            await left(running, seconds)
        assert await asked_again(running, before + 2) == "here"
        await running.terminal.wait_for("of here")
        assert await running.turn() == "there"


@asynccontextmanager
async def at_a_dead_port(opened: Open) -> AsyncIterator[tuple[Session, int]]:
    """A session that was started at a port where nobody listens, and is asking there."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    dead = {BASE_URL: f"http://127.0.0.1:{port}"}
    async with opened(settings=dead) as running:
        await running.terminal.type("go on w777")
        await running.terminal.press("enter")
        await running.terminal.wait_for("Connection refused")
        yield running, port


@only_in_a_sweep
async def test_at_a_dead_port_it_says_so_and_retries_until_the_port_is_back(opened: Open) -> None:
    async with at_a_dead_port(opened) as (running, port), trio.open_nursery() as nursery:
        await running.terminal.wait_for("ECONNREFUSED")
        await running.terminal.wait_for("attempt 3/10")
        await nursery.start(partial(running.upstreams["here"].serve_tcp, port=port))
        with trio.fail_after(20):
            assert (await running.asked_for("w777"))[0] == "here"
        await running.terminal.wait_for("of here")
        nursery.cancel_scope.cancel()


@only_in_a_sweep
async def test_at_a_dead_port_a_change_helps_the_next_prompt_not_the_waiting_one(
    opened: Open,
) -> None:
    async with at_a_dead_port(opened) as (running, _):
        running.point("there")
        await running.terminal.wait_for("attempt 5/10")
        assert running.asked() == []
        await running.terminal.press("escape")
        await running.terminal.wait_until_gone("ECONNREFUSED")
        await running.terminal.press("ctrl-u")
        assert await running.turn() == "there"


API = "CONNECT api.anthropic.com:443 HTTP/1.1"


@only_in_a_sweep
@pytest.mark.parametrize("value", ["https://api.anthropic.com", ""], ids=["named", "empty"])
async def test_the_real_address_is_followed_named_or_by_an_empty_value(
    opened: Open, value: str
) -> None:
    """Nothing leaves the machine: what listens here is the client's proxy, and refuses."""
    wanted: list[str] = []

    async def refuse(stream: trio.SocketStream) -> None:
        async with stream:
            wanted.append((await stream.receive_some()).split(b"\r\n")[0].decode())
            await stream.send_all(b"HTTP/1.1 502 Refused\r\ncontent-length: 0\r\n\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, refuse, 0, host="127.0.0.1"))
        proxy = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        async with opened(environment={"HTTPS_PROXY": proxy}) as running:
            assert await running.turn() == "here"
            assert API not in wanted
            running.write(**{BASE_URL: value})
            await trio.sleep(NOTICED)
            await running.terminal.type("say something")
            await running.terminal.press("enter")
            with trio.fail_after(20):
                while API not in wanted:  # noqa: ASYNC110 - filled by the task beside
                    await trio.sleep(0.02)
        nursery.cancel_scope.cancel()
