"""Taking in a body: whatever happens, what was reserved for it comes back."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncGenerator

import pytest
import trio

from protocol.request import RequestHead
from server.budget import BodyBudget
from server.exchange import ClientGone
from server.intake import BODY_IDLE_SECONDS, Body, Refused


class Uploading:
    """An `Exchange` of which only the body is of interest."""

    def __init__(self, chunks: list[bytes], end: Exception | None = None, pause: float = 0) -> None:
        self.head = RequestHead("POST", b"/v1/messages", ())
        self._chunks = chunks
        self._end = end
        self._pause = pause

    async def body(self) -> AsyncGenerator[bytes, None]:
        for chunk in self._chunks:
            await trio.sleep(self._pause)
            yield chunk
        if self._end is not None:
            raise self._end

    async def gone(self) -> None: ...

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None: ...

    async def send(self, chunk: bytes) -> None: ...

    async def finish(self) -> None: ...


async def test_a_body_is_taken_in_whole_and_held_until_it_is_released() -> None:
    budget = BodyBudget(lambda: 100)
    body = Body(budget)
    await body.read(Uploading([b"he", b"", b"llo"]), 5)
    assert (body.content, budget.held) == (b"hello", 5)
    body.release()
    body.release()
    assert (body.content, budget.held) == (b"", 0)


@pytest.mark.promise("C4")
@pytest.mark.parametrize(
    ("uploading", "status"),
    [
        (Uploading([b"x" * 50, b"x" * 51]), 413),
        (Uploading([b"x" * 50], pause=BODY_IDLE_SECONDS + 1), 408),
    ],
)
async def test_a_refused_body_gives_back_what_it_held_at_once(
    uploading: Uploading, status: int, autojump_clock: object
) -> None:
    budget = BodyBudget(lambda: 1000)
    body = Body(budget)
    with pytest.raises(Refused) as refused:
        await body.read(uploading, 100)
    assert (refused.value.problem.status, budget.held) == (status, 0)


async def test_past_the_common_bound_it_is_refused_for_a_moment() -> None:
    budget = BodyBudget(lambda: 60)
    assert budget.take(20)
    with pytest.raises(Refused) as refused:
        await Body(budget).read(Uploading([b"x" * 30, b"x" * 30]), 100)
    assert (refused.value.problem.status, refused.value.problem.retry_after) == (503, 1)
    assert budget.held == 20


async def test_a_client_that_leaves_in_its_body_leaves_nothing() -> None:
    budget = BodyBudget(lambda: 100)
    with pytest.raises(ClientGone):
        await Body(budget).read(Uploading([b"x" * 10], ClientGone()), 100)
    assert budget.held == 0


async def test_a_cancelled_intake_leaves_nothing(autojump_clock: object) -> None:
    budget = BodyBudget(lambda: 100)
    with trio.move_on_after(5) as scope:
        await Body(budget).read(Uploading([b"x"] * 100, pause=1), 100)
    assert scope.cancelled_caught
    assert budget.held == 0


@pytest.mark.promise("C4")
async def test_a_body_in_tiny_chunks_takes_no_more_memory_than_its_size() -> None:
    size = 100_000
    body = Body(BodyBudget(lambda: size))
    chunks = [b"x"] * size
    tracemalloc.start()
    try:
        await body.read(Uploading(chunks), size)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(body.content) == size
    assert peak < 4.5 * size, "a list of the chunks would need eight times it and more"
