"""The front end crashed at each of its awaits, over real sockets, while clients come and stream."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio

from actors.runtime import Context, Run
from server.scripted import ScriptedUpstream, text_stream
from tests.kit.crashes import CountedRun, InjectedCrash, count_awaits, crash_at
from tests.kit.http_client import MemoryClient, Received
from tests.kit.program import RunningProgram, program_over_tcp, wrapped_actors

STREAM = text_stream("hello", events=5, pause=0.05)
REQUESTS = 6


async def connect(program: RunningProgram) -> MemoryClient:
    """A client's real connection; while nobody accepts, the kernel lets it wait."""
    address = urlsplit(program.url)
    assert address.hostname is not None
    assert address.port is not None
    return MemoryClient(await trio.open_tcp_stream(address.hostname, address.port))


async def one(program: RunningProgram, answers: list[Received]) -> None:
    """One streamed request on a connection of its own."""
    client = await connect(program)
    answers.append(await client.post("/v1/messages", {"model": "m", "stream": True}))
    await client.leave()


async def run_with(state: Path, wrap: Callable[[Run], Run]) -> list[dict[str, object]]:
    """A program whose front end runs wrapped, and six clients; gives back its actors' status."""
    upstream = ScriptedUpstream()
    upstream.default(STREAM)
    answers: list[Received] = []
    async with trio.open_nursery() as serving:
        url = await serving.start(upstream.serve_tcp)
        config = f'[upstream]\nbase_url = "{url}"\n[[account]]\nname = "a"\napi_key = "k"\n'
        with wrapped_actors({"front-end": wrap}):
            async with program_over_tcp(config, state) as program:
                async with trio.open_nursery() as nursery:
                    for _ in range(REQUESTS):
                        nursery.start_soon(one, program, answers)
                client = await connect(program)
                status = (await client.get("/status/actors")).json()
                await client.leave()
        serving.cancel_scope.cancel()
    assert [(answer.status, answer.complete) for answer in answers] == [(200, True)] * REQUESTS
    assert all(answer.body == STREAM.whole_body() for answer in answers)
    assert isinstance(status, dict)
    actors: list[dict[str, object]] = status["actors"]
    return actors


@pytest.mark.promise("A1")
async def test_no_client_is_refused_or_cut_when_the_acceptor_crashes_at_any_await(
    tmp_path: Path,
) -> None:
    """The socket outlives the acceptor, and so do the connections."""
    counted: list[CountedRun] = []

    def count(run: Run) -> Run:
        counted.append(count_awaits(run))
        return counted[-1]

    await run_with(tmp_path, count)
    for nth in range(1, len(counted[0].points) + 1):
        actors = await run_with(tmp_path, lambda run, nth=nth: crash_at(run, nth))  # type: ignore[misc]
        restarts = {actor["name"]: actor["restarts"] for actor in actors}
        assert {name for name, count in restarts.items() if count} <= {"front-end"}


@pytest.mark.promise("A1")
async def test_streams_go_on_while_the_acceptor_is_down(tmp_path: Path) -> None:
    """It crashes right after it took the first connections; their streams end whole."""

    def crashing(run: Run) -> Run:
        async def wrapped(context: Context[None, None]) -> None:
            if context.incarnation > 1:
                await run(context)
                return
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run, context)
                await trio.sleep(0.1)
                raise InjectedCrash

        return wrapped

    actors = await run_with(tmp_path, crashing)
    (front_end,) = [actor for actor in actors if actor["name"] == "front-end"]
    assert front_end["restarts"] == 1
