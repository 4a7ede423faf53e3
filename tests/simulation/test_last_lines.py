"""What became of requests that a stop at once cut off, or that had just ended, is written down."""

from __future__ import annotations

import json

import trio

from server.scripted import ScriptedUpstream, text_message, text_stream
from tests.kit.http_client import MemoryClient
from tests.kit.memory_disk import MemoryDisk
from tests.kit.program import RunningProgram, program_in_memory

CONFIG = '[[account]]\nname = "first"\napi_key = "key-first"\n'
ASKED = {"model": "m", "messages": []}


def outcomes(program: RunningProgram) -> list[str]:
    """Of the request log, as it is on the disk."""
    disk = program.parts.disk
    assert isinstance(disk, MemoryDisk)
    written = b"".join(data for path, data in disk.files.items() if "requests-" in path.name)
    return sorted(json.loads(line)["terminal"] for line in written.splitlines())


async def test_a_stop_at_once_still_writes_what_became_of_the_requests(
    autojump_clock: object,
) -> None:
    upstream = ScriptedUpstream()
    upstream.script("key-first", text_stream("hello", events=9, pause=5), then=text_message("hi"))
    async with program_in_memory(CONFIG, upstream) as program, trio.open_nursery() as nursery:
        client = MemoryClient(await program.connect())
        nursery.start_soon(client.post, "/v1/messages", {**ASKED, "stream": True})
        await trio.sleep(8)
        await MemoryClient(await program.connect()).post("/v1/messages", ASKED)
        began = trio.current_time()
        await program.program.stop_at_once()
        await program.program.engine.stopped.wait()
        assert trio.current_time() - began < 1
    assert outcomes(program) == ["client_closed", "complete"]
