"""A machine that slept: what rested meanwhile has rested, and what was due is due."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable

import pytest
import trio
import trio.lowlevel

from server.scripted import (
    Answer,
    ScriptedUpstream,
    SeenRequest,
    Window,
    rate_limited,
    text_message,
)
from supervisor.elapsed_clock import ElapsedClock, counting_sleep
from tests.kit.http_client import MemoryClient
from tests.kit.program import EPOCH, RunningProgram, program_in_memory

HOUR = 3600.0
ONE = '[[account]]\nname = "only"\napi_key = "key"\n[routing]\nmax_wait = 0\n'


class Machine:
    """Sleeps without anybody's noticing; only its clocks tell."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self.slept = 0.0

    def awake(self) -> float:
        """As trio's own clock: it stands still in a sleep."""
        return time.perf_counter()

    def elapsed(self) -> float:
        """As `counting_sleep`."""
        return time.perf_counter() + self.slept

    def wall(self) -> float:
        return EPOCH + time.perf_counter() - self._began + self.slept

    def limited_until(self, end: float) -> Callable[[SeenRequest], Answer]:
        """An upstream whose only window is used up until `end` (epoch seconds)."""

        def answer(seen: SeenRequest) -> Answer:
            date = {"date": email.utils.formatdate(self.wall(), usegmt=True)}
            if self.wall() >= end:
                return text_message("well").with_headers(date)
            window = Window(utilization=1.0, resets_at=int(end), status="rejected")
            return rate_limited(windows={"5h": window}).with_headers(date)

        return answer


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def clock(machine: Machine) -> ElapsedClock:
    """trio runs this test by it."""
    return ElapsedClock(machine.elapsed)


@pytest.fixture
def clock_that_stands_still(machine: Machine) -> ElapsedClock:
    return ElapsedClock(machine.awake)


async def ask(program: RunningProgram) -> int:
    client = MemoryClient(await program.connect())
    answer = await client.post("/v1/messages", {"model": "m", "max_tokens": 9, "messages": []})
    return answer.status


async def before_and_after_a_night(machine: Machine) -> tuple[int, int]:
    upstream = ScriptedUpstream(machine.limited_until(EPOCH + 4 * HOUR))
    async with program_in_memory(ONE, upstream, wall_clock=machine.wall) as program:
        before = await ask(program)
        machine.slept = 8 * HOUR
        return before, await ask(program)


@pytest.mark.promise("T1")
async def test_an_account_whose_window_ended_in_a_sleep_serves_at_once(
    machine: Machine, clock: ElapsedClock
) -> None:
    assert await before_and_after_a_night(machine) == (429, 200)


async def test_by_a_clock_that_stands_still_it_would_go_on_resting(
    machine: Machine, clock_that_stands_still: ElapsedClock
) -> None:
    """The control."""
    assert await before_and_after_a_night(machine) == (429, 429)


async def test_what_was_due_in_a_sleep_is_due_when_it_ends(
    machine: Machine, clock: ElapsedClock
) -> None:
    began = trio.current_time()
    with trio.move_on_after(HOUR) as patience:
        machine.slept = 2 * HOUR
        await trio.lowlevel.checkpoint()  # whatever runs next
        await trio.lowlevel.checkpoint()
    assert patience.cancelled_caught
    assert trio.current_time() - began == pytest.approx(2 * HOUR, abs=60)


def test_this_systems_clock_goes_on_like_any_other() -> None:
    seconds = counting_sleep()
    first, began = seconds(), time.perf_counter()
    while time.perf_counter() - began < 0.01:
        pass
    assert 0.005 < seconds() - first < 5


def test_two_runs_have_nothing_in_common() -> None:
    one, other = ElapsedClock(lambda: 0.0), ElapsedClock(lambda: 0.0)
    assert one.current_time() != other.current_time()
    assert one.deadline_to_sleep_time(one.current_time() + 5) == pytest.approx(5)
