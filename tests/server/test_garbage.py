"""Nothing of a connection waits for the collector, whose turns are rare (`supervisor/worker.py`)."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Generator
from pathlib import Path

import pytest

from server.connections import Connections
from server.scripted import Answer, Pause, Send
from tests.kit.raw_client import serving, until


@pytest.fixture
def no_collector() -> Generator[None, None, None]:
    gc.disable()
    yield
    gc.enable()


def only_one(connections: Connections) -> weakref.ref[object]:
    (served,) = connections._live.values()
    return weakref.ref(served)


@pytest.mark.parametrize("left", ["after its answer", "in its answer"])
async def test_a_connection_that_has_ended_is_freed_without_the_collector(
    tmp_path: Path, left: str, no_collector: None
) -> None:
    async with serving(tmp_path) as live:
        connections = live.program.program.connections
        await until(lambda: not len(connections))
        if left == "in its answer":
            live.upstream.default(Answer(parts=(Send(b"the first of it"), Pause(60))))
        async with await live.connect() as wire:
            await wire.send("POST", "/v1/messages", body=b"{}")
            await live.upstream.wait_for_requests(1)
            if left == "after its answer":
                await wire.answer()
            freed = only_one(connections)
        await until(lambda: freed() is None)
