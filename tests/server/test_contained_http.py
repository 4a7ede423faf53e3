"""A request that is cut off while its answer begins."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from server.app_tasks import AppTasks
from server.contained_http import ContainedHTTP


async def nothing() -> None:
    return


@pytest.mark.parametrize("told", ["its head", "its body"])
async def test_who_is_cut_off_in_the_middle_of_an_answer_is_sent_no_other_one(
    autojump_clock: object, told: str
) -> None:
    """Nor the end of the one that began, which would make it look whole."""
    done: list[Event] = []

    async def send(event: Event) -> None:
        done.append(event)
        wanted = 1 if told == "its head" else 2
        if sum(isinstance(one, RawData) for one in done) == wanted:
            await trio.sleep_forever()  # a client that takes nothing

    async def app(scope: Any, receive: Any, send: Any, *_: object) -> None:
        with trio.move_on_after(60):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"a part", "more_body": True})

    async with AppTasks(nothing) as tasks:
        protocol = ContainedHTTP(
            app, Config(), WorkerContext(None), tasks, ConnectionState({}), False, None, None, send
        )  # fmt: skip
        await protocol.handle(RawData(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"))
    written = b"".join(one.data for one in done if isinstance(one, RawData))
    assert written.count(b"HTTP/1.1 ") == 1
    assert b"0\r\n\r\n" not in written
    assert isinstance(done[-1], Closed)
