"""Our clock is wrong by hours: nobody rests for longer than he must, and nobody is hammered."""

from __future__ import annotations

import email.utils

import pytest
import trio

from server.scripted import Answer, ScriptedUpstream, Window, rate_limited, text_message
from tests.kit.http_client import MemoryClient
from tests.kit.program import EPOCH, RunningProgram, program_in_memory
from tests.kit.promises import Measured

HOUR = 3600.0
SPENT_SECONDS = 300.0
ONE = '[[account]]\nname = "only"\napi_key = "key"\n[routing]\nmax_wait = 0\n'
BODY = {"model": "m", "max_tokens": 9, "messages": []}


class Upstream:
    """Its clock is right: `EPOCH` when it begins. Spent for the first five minutes."""

    def __init__(self, *, dated: bool = True) -> None:
        self._dated = dated
        self.asked: list[float] = []
        self.scripted = ScriptedUpstream(self.answer)

    def answer(self, seen: object) -> Answer:
        now = trio.current_time() - self.began
        self.asked.append(now)
        date = {"date": email.utils.formatdate(EPOCH + now, usegmt=True)} if self._dated else {}
        if now >= SPENT_SECONDS:
            return text_message("well").with_headers(date)
        window = Window(utilization=1.0, resets_at=int(EPOCH + SPENT_SECONDS), status="rejected")
        return rate_limited(windows={"5h": window}).with_headers(date)


async def told(upstream: Upstream, skew: float) -> list[int]:
    """Statuses of twelve requests, fifty seconds apart, with our clock `skew` ahead."""
    upstream.began = began = trio.current_time()

    def wall() -> float:
        return EPOCH + skew + trio.current_time() - began

    async with program_in_memory(ONE, upstream.scripted, wall_clock=wall) as program:
        return [await one(program) for _ in range(12)]


async def one(program: RunningProgram) -> int:
    client = MemoryClient(await program.connect())
    answer = await client.post("/v1/messages", BODY)
    await client.leave()
    await trio.sleep(50)
    return answer.status


@pytest.mark.promise("T1")
@pytest.mark.parametrize("skew", [-3 * HOUR, 30 * HOUR])
async def test_a_spent_window_is_asked_once_and_serves_when_it_is_reset(
    skew: float, autojump_clock: object, measured: Measured
) -> None:
    upstream = Upstream()
    statuses = await told(upstream, skew)
    within = [at for at in upstream.asked if at < SPENT_SECONDS]
    measured("T1", f"asked before its reset, our clock off by {skew / HOUR:+.0f} h", len(within))
    assert len(within) == 1, "told once, kept to"
    assert statuses[:6] == [429] * 6
    assert statuses[7:] == [200] * 5, "it is over when it is over"


@pytest.mark.promise("T1", control=True)
async def test_without_a_date_a_clock_that_is_behind_keeps_it_out_for_hours(
    autojump_clock: object,
) -> None:
    assert set(await told(Upstream(dated=False), -3 * HOUR)) == {429}
    fast = Upstream(dated=False)
    await told(fast, 3 * HOUR)
    assert len([at for at in fast.asked if at < SPENT_SECONDS]) == 6, (
        "and one ahead asks again and again"
    )
