"""The routes that are ours."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.kit.live import Live
from tests.kit.raw_client import crashes, serving

JSON = [("content-type", "application/json")]


@pytest.fixture
async def live(tmp_path: Path) -> AsyncGenerator[Live, None]:
    async with serving(tmp_path) as live:
        yield live


async def post(live: Live, target: str) -> Any:
    return await live.ask("POST", target, JSON, b"{}")


@pytest.mark.parametrize("target", ["/", "/api/hello"])
async def test_a_starting_client_finds_somebody(live: Live, target: str) -> None:
    assert (await live.ask("HEAD", target)).status == 200
    assert (await live.ask("GET", target)).json()["name"] == "llm-supervisor"


async def test_health_tells_of_the_accounts_and_liveness_of_the_process(live: Live) -> None:
    health = (await live.ask("GET", "/health")).json()
    assert health["status"] == "ok"
    assert health["accounts"] == {"total": 1, "available": 1}
    assert {"version", "uptime"} <= set(health)
    await post(live, "/status/accounts/work/disable")
    degraded = await live.ask("GET", "/health")
    assert (degraded.status, degraded.json()["status"]) == (503, "degraded")
    alive = await live.ask("GET", "/health/live")
    assert (alive.status, alive.json()["instance"]) == (200, "test-instance")


async def test_the_views_show_what_they_are_named_for(live: Live) -> None:
    status = (await live.ask("GET", "/status")).json()
    assert (status["mode"], status["totalAccounts"]) == ("pool", 1)
    accounts = (await live.ask("GET", "/status/accounts")).json()["accounts"]
    assert [account["name"] for account in accounts] == ["work"]
    account = (await live.ask("GET", "/status/accounts/work")).json()
    assert account["state"] == "available"
    actors = (await live.ask("GET", "/status/actors")).json()["actors"]
    assert {"front-end", "dispatcher", "account/work"} <= {actor["name"] for actor in actors}


async def test_requests_are_shown_newest_first_and_as_many_as_asked(live: Live) -> None:
    for number in range(3):
        await live.ask("POST", "/v1/messages", [("x-request-id", f"r{number}")], b"{}")
    lines = await live.wait_for_lines(3)
    assert [line["request_id"] for line in lines] == ["r2", "r1", "r0"]
    limited = (await live.ask("GET", "/status/requests?limit=2")).json()["requests"]
    assert [line["request_id"] for line in limited] == ["r2", "r1"]


@pytest.mark.parametrize("limit", ["0", "-1", "x", "", "1001", "1.5", "%C2%B2", "9" * 5000])
async def test_an_impossible_limit_is_a_400(
    live: Live, limit: str, caplog: pytest.LogCaptureFixture
) -> None:
    answered = await live.ask("GET", f"/status/requests?limit={limit}")
    assert (answered.status, answered.json()["error"]["type"]) == (400, "invalid_request_error")
    assert crashes(caplog) == []


@pytest.mark.parametrize(
    ("method", "target", "meant"),
    [
        ("POST", "/chat/completions", "did you mean /v1/chat/completions?"),
        ("POST", "/messages", "did you mean /v1/messages?"),
        ("GET", "/models", "did you mean /v1/models?"),
        ("GET", "/nothing", "docs/operating.md lists the routes"),
    ],
)
async def test_a_base_url_without_its_version_is_named(
    live: Live, method: str, target: str, meant: str
) -> None:
    said = (await live.ask(method, target, JSON, b"")).json()["error"]["message"]
    assert said.startswith(f"there is no {method} {target} here; ")
    assert said.endswith(meant)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/nothing"),
        ("POST", "/nothing"),
        ("GET", "/status/"),
        ("GET", "/status//accounts"),
        ("GET", "/status/accounts/nobody"),
        ("GET", "/status/accounts/%22%0d%0a%e2%80%a8"),
        ("GET", "/api/status"),
        ("POST", "/status/accounts/nobody/reset"),
        ("POST", "/status/accounts/work/explode"),
        ("GET", "/static/x"),
    ],
)
async def test_what_is_not_there_is_a_404_in_our_shape(
    live: Live, method: str, target: str, caplog: pytest.LogCaptureFixture
) -> None:
    answered = await live.ask(method, target, JSON, b"")
    assert (answered.status, answered.header("x-should-retry")) == (404, "false")
    document = answered.json()
    assert (document["type"], document["error"]["type"]) == ("error", "not_found_error")
    assert document["request_id"] == answered.header("x-supervisor-request-id") != ""
    assert crashes(caplog) == []


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [("POST", "/status", "GET"), ("GET", "/status/drain", "POST"), ("DELETE", "/health", "GET")],
)
async def test_a_wrong_method_is_a_405_that_names_the_right_ones(
    live: Live, method: str, target: str, allowed: str
) -> None:
    answered = await live.ask(method, target, JSON, b"")
    assert (answered.status, answered.json()["type"]) == (405, "error")
    assert allowed in (answered.header("allow") or "")


async def test_an_account_is_disabled_enabled_and_reset(live: Live) -> None:
    for action, state in [("disable", "disabled"), ("enable", "available"), ("reset", "available")]:
        answered = await post(live, f"/status/accounts/work/{action}")
        assert (answered.status, answered.json()["name"]) == (200, "work")
        assert answered.json()["state"] == state


async def test_a_key_cannot_be_refreshed(live: Live) -> None:
    answered = await post(live, "/status/accounts/work/refresh")
    assert (answered.status, answered.json()["error"]["type"]) == (409, "conflict_error")


async def test_a_reload_answers_what_came_of_it(live: Live) -> None:
    answered = await post(live, "/status/reload")
    assert (answered.status, answered.json()) == (200, {"restart_needed": []})

    live.program.change("[server]\nport = 'x'\nnonsense = 1\n")
    refused = await post(live, "/status/reload")
    assert refused.status == 422
    assert len(refused.json()["errors"]) == 2
    assert (await live.ask("GET", "/status")).json()["config"]["error"]


async def test_a_drain_is_accepted_and_ends_the_program(live: Live) -> None:
    answered = await post(live, "/status/drain")
    assert (answered.status, answered.json()) == (202, {"draining": True})
    with trio.fail_after(5):
        await live.program.program.engine.stopped.wait()


async def test_a_management_body_is_bounded(live: Live) -> None:
    answered = await live.ask("POST", "/status/reload", JSON, b" " * 100_000)
    assert (answered.status, answered.header("x-should-retry")) == (413, "false")


async def test_a_bug_in_a_view_is_a_500_in_our_shape(
    live: Live, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("injected secret detail")

    monkeypatch.setattr("supervisor.control.views.accounts_view", broken)
    answered = await live.ask("GET", "/status/accounts")
    assert (answered.status, answered.json()["error"]["type"]) == (500, "api_error")
    assert b"injected" not in answered.body
    assert len(crashes(caplog)) == 1
