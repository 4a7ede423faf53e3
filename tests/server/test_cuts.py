"""A stream that its upstream breaks off, at whatever byte: passed on as the break it is."""

from __future__ import annotations

import pytest

from server.scripted import Answer, Cut, Reset, ScriptedUpstream, Send, text_stream
from tests.kit.http_client import MemoryClient
from tests.kit.lanes import lane  # noqa: F401 - a fixture
from tests.kit.program import program_in_memory
from tests.kit.promises import Measured
from tests.kit.rounds import rounds

pytestmark = pytest.mark.usefixtures("lane")

TWO = """
[[account]]
name = "first"
api_key = "key-first"
[[account]]
name = "second"
api_key = "key-second"
"""
STREAM = text_stream("some words that come bit by bit", events=6)
WHOLE = STREAM.whole_body()
FIRST_CONTENT = WHOLE.index(b"content_block_delta")
"""Before it nothing was shown to the client, and another account may answer."""


@pytest.mark.promise("U3")
@pytest.mark.sweep
@pytest.mark.parametrize("end", [Cut(), Reset()], ids=["closed", "reset"])
async def test_a_stream_that_is_cut_at_any_byte_ends_there_and_is_never_begun_again(
    end: Cut | Reset, autojump_clock: object, measured: Measured
) -> None:
    begin = WHOLE.index(b"\n\n", FIRST_CONTENT) + 2
    offsets = range(begin, len(WHOLE), rounds(quick=max(1, len(WHOLE) // 25), full=1))
    upstream = ScriptedUpstream()
    async with program_in_memory(TWO, upstream) as program:
        for offset in offsets:
            cut = Answer(headers=STREAM.headers, parts=(Send(WHOLE[:offset]), end))
            upstream.default(cut)
            before = len(upstream.requests)
            client = MemoryClient(await program.connect())
            received = await client.post("/v1/messages", {"model": "m", "stream": True})
            assert received.status == 200
            assert WHOLE[:offset].startswith(received.body), offset
            assert not received.complete, offset
            if isinstance(end, Cut):
                assert received.body == WHOLE[:offset]
            assert len(upstream.requests) == before + 1, "a replay"
            await client.leave()
    how = type(end).__name__.lower()
    measured("U3", f"offsets with a replay or a wrong byte, {how}", 0, rounds=len(offsets))


@pytest.mark.promise("U2")
async def test_before_the_first_content_a_cut_is_not_the_clients(autojump_clock: object) -> None:
    """There another account answers, and the client gets a whole stream."""
    upstream = ScriptedUpstream()
    cut = Answer(headers=STREAM.headers, parts=(Send(WHOLE[:40]), Cut()))
    upstream.script("key-first", cut)
    upstream.script("key-second", STREAM)
    async with program_in_memory(TWO, upstream) as program:
        client = MemoryClient(await program.connect())
        received = await client.post("/v1/messages", {"model": "m", "stream": True})
    assert (received.complete, received.body) == (True, WHOLE)
