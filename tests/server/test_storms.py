"""When answers are errors: how often an upstream is asked, who is served, how soon it is over."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import Any

import pytest
import trio

from protocol import repeats
from protocol.repeats import CALM_SECONDS, IN_HAND, PRICE
from server.scripted import (
    Answer,
    ScriptedUpstream,
    overloaded,
    rate_limited,
    reset_before_head,
    server_error,
    text_message,
)
from tests.kit.http_client import MemoryClient
from tests.kit.lanes import lane  # noqa: F401 - a fixture
from tests.kit.program import RunningProgram, program_in_memory
from tests.kit.promises import Measured
from tests.kit.rounds import rounds

pytestmark = [pytest.mark.usefixtures("lane"), pytest.mark.timeout(rounds(quick=60, full=900))]

NAMES = ("a", "b", "c", "d")
FOUR = "".join(f'[[account]]\nname = "{name}"\napi_key = "key-{name}"\n' for name in NAMES)
WELL = text_message("well")


class Outcomes:
    """What became of some requests, the upstream's own count of them beside it."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.attempts: list[int] = []

    @property
    def served(self) -> int:
        return self.statuses.count(200)

    @property
    def repeats(self) -> int:
        return sum(self.attempts) - len(self.attempts)

    @property
    def repeats_served(self) -> int:
        pairs = zip(self.statuses, self.attempts, strict=True)
        return sum(status == 200 and attempts > 1 for status, attempts in pairs)


async def outcomes(program: RunningProgram, count: int, apart: float = 0.05) -> Outcomes:
    """Of `count` requests, one each `apart` seconds."""
    found = Outcomes()

    async def one() -> None:
        client = MemoryClient(await program.connect())
        answer = await client.post("/v1/messages", {"model": "m", "messages": []})
        assert answer.complete
        found.statuses.append(answer.status)
        found.attempts.append(int(answer.header("x-supervisor-attempts") or 1))
        await client.leave()

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(one)
            await trio.sleep(apart)
    return found


async def post(program: RunningProgram, path: str) -> int:
    client = MemoryClient(await program.connect())
    answer = await client.post(path, {})
    await client.leave()
    return answer.status


async def circuits(program: RunningProgram) -> list[tuple[str, str]]:
    client = MemoryClient(await program.connect())
    document: Any = (await client.get("/status")).json()
    await client.leave()
    return [
        (one["target"], one["reason"])
        for one in document["cooldowns"]
        if one["scope"] == "provider"
    ]


def failing(share: float) -> Callable[[object], Answer]:
    chance = random.Random(11)
    return lambda seen: server_error(500) if chance.random() < share else WELL


@pytest.mark.sweep
@pytest.mark.promise("U7", "U2")
@pytest.mark.parametrize(
    ("name", "storm"),
    [
        ("500", server_error(500)),
        ("503", server_error(503)),
        ("529", overloaded()),
        ("resets", reset_before_head()),
    ],
    ids=["500", "503", "529", "resets"],
)
async def test_where_everything_fails_a_request_is_sent_little_more_than_once(
    name: str, storm: Answer, autojump_clock: object, measured: Measured
) -> None:
    """And nobody is benched for what is the provider's: when it is over, it is over at once."""
    count = rounds(40, 1000)
    upstream = ScriptedUpstream(storm)
    async with program_in_memory(FOUR, upstream) as program:
        found = await outcomes(program, count)
        assert found.served == 0
        more = len(upstream.requests) - count
        assert 0 < more <= count / 5 + IN_HAND / PRICE
        assert more <= count / 5 + 3 or count < 1000
        upstream.default(WELL)
        assert (await outcomes(program, 4)).statuses == [200] * 4
        assert len(upstream.requests) == count + more + 4
    measured("U7", f"repeats, all answers {name}", more, rounds=count)


@pytest.mark.promise("U7", control=True)
async def test_without_budget_and_circuit_each_request_asks_everybody(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeats, "asked", lambda known, firsts: (known, True))
    upstream = ScriptedUpstream(server_error(500))
    async with program_in_memory(FOUR, upstream) as program:
        await outcomes(program, 10)
    assert len(upstream.requests) == 40


@pytest.mark.sweep
@pytest.mark.promise("U7", "U2")
@pytest.mark.parametrize(("percent", "least"), [(20, 0.98), (50, 0.6)])
async def test_what_fails_now_and_then_is_repeated_as_far_as_the_budget_goes(
    percent: int, least: float, autojump_clock: object, measured: Measured
) -> None:
    """A repeat that was served costs nothing; of the others there are few."""
    count = rounds(100, 1000)
    upstream = ScriptedUpstream(failing(percent / 100))
    async with program_in_memory(FOUR, upstream) as program:
        found = await outcomes(program, count)
    assert len(upstream.requests) == sum(found.attempts)
    assert found.served >= least * count
    unserved = found.repeats - found.repeats_served
    assert unserved <= count / 5 + IN_HAND / PRICE
    of = f"{percent} % of the answers 500"
    measured("U7", f"served, {of}", 100 * found.served / count, "%", rounds=count)
    measured("U7", f"repeats that were served, {of}", found.repeats_served, rounds=count)
    measured("U7", f"repeats that were not served, {of}", unserved, rounds=count)


