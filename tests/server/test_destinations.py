"""Routes, aliases, wrapped names and the redirect, through the whole program."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio

from server.scripted import (
    Answer,
    ScriptedUpstream,
    Window,
    adding_headers,
    gemini_error,
    no_answer,
    openai_error,
    openai_reply,
    rate_limited,
    reply_to,
    text_block,
    unified_headers,
)
from tests.kit.program import EPOCH, program_in_memory
from tests.server.test_fallback import (
    ACCOUNT,
    COMPATIBLE,
    GEMINI,
    MESSAGE,
    OPENAI,
    STREAM,
    TO_OPENAI,
    ask,
    foreign_requests,
    line,
    status,
    upstream,
)

ROUTE = OPENAI + '[[route]]\nmatch = "gpt-*"\nprovider = "other"\n'


def model(name: str) -> dict[str, Any]:
    return {**MESSAGE, "model": name}


@pytest.mark.parametrize(
    ("config", "asked", "sent"),
    [
        (ROUTE, "gpt-5", "gpt-5"),
        (ROUTE, "gpt-5[1m]", "gpt-5"),
        (ROUTE + 'model = "gpt-4.1"\n', "gpt-5", "gpt-4.1"),
        (OPENAI, "claude-supervisor-gpt-5", "gpt-5"),
        (OPENAI, "claude-supervisor-gpt-5[1m]", "gpt-5"),
        (OPENAI, "gpt-5", "gpt-5"),
        (OPENAI + '[models]\naliases = { "fast" = "gpt-5" }\n', "fast", "gpt-5"),
        (
            OPENAI + '[models]\naliases = { "fast" = "gpt-5" }\n',
            "claude-supervisor-fast",
            "gpt-5",
        ),
    ],
)
async def test_a_models_name_leads_to_its_provider(
    config: str, asked: str, sent: str, autojump_clock: object
) -> None:
    server = upstream(reply_to, openai_reply(text_block("Hello.")))
    async with program_in_memory(ACCOUNT + config, server) as program:
        answer = await ask(program, model(asked))
        written = await line(program)
    (seen,) = server.requests
    told: Any = seen.json()
    assert (answer.status, told["model"]) == (200, sent)
    assert answer.header("x-supervisor-fallback") == f"other/{sent}"
    assert (written["model"], written["served_model"]) == (asked, sent)


@pytest.mark.parametrize(
    ("config", "asked", "sent"),
    [
        ('[models]\naliases = { "best" = "claude-opus-5-5" }\n', "best", "claude-opus-5-5"),
        (OPENAI, "claude-x[1m]", "claude-x[1m]"),
        (ROUTE + '[[route]]\nmatch = "claude-*"\naccounts = true\n', "claude-x", "claude-x"),
        (TO_OPENAI, "claude-x", "claude-x"),
    ],
)
async def test_anthropics_models_stay_with_the_accounts(
    config: str, asked: str, sent: str, autojump_clock: object
) -> None:
    server = upstream(reply_to, openai_reply())
    async with program_in_memory(ACCOUNT + config, server) as program:
        answer = await ask(program, model(asked))
    (seen,) = server.requests
    told: Any = seen.json()
    assert (answer.status, told["model"], seen.credential) == (200, sent, "key-first")


async def test_the_body_of_another_name_differs_in_the_name_alone(autojump_clock: object) -> None:
    server = upstream(reply_to, openai_reply())
    body = b'{ "model" : "best" ,"max_tokens":9, "messages":[{"role":"user","content":"\\u00e9"}]}'
    aliases = '[models]\naliases = { "best" = "claude-opus-5-5" }\n'
    async with program_in_memory(ACCOUNT + aliases, server) as program:
        await ask(program, body)
    assert server.requests[0].body == body.replace(b'"best"', b'"claude-opus-5-5"')


async def test_a_routes_failure_is_the_clients_in_the_providers_words(
    autojump_clock: object,
) -> None:
    server = upstream(reply_to, openai_error(429, "slow down", retry_after="7"))
    async with program_in_memory(ACCOUNT + ROUTE, server) as program:
        first = await ask(program, model("gpt-5"))
        second = await ask(program, {**STREAM, "model": "gpt-5"})
        written = await line(program)
    told: Any = first.json()
    assert (first.status, first.header("retry-after")) == (429, "7")
    assert told["error"] == {"type": "rate_limit_error", "message": "slow down"}
    assert (second.status, second.header("retry-after")) == (429, "7")
    assert len(server.requests) == 1
    assert (written["status"], written["terminal"]) == (429, "refused")


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (openai_error(400, "too long"), 400),
        (openai_error(500, "broken"), 500),
        (no_answer(), 502),
    ],
)
async def test_the_line_names_the_provider_whose_failure_the_client_sees(
    failure: Answer, status: int, autojump_clock: object
) -> None:
    server = upstream(reply_to, failure)
    async with program_in_memory(ACCOUNT + ROUTE, server) as program:
        assert (await ask(program, model("gpt-5"))).status == status
        written = await line(program)
    assert (written["account"], written["provider"]) == (None, "other")


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
async def test_what_a_provider_cannot_be_told_is_our_refusal_and_no_attempt(
    path: str, autojump_clock: object
) -> None:
    route = GEMINI + '[[route]]\nmatch = "gemini-*"\nprovider = "google"\n'
    server = upstream(reply_to, openai_reply())
    tools = [{"type": "web_search_20250305", "name": "web_search"}]
    async with program_in_memory(ACCOUNT + route, server) as program:
        answer = await ask(program, {**model("gemini-3-pro"), "tools": tools}, path)
        written = await line(program)
    error: Any = answer.json()["error"]
    assert (answer.status, server.requests) == (400, [])
    assert "tools[0]" in error["message"]
    assert answer.header("x-supervisor-attempts") is None
    assert (written["terminal"], written["attempts"], written["provider"]) == ("refused", 0, None)
    assert written["reason"] == error["message"]


async def test_a_route_is_tried_again_although_its_server_failed(autojump_clock: object) -> None:
    """There is nobody else, so a bad sign is no reason to refuse."""
    server = upstream(reply_to, openai_error(500, "broken"))
    async with program_in_memory(ACCOUNT + ROUTE, server) as program:
        assert (await ask(program, model("gpt-5"))).status == 500
        server.default(openai_reply())
        assert (await ask(program, model("gpt-5"))).status == 200


# --- by quota

REDIRECT = OPENAI + '[redirect]\nprovider = "other"\nopus = "gpt-5"\n'
RESET = int(EPOCH) + 120


def reading(utilization: float) -> Any:
    windows = {"5h": Window(utilization=utilization, resets_at=RESET)}
    return adding_headers(reply_to, unified_headers(windows))


async def test_requests_leave_while_the_quota_is_low_and_come_back_once(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    server = upstream(reading(0.91), openai_reply(text_block("Elsewhere.")))
    caplog.set_level(logging.WARNING, "actors.providers")
    async with program_in_memory(ACCOUNT + REDIRECT, server) as program:
        served = [(await ask(program, model("claude-opus-5-5"))) for _ in range(3)]
        view = (await status(program))["redirect"]
        written = await line(program)
        # Other names are none of the redirect's business.
        assert (await ask(program, model("other-model"))).header("x-supervisor-account") == "first"
        await trio.sleep(130)
        back = await ask(program, model("claude-opus-5-5"))
        after = (await status(program))["redirect"]
    assert [one.header("x-supervisor-fallback") for one in served] == [
        None,
        "other/gpt-5",
        "other/gpt-5",
    ]
    assert view["active"] is True
    assert view["reason"] == "first: 5h at 91%"
    assert view["since"].startswith("20")
    assert written["reason"] == "redirect: other/gpt-5, first: 5h at 91%"
    assert back.header("x-supervisor-account") == "first"
    assert after["active"] is False
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "requests for Claude go to other now: first: 5h at 91%",
        "requests for Claude go to the accounts again",
    ]


async def test_the_accounts_serve_when_the_redirects_provider_cannot(
    autojump_clock: object,
) -> None:
    server = upstream(reading(0.95), openai_error(500, "broken"))
    async with program_in_memory(ACCOUNT + REDIRECT, server) as program:
        await ask(program, model("claude-opus-5-5"))
        answer = await ask(program, {**STREAM, "model": "claude-opus-5-5"})
        written = await line(program)
        server.script("key-first", rate_limited(retry_after=60))
        refused = await ask(program, model("claude-opus-5-5"))
    assert (answer.status, answer.header("x-supervisor-account")) == (200, "first")
    assert (written["account"], written["provider"]) == ("first", None)
    assert refused.status == 500  # the first choice's own answer
    assert b"broken" in refused.body


async def test_the_line_names_the_first_choice_and_not_who_was_tried_last(
    autojump_clock: object,
) -> None:
    last = GEMINI + '[[fallback]]\nprovider = "google"\nmodel = "gemini-3-pro"\n'
    server = upstream(reading(0.95), openai_error(500, "broken"))
    async with program_in_memory(ACCOUNT + REDIRECT + last, server) as program:
        await ask(program, model("claude-opus-5-5"))
        server.script("key-first", rate_limited(retry_after=60))
        server.default(openai_error(500, "broken"), gemini_error(503, "UNAVAILABLE", "busy"))
        answer = await ask(program, model("claude-opus-5-5"))
        written = await line(program)
    assert (answer.status, b"broken" in answer.body) == (500, True)
    assert (written["account"], written["provider"]) == (None, "other")


async def test_a_fallback_on_a_list_of_two_dialects(autojump_clock: object) -> None:
    """A redirect keeps the name where no tier is configured."""
    server = ScriptedUpstream(reply_to)
    server.script("key-first", reading(0.95))
    config = ACCOUNT + COMPATIBLE + GEMINI + '[redirect]\nprovider = "moon"\n'
    async with program_in_memory(config, server) as program:
        await ask(program, model("claude-sonnet-5-5"))
        answer = await ask(program, model("claude-sonnet-5-5"))
    (seen,) = foreign_requests(server)
    told: Any = seen.json()
    assert (answer.status, told["model"]) == (200, "claude-sonnet-5-5")
