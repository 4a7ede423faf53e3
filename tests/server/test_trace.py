"""What `GET /status/requests/ID` tells of requests that met something on their way."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from protocol.explanation import STEPS_MAX
from protocol.leases import Lease
from server.scripted import (
    ScriptedUpstream,
    Window,
    overloaded,
    rate_limited,
    text_message,
    text_stream,
)
from server.trace import Trace
from tests.kit.http_client import MemoryClient
from tests.kit.live import accounts
from tests.kit.program import EPOCH, RunningProgram, program_in_memory

TWO = accounts("a", "b")
OK = text_message("hello")
BODY = {"model": "claude-x", "max_tokens": 9, "messages": []}


async def ask(program: RunningProgram, name: str, **body: object) -> int:
    client = MemoryClient(await program.connect())
    answered = await client.post("/v1/messages", {**BODY, **body}, {"x-request-id": name})
    return answered.status


async def explanation(program: RunningProgram, name: str) -> dict[str, Any]:
    answered = await MemoryClient(await program.connect()).get(f"/status/requests/{name}")
    assert answered.status == 200, answered
    document = answered.json()
    assert isinstance(document, dict)
    assert document["request_id"] == name
    found: dict[str, Any] = document["explanation"]
    return found


def shapes(explained: dict[str, Any]) -> list[tuple[str, ...]]:
    """Each step by its kind, whom it is about, and what came of it."""
    found = []
    for step in explained["steps"]:
        about = step.get("account") or step.get("why") or ""
        found.append((step["step"], about, step.get("outcome") or ""))
    return found


async def test_a_failover_is_told_with_the_candidates_the_verdict_and_the_times(
    autojump_clock: object,
) -> None:
    upstream = ScriptedUpstream()
    upstream.script("key-a", rate_limited(retry_after=30, message="slow down"))
    upstream.script("key-b", OK)
    async with program_in_memory(TWO, upstream) as program:
        assert await ask(program, "r1") == 200
        told = await explanation(program, "r1")
    assert shapes(told) == [
        ("choice", "a", ""), ("attempt", "a", "failed"),
        ("choice", "b", ""), ("attempt", "b", "served"),
    ]  # fmt: skip
    first, failed, second, served = told["steps"]
    assert first["considered"] == [
        {"account": "a", "outcome": "taken", "why": "fill-first"},
        {"account": "b", "outcome": "next", "why": "order"},
    ]
    assert second["considered"][1] == {"account": "a", "outcome": "passed", "why": "tried"}
    assert (failed["status"], failed["error_type"]) == (429, "rate_limit_error")
    assert (failed["scope"], failed["reason"], failed["action"]) == (
        "account", "rate_limited", "next"
    )  # fmt: skip
    assert failed["retry_after"] == 30.0
    assert "slow down" in failed["detail"]
    assert (served["status"], served["terminal"]) == (200, "complete")
    assert served["at"] >= failed["at"] + failed["ms"]
    assert told["left_out"] == 0
    assert set(told["spent"]) == {
        "body", "choosing", "waiting", "upstream", "delivering", "other"
    }  # fmt: skip


async def test_waits_are_told_apart_by_their_reason(autojump_clock: object) -> None:
    upstream = ScriptedUpstream()
    upstream.script("key-a", rate_limited(retry_after=1), overloaded(), then=text_stream("hi"))
    async with program_in_memory(accounts("a"), upstream) as program:
        assert await ask(program, "r1") == 200
        told = await explanation(program, "r1")
    assert shapes(told) == [
        ("choice", "a", ""), ("attempt", "a", "failed"), ("choice", "", ""),
        ("pause", "max_wait", ""), ("choice", "a", ""), ("attempt", "a", "failed"),
        ("pause", "overload", ""), ("choice", "a", ""), ("attempt", "a", "served"),
    ]  # fmt: skip
    refused, pause = told["steps"][2:4]
    assert "back in 1 s" in refused["message"]
    assert refused["considered"] == [{"account": "a", "outcome": "passed", "why": "tried"}]
    assert pause["ms"] == pytest.approx(1000, abs=5)
    overload = told["steps"][6]["ms"]
    assert told["spent"]["waiting"] == pytest.approx(pause["ms"] + overload, abs=0.01)


async def test_a_hold_and_a_client_that_leaves_in_the_middle_of_an_attempt(
    autojump_clock: object,
) -> None:
    upstream = ScriptedUpstream()
    upstream.script("key-a", rate_limited(retry_after=20), then=text_stream("x", pause=50))
    config = f"{accounts('a')}\n[routing]\nmax_hold = 60\n"
    async with program_in_memory(config, upstream) as program:
        client = MemoryClient(await program.connect())
        document = {**BODY, "stream": True}
        await client.send(
            "POST", "/v1/messages", json.dumps(document).encode(), {"x-request-id": "r1"}
        )
        await trio.sleep(30)
        await client.leave()
        await trio.sleep(1)
        told = await explanation(program, "r1")
    assert shapes(told)[-3:] == [
        ("pause", "max_hold", ""), ("choice", "a", ""), ("attempt", "a", "left")
    ]  # fmt: skip
    assert told["steps"][-1]["ms"] > 1000


async def test_a_client_that_leaves_while_it_is_held_has_waited_until_then(
    autojump_clock: object,
) -> None:
    upstream = ScriptedUpstream()
    upstream.script("key-a", rate_limited(retry_after=50), then=OK)
    config = f"{accounts('a')}\n[routing]\nmax_hold = 60\n"
    async with program_in_memory(config, upstream) as program:
        client = MemoryClient(await program.connect())
        document = json.dumps({**BODY, "stream": True}).encode()
        await client.send("POST", "/v1/messages", document, {"x-request-id": "r1"})
        await trio.sleep(30)
        await client.leave()
        await trio.sleep(1)
        told = await explanation(program, "r1")
        client = MemoryClient(await program.connect())
        line = (await client.get("/status/requests/r1")).json()
    assert shapes(told)[-1] == ("pause", "max_hold", "")
    assert told["steps"][-1]["ms"] == pytest.approx(30_000, abs=100)
    assert isinstance(line, dict)
    assert line["ms_queue"] == pytest.approx(30_000, abs=100)


async def test_a_held_request_has_queued_for_as_long_as_it_was_held(
    autojump_clock: object,
) -> None:
    """The two seconds over which held streams come back are part of it."""
    upstream = ScriptedUpstream()
    upstream.script("key-a", rate_limited(retry_after=20), then=text_stream("x"))
    config = f"{accounts('a')}\n[routing]\nmax_hold = 60\n"
    async with program_in_memory(config, upstream) as program:
        assert await ask(program, "r1", stream=True) == 200
        client = MemoryClient(await program.connect())
        line = (await client.get("/status/requests/r1")).json()
    assert isinstance(line, dict)
    explained = line["explanation"]
    (held,) = [step["ms"] for step in explained["steps"] if step["step"] == "pause"]
    assert held > 20_000
    assert line["ms_queue"] == pytest.approx(held, abs=50)


async def test_a_second_burst_is_told_as_what_it_means(autojump_clock: object) -> None:
    """Not as the account's: as the egress's, which ends the search."""
    windows = {"5h": Window(utilization=0.3, resets_at=int(EPOCH) + 9000)}
    upstream = ScriptedUpstream()
    upstream.default(rate_limited(retry_after=9, windows=windows))
    async with program_in_memory(accounts("a", "b", "c"), upstream) as program:
        assert await ask(program, "r1") == 429
        told = await explanation(program, "r1")
        assert await ask(program, "r2") == 429
        refused = await explanation(program, "r2")
    first, second = [step for step in told["steps"] if step["step"] == "attempt"]
    assert (first["scope"], first["reason"], first["action"]) == ("account", "burst", "next")
    assert (second["scope"], second["reason"], second["action"]) == ("egress", "burst", "stop")
    (choice,) = refused["steps"]
    assert choice["retry_after"] == 9.0
    assert {entry["why"] for entry in choice["considered"]} == {"egress"}


async def test_an_unknown_request_is_404_and_the_list_stays_lean(autojump_clock: object) -> None:
    async with program_in_memory(TWO, ScriptedUpstream()) as program:
        await ask(program, "r1")
        client = MemoryClient(await program.connect())
        answered = await client.get("/status/requests/nobody")
        assert answered.status == 404
        assert b"nobody" in answered.body
        listed = (await client.get("/status/requests")).json()
        assert isinstance(listed, dict)
        assert [line["request_id"] for line in listed["requests"]] == ["r1"]
        assert "explanation" not in listed["requests"][0]


async def test_what_is_told_holds_no_credential(autojump_clock: object) -> None:
    upstream = ScriptedUpstream()
    secret = "sk-ant-api03-" + "c" * 40
    upstream.script(secret, rate_limited(retry_after=9, message=f"no more for {secret}"))
    config = f'[[account]]\nname = "a"\napi_key = "{secret}"\n'
    async with program_in_memory(config, upstream) as program:
        await ask(program, "r1")
        client = MemoryClient(await program.connect())
        answered = await client.get("/status/requests/r1")
    assert b"no more for" in answered.body
    assert b"cccc" not in answered.body


async def test_of_very_many_steps_the_first_and_the_last_are_kept(autojump_clock: object) -> None:
    trace = Trace()
    for number in range(STEPS_MAX + 10):
        now = trio.current_time()
        trace.chose(Lease(number, f"a{number}", None, "http://up"), now, now)
    told = trace.explanation()
    assert (len(told.steps), told.left_out) == (STEPS_MAX, 10)
    names = [step.account for step in told.steps]  # type: ignore[union-attr]
    assert (names[0], names[STEPS_MAX // 2 - 1]) == ("a0", f"a{STEPS_MAX // 2 - 1}")
    assert names[-1] == f"a{STEPS_MAX + 9}"
