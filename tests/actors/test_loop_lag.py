"""How late the event loop is."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from actors.loop_lag import INTERVAL, KEPT, Lag, LoopLagActor
from tests.actors.living import living


async def test_before_the_first_look_there_are_no_figures(autojump_clock: MockClock) -> None:
    assert LoopLagActor().lag() == Lag(0.0, 0.0)


async def test_a_loop_on_time_has_no_lag(autojump_clock: MockClock) -> None:
    actor = LoopLagActor()
    async with living(actor.run):
        await trio.sleep(30)
    assert actor.lag().p50 == pytest.approx(0.0, abs=1e-6)
    assert actor.lag().p99 == pytest.approx(0.0, abs=1e-6)


async def test_what_holds_up_the_loop_is_seen(mock_clock: MockClock) -> None:
    """A hundred looks on time; then one part blocks for 2 s, twice."""
    actor = LoopLagActor()
    async with living(actor.run):
        for seconds in [INTERVAL] * 100 + [2.0 + INTERVAL] * 2:
            mock_clock.jump(seconds)
            await trio.testing.wait_all_tasks_blocked()
        lag = actor.lag()
    assert lag.p50 == pytest.approx(0.0, abs=1e-6)
    assert lag.p99 == pytest.approx(2.0, abs=0.01)


async def test_a_minute_later_it_is_forgotten(mock_clock: MockClock) -> None:
    actor = LoopLagActor()
    async with living(actor.run):
        for seconds in [9.0] + [INTERVAL] * KEPT:
            mock_clock.jump(seconds)
            await trio.testing.wait_all_tasks_blocked()
        assert actor.lag().p99 == pytest.approx(0.0, abs=1e-6)


async def test_it_ends_at_once_when_the_program_stops(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    async with living(LoopLagActor().run):
        pass
    assert trio.current_time() - began < INTERVAL
