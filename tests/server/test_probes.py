"""Probes in the whole program, in virtual time: how many there are, and what they change."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import trio

from server.scripted import (
    Answer,
    ScriptedUpstream,
    Window,
    rate_limited,
    reset_before_head,
    server_error,
    stall_before_head,
    text_message,
    unauthorized,
    unified_headers,
)
from server.scripted.requests import SeenRequest
from tests.kit.http_client import MemoryClient, Received
from tests.kit.program import EPOCH, RunningProgram, program_in_memory
from tests.kit.rounds import rounds

DAY = 86_400.0
IDLE = rounds(quick=1, full=12) * DAY / 12
"""How long the idle programs here run: two hours, in a sweep a day."""
SOON = 1000.0
"""Three intervals: what is to be asked has been asked."""


def pool(*names: str, more: str = "") -> str:
    entries = (f'[[account]]\nname = "{name}"\napi_key = "key-of-{name}"\n' for name in names)
    return "".join(entries) + more


def telling(utilization: float, ends_in: float = 6 * DAY) -> Answer:
    """An answer that says how much of the week is used."""
    windows = {"7d": Window(utilization=utilization, resets_at=int(EPOCH + ends_in))}
    return text_message("x").with_headers(unified_headers(windows))


class Upstream(ScriptedUpstream):
    """Remembers when each request came."""

    def __init__(self, *default: Answer | Callable[[SeenRequest], Answer]) -> None:
        super().__init__(list(default))
        self.times: dict[str, list[float]] = {}

    def arrived(self, seen: SeenRequest) -> None:
        super().arrived(seen)
        if "quota probe" in (seen.header("user-agent") or ""):
            self.times.setdefault(seen.credential or "", []).append(trio.current_time())

    @property
    def probes(self) -> int:
        return sum(map(len, self.times.values()))


async def ask(program: RunningProgram, **headers: str) -> Received:
    client = MemoryClient(await program.connect())
    body = {"model": "claude-x", "max_tokens": 9, "messages": []}
    answer = await client.post("/v1/messages", body, headers)
    await client.leave()
    return answer


async def get(program: RunningProgram, target: str) -> Any:
    client = MemoryClient(await program.connect())
    answer = (await client.get(target)).json()
    await client.leave()
    return answer


async def account(program: RunningProgram, name: str) -> dict[str, Any]:
    found = await get(program, f"/status/accounts/{name}")
    return dict(found)


async def pin(program: RunningProgram, name: str) -> int:
    return (await ask(program, **{"x-account-name": name})).status


TEN = [f"number-{number}" for number in range(10)]


@pytest.mark.sweep
async def test_an_idle_day_of_ten_accounts_costs_one_probe_where_their_quota_is_fine(
    autojump_clock: object,
) -> None:
    upstream = Upstream(telling(0.3))
    async with program_in_memory(pool(*TEN), upstream) as program:
        await trio.sleep(IDLE)
        assert upstream.probes == 1, "the first in line, about which nothing was known"
        assert upstream.script_errors == []
        (seen,) = upstream.requests
        assert seen.credential == "key-of-number-0"
        assert seen.json()["max_tokens"] == 1
        view = await account(program, "number-0")
        assert view["quota"]["7d"]["source"] == "probe"
        assert view["quota"]["7d"]["utilization"] == 0.3
        assert view["counters"]["requests"] == view["counters"]["successes"] == 0
        assert view["last_request_at"] is None
        assert (await get(program, "/status/requests"))["requests"] == []


@pytest.mark.sweep
async def test_the_worst_day_stays_within_the_budget_and_out_of_step(
    autojump_clock: object,
) -> None:
    """All ten close to their thresholds for a whole day, and nobody asks for anything."""
    upstream = Upstream(telling(0.95))
    async with program_in_memory(pool(*TEN), upstream) as program:
        for name in TEN:
            assert await pin(program, name) == 200
        await trio.sleep(IDLE)
    assert len(upstream.times) == len(TEN)
    for times in upstream.times.values():
        assert IDLE / 400 < len(times) <= IDLE / 300
        assert min(later - earlier for earlier, later in pairwise(times)) >= 300
    together = sorted(moment for times in upstream.times.values() for moment in times)
    assert min(later - earlier for earlier, later in pairwise(together)) >= 9


@pytest.mark.sweep
@pytest.mark.parametrize(
    "refusal", [server_error(500), reset_before_head(), text_message("without any reading")]
)
async def test_what_brings_no_reading_is_asked_less_and_less_and_said_once(
    refusal: Answer, autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    upstream = Upstream(refusal)
    with caplog.at_level(logging.WARNING, "actors.probe"):
        async with program_in_memory(pool("first", "second"), upstream) as program:
            await trio.sleep(IDLE)
            assert (await account(program, "first"))["state"] == "available"
    (times,) = upstream.times.values()
    waits = [round(later - earlier) for earlier, later in pairwise(times)]
    assert all(300 <= wait <= 345 for wait in waits[:2])
    assert 600 <= waits[2] <= 675
    assert 1200 <= waits[3] <= 1335
    assert all(3600 <= wait <= 3975 for wait in waits[5:])
    assert len(times) <= 5 + IDLE / 3600
    assert len([record for record in caplog.records if "in a row" in record.message]) == 1


async def test_where_traffic_brings_readings_nobody_is_probed(autojump_clock: object) -> None:
    upstream = Upstream(telling(0.95))
    async with program_in_memory(pool("first", "second"), upstream) as program:
        for _ in range(20):
            assert await pin(program, "first") == await pin(program, "second") == 200
            await trio.sleep(280)
    assert upstream.probes == 0


async def test_a_guessed_bench_ends_when_the_probe_finds_the_account_well(
    autojump_clock: object,
) -> None:
    upstream = Upstream(telling(0.1))
    upstream.script("key-of-only", rate_limited(), then=telling(0.1))
    cooldown = "[cooldown]\nbase = 7200\nmaximum = 7200\n"
    async with program_in_memory(pool("only", more=cooldown), upstream) as program:
        assert (await ask(program)).status == 429
        assert (await account(program, "only"))["state"] == "cooling"
        await trio.sleep(500)
        view = await account(program, "only")
        assert view["state"] == "available", "7,200 s were only a guess"
        assert view["counters"]["requests"] == 1
        assert upstream.probes == 1
        assert (await ask(program)).status == 200


@pytest.mark.parametrize(
    "refusal",
    [
        unauthorized(),
        rate_limited(retry_after=30_000),
        rate_limited(windows={"5h": Window(utilization=1.0, resets_at=int(EPOCH) + 5_000)}),
    ],
)
async def test_an_account_that_the_upstream_itself_barred_is_not_probed_until_then(
    refusal: Answer, autojump_clock: object
) -> None:
    upstream = Upstream(telling(0.1))
    upstream.script("key-of-only", refusal, then=telling(0.1))
    long = "[cooldown]\nauth = 20000\n[probe]\ninterval = 60\n"
    async with program_in_memory(pool("only", "other", more=long), upstream) as program:
        assert await pin(program, "only") != 200
        await trio.sleep(4_500)
        assert "key-of-only" not in upstream.times
        assert (await account(program, "only"))["state"] == "cooling"


async def test_a_spent_window_that_a_probe_finds_saves_the_client_an_attempt(
    autojump_clock: object,
) -> None:
    spent = {"7d": Window(utilization=1.0, resets_at=int(EPOCH + DAY), status="rejected")}
    upstream = Upstream(telling(0.1))
    upstream.script("key-of-first", telling(0.95), rate_limited(windows=spent))
    async with program_in_memory(pool("first", "second"), upstream) as program:
        assert await pin(program, "first") == 200
        await trio.sleep(400)
        assert (await account(program, "first"))["state"] == "cooling"
        answer = await ask(program)
        assert answer.status == 200
        assert answer.header("x-supervisor-account") == "second"
        assert answer.header("x-supervisor-attempts") == "1"
        await trio.sleep(SOON)
        assert len(upstream.times["key-of-first"]) == 1


async def test_it_is_turned_off_and_on_while_running(autojump_clock: object) -> None:
    upstream = Upstream(telling(0.95))
    base = '[upstream]\nbase_url = "http://api.test"\n'
    off = pool("first", "second", more=f"[probe]\nenabled = false\n{base}")
    on = pool("first", "second", more=f"[probe]\ninterval = 50\n{base}")
    async with program_in_memory(off, upstream) as program:
        assert await pin(program, "first") == 200
        await trio.sleep(900)
        assert upstream.probes == 0
        for text, least, most in ((on, 6, 10), (off, 0, 0)):
            program.change(text)
            client = MemoryClient(await program.connect())
            assert (await client.post("/status/reload", b"")).status == 200
            await client.leave()
            before = upstream.probes
            await trio.sleep(500)
            assert least <= upstream.probes - before <= most


async def test_a_probe_that_hangs_holds_up_neither_the_stop_nor_anybody_else(
    autojump_clock: object,
) -> None:
    upstream = Upstream(stall_before_head())
    async with program_in_memory(pool("first", "second"), upstream) as program:
        with trio.fail_after(400):
            await upstream.wait_for(lambda: upstream.probes == 1)
        upstream.script("key-of-first", telling(0.1))
        began = trio.current_time()
        assert (await ask(program)).status == 200
        assert trio.current_time() == began
        program.program.stop()
        await program.program.engine.stopped.wait()
        assert trio.current_time() - began < 1
        actors = program.program.engine.statuses(trio.current_time())
        assert {actor.state for actor in actors} == {"stopped"}


async def test_an_account_removed_while_it_is_asked_is_no_crash(autojump_clock: object) -> None:
    upstream = Upstream(stall_before_head())
    async with program_in_memory(pool("first", "second"), upstream) as program:
        with trio.fail_after(400):
            await upstream.wait_for(lambda: upstream.probes == 1)
        program.change(pool("second", more='[upstream]\nbase_url = "http://api.test"\n'))
        client = MemoryClient(await program.connect())
        assert (await client.post("/status/reload", b"")).status == 200
        await client.leave()
        await trio.sleep(100)
        actors = program.program.engine.statuses(trio.current_time())
        assert [actor.name for actor in actors if actor.restarts] == []


async def test_a_dedicated_key_is_what_asks(autojump_clock: object) -> None:
    upstream = Upstream(telling(0.3))
    more = '[probe]\napi_key = "key-of-the-probe"\nmodel = "claude-tiny"\n'
    async with program_in_memory(pool("first", "second", more=more), upstream) as program:
        await trio.sleep(SOON)
        assert [seen.credential for seen in upstream.requests] == ["key-of-the-probe"]
        assert upstream.requests[0].json()["model"] == "claude-tiny"
        assert (await account(program, "first"))["quota"]["7d"]["utilization"] == 0.3


@pytest.mark.parametrize(("allowed", "count"), [("false", 0), ("true", 1)])
async def test_a_subscription_is_probed_only_where_its_owner_says_so(
    allowed: str, count: int, autojump_clock: object
) -> None:
    tokens = "".join(
        f'[[account]]\nname = "{name}"\ntoken = "sk-ant-oat01-of-{name}"\n' for name in "ab"
    )
    upstream = Upstream(telling(0.3))
    async with program_in_memory(f"{tokens}[probe]\nsubscriptions = {allowed}\n", upstream):
        await trio.sleep(SOON)
        assert upstream.probes == count
