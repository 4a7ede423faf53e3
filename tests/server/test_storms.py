"""When every answer is an error: how often an upstream is asked, and how soon it is over."""

from __future__ import annotations

import random

import pytest
import trio

from server.scripted import Answer, ScriptedUpstream, overloaded, server_error, text_message
from tests.kit.http_client import MemoryClient
from tests.kit.lanes import lane  # noqa: F401 - a fixture
from tests.kit.program import RunningProgram, program_in_memory
from tests.kit.promises import Measured

pytestmark = pytest.mark.usefixtures("lane")

NAMES = ("a", "b", "c", "d")
FOUR = "".join(f'[[account]]\nname = "{name}"\napi_key = "key-{name}"\n' for name in NAMES)
REQUESTS = 40
WELL = text_message("well")


async def statuses(program: RunningProgram, count: int) -> list[int]:
    found: list[int] = []

    async def one() -> None:
        client = MemoryClient(await program.connect())
        answer = await client.post("/v1/messages", {"model": "m", "messages": []})
        assert answer.complete
        found.append(answer.status)
        await client.leave()

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(one)
            await trio.sleep(0.05)
    return found


@pytest.mark.promise("U7")
@pytest.mark.parametrize(
    ("storm", "most"),
    [(server_error(500), len(NAMES)), (server_error(503), len(NAMES)), (overloaded(), 3)],
    ids=["500", "503", "529"],
)
async def test_in_a_storm_a_request_asks_each_account_once_and_an_overloaded_one_three_times(
    storm: Answer, most: int, autojump_clock: object, measured: Measured
) -> None:
    """And nobody is benched for what is the provider's: when it is over, it is over at once."""
    upstream = ScriptedUpstream(storm)
    async with program_in_memory(FOUR, upstream) as program:
        assert set(await statuses(program, REQUESTS)) == {storm.status}
        sent = len(upstream.requests)
        assert REQUESTS < sent <= most * REQUESTS
        upstream.default(WELL)
        assert await statuses(program, 4) == [200] * 4
        assert len(upstream.requests) == sent + 4
    measured("U7", f"sends a request, all {storm.status}", sent / REQUESTS, rounds=REQUESTS)


@pytest.mark.promise("U7")
async def test_when_every_other_answer_is_an_error_nearly_all_requests_succeed(
    autojump_clock: object, measured: Measured
) -> None:
    chance = random.Random(11)

    def half(seen: object) -> Answer:
        return server_error(500) if chance.random() < 0.5 else WELL

    upstream = ScriptedUpstream(half)
    async with program_in_memory(FOUR, upstream) as program:
        found = await statuses(program, REQUESTS * 5)
    served = found.count(200)
    # One in sixteen meets four errors in a row.
    assert served >= len(found) * 0.85
    measured("U7", "served of 100, half of the answers 500", 100 * served / len(found), "%")
    sends = len(upstream.requests) / len(found)
    assert sends < 2.2
    measured("U7", "sends a request, half of the answers 500", sends, rounds=len(found))
