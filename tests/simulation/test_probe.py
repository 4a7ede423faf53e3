"""The probe crashed at each of its awaits while it asks, in virtual time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from actors.runtime import Run
from server.scripted import ScriptedUpstream, Window, text_message, unified_headers
from tests.kit.crashes import HANDOVERS, CountedRun, count_awaits, crash_at
from tests.kit.http_client import MemoryClient
from tests.kit.program import EPOCH, program_in_memory, wrapped_actors

CONFIG = """
[probe]
interval = 20
[[account]]
name = "first"
api_key = "key-first"
[[account]]
name = "second"
api_key = "key-second"
"""
SECONDS = 65.0
NEAR = text_message("x").with_headers(
    unified_headers({"5h": Window(utilization=0.95, resets_at=int(EPOCH) + 9000)})
)
POINTS_MAX = 100
STEPPED_OVER = HANDOVERS | {"QuotaProbe.ask"}
"""A fault in the middle of the HTTP library would be one of its own: it leaves a lock taken."""


async def run_with(wrap: Callable[[Run], Run]) -> tuple[int, int, list[str]]:
    """Two minutes of a program without clients: probes, failures told, who crashed."""
    upstream = ScriptedUpstream(NEAR)
    with wrapped_actors({"probe": wrap}):
        async with program_in_memory(CONFIG, upstream) as program:
            await trio.sleep(SECONDS)
            client = MemoryClient(await program.connect())
            status = (await client.get("/status")).json()
    assert isinstance(status, dict)
    for account in status["accounts"]:
        assert account["state"] == "available"
        assert account["counters"]["requests"] == 0
    reading = status["accounts"][0]["quota"]["5h"]
    assert (reading["utilization"], reading["source"]) == (0.95, "probe")
    crashed = [actor["name"] for actor in status["actors"] if actor["restarts"]]
    return upstream.requests_total, status["in_flight"], crashed


@pytest.mark.promise("A1")
async def test_whenever_it_crashes_readings_come_and_no_question_is_put_twice(
    autojump_clock: object,
) -> None:
    counted: list[CountedRun] = []

    def count(run: Run) -> Run:
        counted.append(count_awaits(run, STEPPED_OVER))
        return counted[-1]

    without_fault, in_flight, crashed = await run_with(count)
    assert (in_flight, crashed) == (0, [])
    assert 2 <= without_fault <= SECONDS / 20
    for nth in range(1, POINTS_MAX):
        asked, in_flight, crashed = await run_with(
            lambda run, nth=nth: crash_at(run, nth, STEPPED_OVER)  # type: ignore[misc]
        )
        assert in_flight == 0
        if not crashed:
            assert nth > 6, "the first two rounds have more awaits than that"
            return  # it is past the last one before the stop
        assert crashed == ["probe"]
        assert without_fault - 1 <= asked <= SECONDS / 20
    raise AssertionError(f"more than {POINTS_MAX} awaits in {SECONDS} s")
