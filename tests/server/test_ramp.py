"""A herd that changes its account, end to end in virtual time."""

from __future__ import annotations

import pytest
import trio

from protocol.ramp import RAMP_SECONDS, START
from server.scripted import Answer, ScriptedUpstream, rate_limited, text_message
from server.scripted.requests import SeenRequest
from tests.kit.crashes import crash_on_message
from tests.kit.program import program_in_memory, wrapped_actors
from tests.kit.rounds import rounds
from tests.server.test_relay import lines
from tests.server.test_relay_limits import ask, pool, status

HERD = rounds(quick=80, full=200)
LATENCY = 0.3


class Arrivals:
    """An answer for each that comes, and when each came."""

    def __init__(self, answer: Answer) -> None:
        self.moments: list[float] = []
        self._answer = answer

    def __call__(self, seen: SeenRequest) -> Answer:
        self.moments.append(trio.current_time())
        return self._answer

    def at_once(self, seconds: float) -> int:
        """The most that were in flight in the first `seconds` (shorter than an answer takes)."""
        return sum(moment < self.moments[0] + seconds for moment in self.moments)


def rounds_of_messages() -> range:
    """At which of the dispatcher's messages it crashes."""
    return range(51, 251, 200 // rounds(quick=3, full=100))


async def herd(size: int = HERD) -> tuple[Arrivals, list[float], list[dict[str, object]], object]:
    """All at once, and the first account refuses: arrivals at the second one, how long each took,
    request lines, and what is in flight in the end."""
    second = Arrivals(text_message("hello").after(LATENCY))
    upstream = ScriptedUpstream()
    upstream.script("key-first", rate_limited(retry_after=60).after(0.1))
    upstream.script("key-second", second)
    took: list[float] = []

    async with program_in_memory(pool(2), upstream) as program:

        async def client() -> None:
            began = trio.current_time()
            answer = await ask(program)
            assert answer.status == 200
            took.append(trio.current_time() - began)

        async with trio.open_nursery() as nursery:
            for _ in range(size):
                nursery.start_soon(client)
        left = (await status(program))["in_flight"]
        return second, took, await lines(program), left


@pytest.mark.promise("U6")
@pytest.mark.sweep
@pytest.mark.timeout(300)
async def test_the_second_account_of_a_herd_sees_a_ramp_and_all_are_served(
    autojump_clock: object,
) -> None:
    second, took, newest, in_flight = await herd()
    assert len(took) == len(second.moments) == HERD
    assert second.at_once(0.1) <= 2 * START
    assert second.moments[-1] - second.moments[0] < RAMP_SECONDS
    assert max(took) < 0.1 + LATENCY + RAMP_SECONDS
    assert in_flight == 0
    waited = [line for line in newest if "for the ramp of second" in str(line["reason"])]
    assert len(waited) > HERD / 4
    assert all(float(str(line["ms_queue"])) > 0 for line in waited)


@pytest.mark.promise("U6", control=True)
async def test_without_the_ramp_it_would_be_the_whole_herd(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.desk.RAMP_SECONDS", 0.0)
    second, took, _, _ = await herd(80)
    assert len(took) == 80
    assert second.at_once(0.1) == 80


async def test_a_few_requests_notice_nothing_of_it(autojump_clock: object) -> None:
    second, took, newest, _ = await herd(START)
    assert second.at_once(0.001) == START
    assert max(took) == pytest.approx(0.1 + LATENCY)
    assert not any("ramp" in str(line["reason"]) for line in newest)


async def test_fifty_first_requests_of_a_program_are_all_sent_at_once(
    autojump_clock: object,
) -> None:
    for accounts in (1, 2):
        first = Arrivals(text_message("hello").after(LATENCY))
        upstream = ScriptedUpstream()
        upstream.script("key-first", first)
        async with program_in_memory(pool(accounts), upstream) as program:
            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(ask, program)
            assert (await status(program))["in_flight"] == 0
        assert first.at_once(0.001) == 50


@pytest.mark.sweep
@pytest.mark.parametrize("nth", rounds_of_messages())
async def test_a_crash_of_the_dispatcher_while_they_wait_loses_nobody(
    autojump_clock: object, nth: int
) -> None:
    """Fifty are leased first; then releases, failures and waiting asks come in turns."""
    with wrapped_actors({"dispatcher": lambda run: crash_on_message(run, nth)}):
        _, took, _, in_flight = await herd(50)
    assert len(took) == 50
    assert in_flight == 0
    assert max(took) < 0.1 + LATENCY + RAMP_SECONDS + 1


async def waited_out(accounts: int, size: int) -> tuple[Arrivals, list[int]]:
    """All at once, and every account refuses all of it for a second: who comes back when, and what
    the clients get."""
    back = Arrivals(text_message("hello").after(LATENCY))
    upstream = ScriptedUpstream()
    for name in ("first", "second")[:accounts]:
        refusals = [rate_limited(retry_after=1) for _ in range(size)]
        upstream.script(f"key-{name}", *refusals, then=back)
    got: list[int] = []
    async with program_in_memory(pool(accounts), upstream) as program:

        async def client(number: int) -> None:
            headers = {"x-claude-code-session-id": f"session-{number}"}
            got.append((await ask(program, headers=headers)).status)

        async with trio.open_nursery() as nursery:
            for number in range(size):
                nursery.start_soon(client, number)
        assert (await status(program))["in_flight"] == 0
    return back, got


@pytest.mark.promise("U6")
async def test_who_waited_for_the_only_account_comes_back_bit_by_bit(
    autojump_clock: object,
) -> None:
    back, got = await waited_out(1, 50)
    assert got == [200] * 50
    assert back.at_once(0.1) <= 2 * START
    assert back.moments[-1] - back.moments[0] < RAMP_SECONDS


@pytest.mark.promise("U6", control=True)
async def test_without_the_ramp_all_who_waited_would_be_back_at_once(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.desk.RAMP_SECONDS", 0.0)
    back, got = await waited_out(1, 50)
    assert got == [200] * 50
    assert back.at_once(0.1) == 50
