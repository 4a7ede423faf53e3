"""Clients that speak HTTP badly, or not at all, and what must hold when they have gone."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest
import trio

from tests.kit.live import PATIENCE_SECONDS, Live, accounts, serve_live
from tests.kit.wire import Answered, Wire

ANSWER_SECONDS = 8.0
"""Longest wait for an answer: a head that never ends gets its own after five seconds."""


@contextlib.asynccontextmanager
async def serving(state: Path, config: str = "") -> AsyncGenerator[Live, None]:
    """The program with one account, `work`, and a scripted upstream, on real sockets."""
    async with trio.open_nursery() as nursery:
        yield await nursery.start(serve_live, f"{config}\n{accounts('work')}", state)
        nursery.cancel_scope.cancel()


def crashes(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged as an error; a bad client is none."""
    return [
        f"{record.name}: {record.getMessage()} {record.exc_text or ''}"
        for record in caplog.records
        if record.levelno >= logging.ERROR
    ]


async def until(holds: Callable[[], bool]) -> None:
    """Returns when it holds; for what has no event to wait for."""
    with trio.fail_after(PATIENCE_SECONDS):
        while not holds():  # noqa: ASYNC110 - nobody tells when it changes
            await trio.sleep(0.01)


async def wait_until_left_alone(live: Live) -> None:
    """Returns when every connection to the program is closed, and every one of its requests."""
    connections = live.program.program.connections
    await until(lambda: not len(connections) and not live.upstream.active_requests)


async def first_answer(wire: Wire, data: bytes) -> Answered | None:
    """Sends bytes as they are; the answer to them, or None when the connection was just closed."""
    with contextlib.suppress(trio.BrokenResourceError):
        await wire.stream.send_all(data)
    with trio.fail_after(ANSWER_SECONDS):
        try:
            return await wire.answer()
        except AssertionError:
            return None
