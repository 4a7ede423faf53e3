"""Few file descriptors: what is open goes on, what is too much waits or is refused."""

from __future__ import annotations

import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.e2e.conftest import Upstream
from tests.e2e.conversation import Stream, ask, held_stream
from tests.kit.live import accounts
from tests.kit.process import Supervised, listening, pointed_at, write_config
from tests.kit.promises import Measured
from tests.kit.rounds import rounds

if sys.platform == "win32":
    pytest.skip("there is no such limit", allow_module_level=True)
import resource

FEW = 64
STREAMS = 15
KNOCKING = 200


def limited(soft: int, hard: int) -> dict[str, Any]:
    """For `listening`: the process has this limit of open files."""
    return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))}


async def knock(process: Supervised, stack: AsyncExitStack) -> list[trio.SocketStream]:
    """Many connections at once, each with a question."""
    knocking: list[trio.SocketStream] = []
    for _ in range(KNOCKING):
        one = await trio.open_tcp_stream("127.0.0.1", process.port)
        stack.push_async_callback(trio.aclose_forcefully, one)
        knocking.append(one)
    for one in knocking:
        await one.send_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return knocking


async def answers(knocking: list[trio.SocketStream]) -> list[bytes]:
    """The beginning of what each got; nothing, for who was shown the door or has to wait."""
    answered: list[bytes] = []
    for one in knocking:
        with trio.move_on_after(5):
            try:
                answered.append(bytes(await one.receive_some(12)))
            except trio.BrokenResourceError:
                answered.append(b"")
    return answered


async def test_with_enough_descriptors_all_are_answered(
    upstream: Upstream, config: Path, state: Path
) -> None:
    """The control: what is scarce in the next test is descriptors."""
    write_config(config, pointed_at(upstream.url, accounts("a"), drain=0))
    async with (
        listening(config, state=state, **limited(FEW, 1024)) as process,
        AsyncExitStack() as stack,
    ):
        assert await answers(await knock(process, stack)) == [b"HTTP/1.1 200"] * KNOCKING


@pytest.mark.promise("C8")
@pytest.mark.sweep
async def test_with_few_descriptors_streams_end_well_and_the_door_opens_again(
    upstream: Upstream, config: Path, state: Path, measured: Measured
) -> None:
    """Within a second, on a machine that does nothing else (a sweep)."""
    upstream.default(held_stream())
    write_config(config, pointed_at(upstream.url, accounts("a"), drain=30))
    async with (
        listening(config, state=state, **limited(FEW, FEW)) as process,
        AsyncExitStack() as stack,
    ):
        streams = [
            await stack.enter_async_context(await Stream.begun(process.url)) for _ in range(STREAMS)
        ]
        knocking = await knock(process, stack)
        answered = await answers(knocking)
        assert set(answered) <= {b"HTTP/1.1 200", b"HTTP/1.1 503", b""}
        assert answered.count(b"HTTP/1.1 200") < KNOCKING, "there was not room for all"
        assert process.process.returncode is None
        upstream.gate("end").open()
        for stream in streams:
            assert await stream.ended_well()
        for one in knocking:
            await trio.aclose_forcefully(one)
        began = trio.current_time()
        with trio.fail_after(10):
            while (await ask(process)).status != 200:  # noqa: ASYNC110 - of another process
                await trio.sleep(0.02)
        took = trio.current_time() - began
        assert took < rounds(quick=10, full=1)
        measured("C8", "accepts again after descriptors are free", took, "s")
        assert "crashed" not in process.stderr
        assert "Traceback" not in process.stderr
        process.signal(signal.SIGTERM)
        assert await process.ends() == 0
        written = "".join(path.read_text() for path in state.glob("logs/requests-*.jsonl"))
        assert written.count("\n") >= STREAMS, "and the request log was written all the while"


@pytest.mark.promise("C8")
async def test_the_soft_limit_is_raised_to_the_hard_one(
    upstream: Upstream, config: Path, state: Path
) -> None:
    write_config(config, pointed_at(upstream.url, accounts("a")))
    async with listening(config, state=state, **limited(FEW, 3 * FEW)) as process:
        if not hasattr(resource, "prlimit"):
            pytest.skip("this system does not tell the limits of another process")
        worker = (await process.status())["worker_pid"]
        now = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        assert now == (3 * FEW, 3 * FEW)