@pytest.mark.sweep
@pytest.mark.promise("U2")
async def test_where_another_account_works_nobody_goes_without_for_the_first_ones_faults(
    autojump_clock: object, measured: Measured
) -> None:
    """However long it goes on: a repeat that is served is given back."""
    count = rounds(100, 1000)
    upstream = ScriptedUpstream(WELL)
    upstream.script("key-a", then=reset_before_head())
    async with program_in_memory(FOUR, upstream) as program:
        found = await outcomes(program, count)
    assert found.served == count
    assert set(found.attempts) == {2}
    measured("U2", "served where the first of four accounts always breaks off", found.served, rounds=count)  # fmt: skip


async def test_limits_of_accounts_use_up_no_repeats(autojump_clock: object) -> None:
    """A 429 sends a request to another account, which is no repeat, in a storm as before it."""
    upstream = ScriptedUpstream(WELL)
    for name in NAMES[:3]:
        upstream.script(f"key-{name}", then=rate_limited(retry_after=1))
    async with program_in_memory(FOUR, upstream) as program:
        assert (await outcomes(program, 100, apart=0.5)).served == 100
        upstream.script("key-d", server_error(500), then=WELL)
        upstream.script("key-c", then=WELL)
        assert (await outcomes(program, 5, apart=2)).served == 5


async def test_an_open_circuit_is_told_once_shown_and_closed_by_the_first_good_answer(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    upstream = ScriptedUpstream(server_error(500))
    with caplog.at_level(logging.WARNING, "server.repeats"):
        async with program_in_memory(FOUR, upstream) as program:
            assert await circuits(program) == []
            assert max((await outcomes(program, 20)).attempts) == 4
            assert await circuits(program) == [("api.test", "upstream_faults")]
            assert set((await outcomes(program, 5)).attempts) == {1}
            upstream.default(WELL)
            await outcomes(program, 1)
            assert await circuits(program) == []
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "api.test fails whoever asks (server_error)" in said[0]
    assert "api.test answers again" in said[1]


async def test_who_fails_and_answers_in_turn_does_not_fill_the_log(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    upstream = ScriptedUpstream(failing(0.93))
    with caplog.at_level(logging.WARNING, "server.repeats"):
        async with program_in_memory(FOUR, upstream) as program:
            await outcomes(program, 200, apart=0.3)
            upstream.default(WELL)
            await outcomes(program, 1)
    said = [record.getMessage() for record in caplog.records]
    assert 2 <= len(said) <= 4, "once a minute"
    assert "answers again" in said[-1], "the last word is true"


async def test_the_storm_after_a_reset_is_told_like_any_other(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    """The owner said that it is well, and so it was: what comes next is another storm."""
    upstream = ScriptedUpstream(server_error(500))
    with caplog.at_level(logging.WARNING, "server.repeats"):
        async with program_in_memory(FOUR, upstream) as program:
            for _ in range(2):
                upstream.default(server_error(500))
                await outcomes(program, 20)
                await post(program, "/status/accounts/a/reset")
                upstream.default(WELL)
                await outcomes(program, 1)
                await trio.sleep(120)
    said = [record.getMessage() for record in caplog.records]
    assert ["fails whoever asks" in words for words in said] == [True, True]


async def test_a_reset_or_a_calm_closes_the_circuit_and_repeats_begin_anew(
    autojump_clock: object,
) -> None:
    upstream = ScriptedUpstream(server_error(500))
    async with program_in_memory(FOUR, upstream) as program:
        await outcomes(program, 20)
        assert await post(program, "/status/accounts/a/reset") == 200
        assert await circuits(program) == []
        assert (await outcomes(program, 1)).attempts == [4]
        await outcomes(program, 20)
        await trio.sleep(CALM_SECONDS)
        assert await circuits(program) == []
        assert (await outcomes(program, 1)).attempts == [4]


async def test_an_upstream_that_fails_does_not_keep_a_request_from_another_one(
    autojump_clock: object,
) -> None:
    """Its accounts are passed over; one behind another base URL is another route."""
    other = '[[account]]\nname = "e"\napi_key = "key-e"\nbase_url = "http://other.test"\n'
    upstream = ScriptedUpstream(server_error(500))
    upstream.script("key-e", then=WELL)
    async with program_in_memory(FOUR + other, upstream) as program:
        found = await outcomes(program, 40)
        assert found.served == 40
        assert found.attempts[-10:] == [2] * 10, "one at the upstream that fails, one at the other"
