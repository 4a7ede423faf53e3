"""`GET /v1/models` with providers, and counting tokens for their models."""

from __future__ import annotations

from typing import Any

import trio

from server.scripted import (
    Answer,
    ScriptedUpstream,
    SeenRequest,
    Stall,
    gemini_reply,
    openai_reply,
    reply_to,
    unauthorized,
)
from tests.kit.http_client import MemoryClient, Received
from tests.kit.program import RunningProgram, program_in_memory
from tests.server.test_fallback import ACCOUNT, COMPATIBLE, GEMINI, MESSAGE, OPENAI, ask, upstream

LISTING = OPENAI.replace('models = ["gpt-5"]\n', "")
ALIAS = '[models]\naliases = { "best" = "claude-opus-5-5" }\nlong_context = ["gpt-*"]\n'
OWN = ["claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"]
CLAUDE = {"anthropic-version": "2026-10-21"}


async def get(program: RunningProgram, path: str, **headers: str) -> Received:
    client = MemoryClient(await program.connect())
    return await client.get(path, headers)


async def ids(program: RunningProgram, headers: dict[str, str] = CLAUDE) -> list[str]:
    client = MemoryClient(await program.connect())
    page: Any = (await client.get("/v1/models?limit=1000", headers)).json()
    return [entry["id"] for entry in page["data"]]


async def test_the_list_has_anthropics_models_then_the_providers_then_the_aliases(
    autojump_clock: object,
) -> None:
    server = upstream(reply_to, openai_reply())
    async with program_in_memory(ACCOUNT + LISTING + ALIAS, server) as program:
        await trio.sleep(1)
        found = await ids(program)
    wrapped = "claude-supervisor-"
    assert found == [
        *OWN,
        f"{wrapped}gpt-5",
        f"{wrapped}gpt-5[1m]",
        f"{wrapped}gpt-4.1-mini",
        f"{wrapped}gpt-4.1-mini[1m]",
        f"{wrapped}best",
    ]


async def test_who_is_refused_by_anthropic_sees_that_and_no_list(autojump_clock: object) -> None:
    refusal = unauthorized()
    server = upstream(refusal, openai_reply())
    async with program_in_memory(ACCOUNT + OPENAI, server) as program:
        answer = await get(program, "/v1/models", **CLAUDE)
    assert (answer.status, answer.body) == (401, refusal.body)


async def test_an_outage_takes_a_providers_models_away_and_never_the_list(
    autojump_clock: object,
) -> None:
    server = upstream(reply_to, openai_reply())
    async with program_in_memory(ACCOUNT + LISTING, server) as program:
        await trio.sleep(1)
        assert len(await ids(program)) == len(OWN) + 2
        server.default(Answer(parts=(Stall(),)))
        await trio.sleep(320)
        began = trio.current_time()
        assert await ids(program) == OWN
        assert trio.current_time() - began < 0.1
        server.default(openai_reply())
        await trio.sleep(60)
        assert len(await ids(program)) == len(OWN) + 2


async def test_a_caller_of_openais_kind_gets_its_shape(autojump_clock: object) -> None:
    server = upstream(reply_to, openai_reply())
    async with program_in_memory(ACCOUNT + OPENAI, server) as program:
        page: Any = (await get(program, "/v1/models")).json()
        one: Any = (await get(program, "/api/v1/models/claude-supervisor-gpt-5")).json()
    assert page["object"] == "list"
    assert [entry["id"] for entry in page["data"]] == [*OWN, "claude-supervisor-gpt-5"]
    assert one == page["data"][-1]


async def test_one_model_is_shown_by_whoever_has_it(autojump_clock: object) -> None:
    server = upstream(reply_to, openai_reply())
    async with program_in_memory(ACCOUNT + OPENAI, server) as program:
        own = await get(program, "/v1/models/claude-supervisor-gpt-5", **CLAUDE)
        theirs: Any = (await get(program, "/v1/models/claude-opus-5-5", **CLAUDE)).json()
        nobodys = await get(program, "/v1/models/claude-none", **CLAUDE)
    ours: Any = own.json()
    assert (own.status, own.header("content-type")) == (200, "application/json")
    assert (ours["type"], ours["display_name"]) == ("model", "gpt-5 (other)")
    assert theirs["display_name"] == "Claude Opus 5.5"
    assert nobodys.status == 404


async def test_without_providers_and_aliases_the_list_passes_through(
    autojump_clock: object,
) -> None:
    server = upstream(reply_to, openai_reply())
    async with program_in_memory(ACCOUNT, server) as program:
        assert await ids(program) == OWN


# --- counting


async def test_tokens_of_a_foreign_model_are_estimated_and_said_to_be(
    autojump_clock: object,
) -> None:
    server = upstream(reply_to, openai_reply())
    async with program_in_memory(ACCOUNT + OPENAI, server) as program:
        short = await ask(program, {**MESSAGE, "model": "gpt-5"}, "/v1/messages/count_tokens")
        words = [{"role": "user", "content": "word " * 1000}]
        long = await ask(
            program, {"model": "gpt-5", "messages": words}, "/v1/messages/count_tokens"
        )
    assert server.requests == []
    assert short.header("x-supervisor-estimate") == "true"
    counted: Any = long.json()
    assert 1000 <= counted["input_tokens"] < 5000


async def test_a_provider_that_counts_is_asked(autojump_clock: object) -> None:
    def foreign(seen: SeenRequest) -> Answer:
        return (reply_to if "anthropic" in seen.path else gemini_reply())(seen)

    server = upstream(reply_to, foreign)
    async with program_in_memory(ACCOUNT + GEMINI + COMPATIBLE, server) as program:
        path = "/v1/messages/count_tokens"
        google = await ask(program, {**MESSAGE, "model": "gemini-3-pro"}, path)
        moon = await ask(program, {**MESSAGE, "model": "kimi-3"}, path)
    assert google.json() == {"input_tokens": 123}
    assert google.header("x-supervisor-estimate") is None
    counted: Any = moon.json()
    assert counted["input_tokens"] > 0
    assert [seen.path for seen in server.requests] == [
        "/v1beta/models/gemini-3-pro:countTokens",
        "/anthropic/v1/messages/count_tokens",
    ]


async def test_claudes_tokens_are_counted_by_anthropic(autojump_clock: object) -> None:
    server = ScriptedUpstream(reply_to)
    async with program_in_memory(ACCOUNT + OPENAI, server) as program:
        answer = await ask(program, MESSAGE, "/v1/messages/count_tokens")
    assert answer.status == 200
    assert server.requests[0].credential == "key-first"


async def test_the_head_of_a_merged_list_has_its_length_and_no_body(
    autojump_clock: object,
) -> None:
    server = upstream(reply_to, openai_reply())
    async with program_in_memory(ACCOUNT + OPENAI, server) as program:
        got = await get(program, "/v1/models", **CLAUDE)
        client = MemoryClient(await program.connect())
        await client.send("HEAD", "/v1/models", None, CLAUDE)
        head = await client.receive()
    assert (head.status, head.body, head.complete) == (200, b"", True)
    assert head.header("content-length") == str(len(got.body))
