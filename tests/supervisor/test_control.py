"""What the management routes show and do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock as Clock

from actors.mailbox import AskTimeout
from server.scripted import ScriptedUpstream, rate_limited
from supervisor.cli.status_view import StatusView
from tests.e2e.conversation import question
from tests.kit.http_client import MemoryClient, Received
from tests.kit.live import accounts
from tests.kit.program import RunningProgram, configured, program_in_memory

ACCOUNTS = f'{accounts("a")}\nmetadata = {{ team = "red" }}\n{accounts("b")}\n'

JSON = {"content-type": "application/json"}


async def client_of(program: RunningProgram) -> MemoryClient:
    return MemoryClient(await program.connect())


async def shown(program: RunningProgram, target: str) -> Any:
    answered = await (await client_of(program)).get(target)
    assert answered.status == 200, answered
    return answered.json()


async def done(program: RunningProgram, target: str) -> Received:
    return await (await client_of(program)).post(target, b"", JSON)


async def test_status_has_every_field_that_is_promised(autojump_clock: Clock) -> None:
    async with program_in_memory(ACCOUNTS, ScriptedUpstream()) as program:
        client = await client_of(program)
        assert (await client.post("/v1/messages", question(stream=False))).status == 200
        status = await shown(program, "/status")
        assert set(status) >= {
            "version", "pid", "worker_pid", "started_at", "uptime", "host", "port", "strategy", "config", "mode",
            "redirect", "totalAccounts", "availableAccounts", "rateLimitedAccounts", "nextAccount",
            "cooldowns", "accounts", "fallback", "actors", "in_flight", "event_loop_lag",
        }  # fmt: skip
        assert (status["mode"], status["totalAccounts"], status["nextAccount"]) == ("pool", 2, "a")
        assert status["accounts"][0]["metadata"] == {"team": "red"}
        assert status["accounts"][0]["counters"]["requests"] == 1
        assert set(status["event_loop_lag"]) == {"p50", "p99"}
        assert status["config"]["error"] is None
        # What the command line makes of it.
        msgspec.convert(status, StatusView)


async def test_the_routes_below_status_are_parts_of_it(autojump_clock: Clock) -> None:
    async with program_in_memory(ACCOUNTS, ScriptedUpstream()) as program:
        client = await client_of(program)
        await client.post("/v1/messages", question(stream=False), {"x-request-id": "mine"})
        status = await shown(program, "/status")
        assert (await shown(program, "/status/accounts"))["accounts"] == status["accounts"]
        assert await shown(program, "/status/accounts/b") == status["accounts"][1]
        names = [actor["name"] for actor in (await shown(program, "/status/actors"))["actors"]]
        assert names == [actor["name"] for actor in status["actors"]]
        assert {"dispatcher", "account/a", "front-end"} <= set(names)
        lines = (await shown(program, "/status/requests?limit=1"))["requests"]
        assert [line["request_id"] for line in lines] == ["mine"]
        missing = await (await client_of(program)).get("/status/accounts/nobody")
        assert missing.status == 404


async def test_an_owner_switches_an_account_off_and_on_and_lifts_its_benches(
    autojump_clock: Clock,
) -> None:
    upstream = ScriptedUpstream(scripts={"key-a": [rate_limited(retry_after=3000)]})
    async with program_in_memory(ACCOUNTS, upstream) as program:
        client = await client_of(program)
        assert (await client.post("/v1/messages", question(stream=False))).status == 200
        assert (await shown(program, "/status/accounts/a"))["state"] == "cooling"
        for action, state in (
            ("reset", "available"),
            ("disable", "disabled"),
            ("disable", "disabled"),
            ("enable", "available"),
        ):
            answered = await done(program, f"/status/accounts/a/{action}")
            assert (answered.status, answered.header("content-type")) == (200, "application/json")
            view: Any = answered.json()
            assert (view["name"], view["state"]) == ("a", state)
            assert view == await shown(program, "/status/accounts/a")
        assert (await done(program, "/status/accounts/a/refresh")).status == 409
        assert (await done(program, "/status/accounts/nobody/reset")).status == 404
        assert (await done(program, "/status/accounts/a/explode")).status == 404


async def test_a_reload_answers_with_what_needs_a_restart_or_with_every_error(
    autojump_clock: Clock,
) -> None:
    async with program_in_memory(ACCOUNTS, ScriptedUpstream()) as program:
        program.change("[server]\nport = 7\n" + ACCOUNTS)
        answered = await done(program, "/status/reload")
        assert (answered.status, answered.json()) == (200, {"restart_needed": ["server.port"]})
        program.change("[server]\nport = 'x'\nprot = 2\n")
        answered = await done(program, "/status/reload")
        assert answered.status == 422
        errors: Any = answered.json()
        assert len(errors["errors"]) == 2
        assert "server.port" in (await shown(program, "/status"))["config"]["error"]


async def test_the_path_of_the_configuration_is_the_one_that_is_read_now(
    autojump_clock: Clock,
) -> None:
    async with program_in_memory(ACCOUNTS, ScriptedUpstream()) as program:
        assert (await shown(program, "/status"))["config"]["path"] == ""
        program.parts.config_path = lambda: Path("/etc/c.toml")
        assert (await shown(program, "/status"))["config"]["path"] == "/etc/c.toml"


async def test_drain_answers_and_then_stops(autojump_clock: Clock) -> None:
    async with program_in_memory(ACCOUNTS, ScriptedUpstream()) as program:
        assert (await done(program, "/status/drain")).status == 202
        with trio.fail_after(5):
            await program.program.engine.stopped.wait()


async def test_health_is_degraded_when_nobody_could_serve_and_live_all_the_same(
    autojump_clock: Clock,
) -> None:
    async with program_in_memory(ACCOUNTS, ScriptedUpstream()) as program:
        health = await shown(program, "/health")
        assert (health["status"], health["accounts"]) == ("ok", {"total": 2, "available": 2})
        for name in ("a", "b"):
            await done(program, f"/status/accounts/{name}/disable")
        degraded = await (await client_of(program)).get("/health")
        view: Any = degraded.json()
        assert (degraded.status, view["status"]) == (503, "degraded")
        live = await shown(program, "/health/live")
        assert (live["status"], live["instance"]) == ("ok", "test-instance")
        await program.parts.apply(configured(""))
        health = await shown(program, "/health")
        assert (health["status"], health["accounts"]["total"]) == ("ok", 0)


@pytest.mark.parametrize("target", ["/status", "/health", "/status/accounts"])
async def test_an_actor_that_does_not_answer_is_a_503_that_says_so(
    target: str, autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(question: object, *, timeout: float, now: float | None) -> Callable[[], None]:
        await trio.sleep(timeout)
        raise AskTimeout("dispatcher", timeout)

    async with program_in_memory(ACCOUNTS, ScriptedUpstream()) as program:
        with monkeypatch.context() as patched:
            patched.setattr(program.parts.dispatcher, "ask", silent)
            answered = await (await client_of(program)).get(target)
        assert answered.status == 503
        assert answered.header("retry-after") == "1"
        assert b"dispatcher did not answer" in answered.body
        assert (await shown(program, "/health/live"))["status"] == "ok"
