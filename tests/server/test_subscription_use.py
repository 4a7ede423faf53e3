"""Whom a subscription serves: `access.subscription_use`, clause by clause."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

import pytest
import trio

from server.scripted import ScriptedUpstream, rate_limited, text_message
from tests.kit.http_client import MemoryClient, Received
from tests.kit.program import RunningProgram, program_in_memory

TOKEN = "sk-ant-oat01-of-the-owner"
SUBSCRIPTION = f'[[account]]\nname = "mine"\ntoken = "{TOKEN}"\n'
KEY = '[[account]]\nname = "key"\napi_key = "a-plain-api-key"\n'
SESSION = {"x-claude-code-session-id": "3f0c7a5e"}
FORWARDED = {**SESSION, "x-forwarded-for": "192.0.2.7"}
MESSAGE = {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}


@contextlib.asynccontextmanager
async def serving(config: str) -> AsyncGenerator[tuple[RunningProgram, ScriptedUpstream], None]:
    upstream = ScriptedUpstream(text_message("hello"))
    async with program_in_memory(config, upstream) as program:
        yield program, upstream


async def ask(program: RunningProgram, target: str, headers: dict[str, str]) -> Received:
    client = MemoryClient(await program.connect())
    if target.startswith("GET "):
        received = await client.get(target.removeprefix("GET "), headers)
    else:
        received = await client.post(target, MESSAGE, headers)
    await client.leave()
    return received


@pytest.mark.parametrize(
    ("target", "headers", "served"),
    [
        ("/v1/messages", SESSION, True),
        ("/v1/messages", {}, False),
        ("/v1/messages", {"x-claude-code-session-id": ""}, False),
        ("/v1/messages", FORWARDED, False),
        ("/v1/messages", {**SESSION, "forwarded": "for=192.0.2.7"}, False),
        ("/v1/messages", {**SESSION, "x-account-name": "mine"}, True),
        ("/v1/messages", {"x-account-name": "mine"}, False),
        ("/v1/chat/completions", {}, False),
        ("/v1/chat/completions", SESSION, False),
        ("/v1/messages/count_tokens", {}, True),
        ("/v1/messages/count_tokens", {"x-forwarded-for": "192.0.2.7"}, False),
        ("GET /v1/models", {}, True),
        ("GET /v1/models/claude-x", {}, True),
        ("GET /v1/models", {"x-forwarded-for": "192.0.2.7"}, False),
        ("GET /v1/files", {}, False),
        ("GET /v1/files", SESSION, True),
    ],
)
async def test_a_subscription_serves_its_owners_own_claude_code_alone(
    target: str, headers: dict[str, str], served: bool, autojump_clock: object
) -> None:
    async with serving(SUBSCRIPTION) as (program, upstream):
        received = await ask(program, target, headers)
        if served:
            assert received.status == 200
            assert [seen.credential for seen in upstream.requests] == [TOKEN]
        else:
            assert received.status == 503
            assert b"subscription" in received.body
            assert received.header("x-should-retry") in (None, "false")
            assert upstream.requests == []


async def test_everybody_else_is_served_by_a_key_although_the_subscription_comes_first(
    autojump_clock: object,
) -> None:
    async with serving(SUBSCRIPTION + KEY) as (program, upstream):
        for headers in (SESSION, {}, FORWARDED, SESSION):
            assert (await ask(program, "/v1/messages", headers)).status == 200
        assert [seen.credential for seen in upstream.requests] == [
            TOKEN,
            "a-plain-api-key",
            "a-plain-api-key",
            TOKEN,
        ]


async def test_a_subscriptions_failure_never_makes_it_serve_others(autojump_clock: object) -> None:
    """Nor the other way round: when the keys are at their end, others are not let onto it."""
    async with serving(SUBSCRIPTION + KEY + "[routing]\nmax_wait = 0\n") as (program, upstream):
        upstream.script("a-plain-api-key", rate_limited(retry_after=3000))
        assert (await ask(program, "/v1/messages", {})).status == 429
        assert (await ask(program, "/v1/messages", {})).status == 429
        assert TOKEN not in {seen.credential for seen in upstream.requests}
        assert (await ask(program, "/v1/messages", SESSION)).status == 200


async def test_any_is_the_operators_own_responsibility_and_changes_while_running(
    autojump_clock: object,
) -> None:
    more = '[upstream]\nbase_url = "http://api.test"\n'
    anybody = f'{SUBSCRIPTION}[access]\nsubscription_use = "any"\n{more}'
    async with serving(SUBSCRIPTION + more) as (program, _):
        for text, status in ((anybody, 200), (SUBSCRIPTION + more, 503)):
            program.change(text)
            client = MemoryClient(await program.connect())
            assert (await client.post("/status/reload", b"")).status == 200
            assert (await ask(program, "/v1/messages", {})).status == status
            assert (await ask(program, "/v1/messages", FORWARDED)).status == status
            await trio.sleep(0.1)


async def test_a_subscriptions_token_written_where_a_key_belongs_is_one_all_the_same(
    autojump_clock: object,
) -> None:
    async with serving(f'[[account]]\nname = "mine"\napi_key = "{TOKEN}"\n') as (program, upstream):
        assert (await ask(program, "/v1/messages", {})).status == 503
        assert upstream.requests == []


async def test_another_bearer_token_and_an_api_key_are_no_subscription(
    autojump_clock: object,
) -> None:
    other = '[[account]]\nname = "gateway"\ntoken = "gateway-token-of-mine"\n'
    for config in (other, KEY):
        async with serving(config) as (program, _):
            assert (await ask(program, "/v1/messages", {})).status == 200
