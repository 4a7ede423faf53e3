"""C2: a client may leave a stream at any of its chunks."""

from __future__ import annotations

import logging

import pytest
import trio

from server.scripted import ScriptedUpstream, text_stream
from tests.kit.http_client import MemoryClient
from tests.kit.lanes import lane  # noqa: F401 - a fixture
from tests.kit.program import program_in_memory
from tests.kit.promises import Measured

pytestmark = pytest.mark.usefixtures("lane")

ONE = '[[account]]\nname = "a"\napi_key = "key"\n'
STREAM = text_stream("a story in many words", events=20, pause=2.0)
CHUNKS = len(STREAM.parts or ()) // 2
"""A pause after each."""


@pytest.mark.promise("C2")
async def test_a_client_may_leave_at_any_chunk_and_nothing_of_it_stays(
    autojump_clock: object, measured: Measured, caplog: pytest.LogCaptureFixture
) -> None:
    """The upstream hears of it within a second, no actor is restarted, and no error is logged."""
    upstream = ScriptedUpstream(STREAM)
    slowest = 0.0
    with caplog.at_level(logging.WARNING):
        async with program_in_memory(ONE, upstream) as program:
            for chunk in range(CHUNKS):
                client = MemoryClient(await program.connect())
                await client.send("POST", "/v1/messages", b'{"model": "m", "stream": true}')
                answer = await client.receive_head()
                while answer.body.count(b"event: ") <= chunk:
                    assert await client.receive_more(answer)
                began = trio.current_time()
                await client.leave()
                seen = upstream.requests[chunk]
                with trio.fail_after(30):
                    await seen.left.wait()
                slowest = max(slowest, trio.current_time() - began)
                assert seen.outcome == "left", chunk
            await trio.sleep(1)
            status = (await MemoryClient(await program.connect()).get("/status")).json()
            assert program.parts.upstreams("http://api.test").in_use == 0
    assert slowest < 1
    assert isinstance(status, dict)
    assert status["in_flight"] == 0
    assert sum(actor["restarts"] for actor in status["actors"]) == 0
    assert [record.getMessage() for record in caplog.records] == []
    measured("C2", "upstream closed after its client left, slowest (virtual)", slowest, "s", rounds=CHUNKS)  # fmt: skip
