"""A provider that takes shorter answers only: the request is lowered to what it says, at once."""

from __future__ import annotations

from typing import Any

import pytest

from server.scripted import (
    Answer,
    ScriptedUpstream,
    SeenRequest,
    gemini_error,
    gemini_reply,
    openai_error,
    openai_reply,
)
from tests.kit.http_client import MemoryClient
from tests.kit.program import program_in_memory
from tests.server.test_fallback import GEMINI, OPENAI, STREAM, ask, collected, line

MOST = 8_192
LONG: dict[str, Any] = {"model": "gpt-5", "max_tokens": 128_000, "messages": STREAM["messages"]}


def asked_for(seen: SeenRequest) -> int:
    body = seen.json()
    found = body.get("max_tokens") or body["generationConfig"]["maxOutputTokens"]
    assert isinstance(found, int)
    return found


def strict(seen: SeenRequest) -> Answer:
    """DeepSeek's words."""
    if seen.method == b"POST" and asked_for(seen) > MOST:
        words = f"Invalid max_tokens value, the valid range of max_tokens is [1, {MOST}]"
        return openai_error(400, words)
    return openai_reply()(seen)


def strict_google(seen: SeenRequest) -> Answer:
    if seen.method == b"POST" and asked_for(seen) > MOST:
        words = (
            f"Unable to submit request because it has a maxOutputTokens value of {asked_for(seen)} "
            f"but the supported range is from 1 (inclusive) to {MOST + 1} (exclusive)."
        )
        return gemini_error(400, "INVALID_ARGUMENT", words)
    return gemini_reply()(seen)


def asked_of(server: ScriptedUpstream) -> list[int]:
    return [asked_for(seen) for seen in server.requests if seen.method == b"POST"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("config", "model", "provider", "asked"),
    [
        (OPENAI, "gpt-5", strict, 128_000),
        (GEMINI, "gemini-3-pro", strict_google, 65_536),
    ],
)
async def test_a_limit_that_a_provider_tells_is_kept_to_at_once_and_from_then_on(
    config: str, model: str, provider: Any, asked: int, stream: bool, autojump_clock: object
) -> None:
    server = ScriptedUpstream(provider)
    document = {**LONG, "model": model, "stream": stream}
    async with program_in_memory(config, server) as program:
        first = await ask(program, document)
        written = await line(program)
        second = await ask(program, document)
    assert (first.status, second.status) == (200, 200)
    message: Any = collected(first) if stream else first.json()
    assert message["content"] == [{"type": "text", "text": "Hello from another provider."}]
    assert asked_of(server) == [asked, MOST, MOST]
    assert written["attempts"] == 2
    assert second.header("x-supervisor-attempts") == "1"


async def test_who_asks_for_less_is_left_alone(autojump_clock: object) -> None:
    server = ScriptedUpstream(strict)
    async with program_in_memory(OPENAI, server) as program:
        await ask(program, LONG)
        await ask(program, {**LONG, "max_tokens": 100})
    assert asked_of(server) == [128_000, MOST, 100]


async def test_both_attempts_are_explained(autojump_clock: object) -> None:
    async with program_in_memory(OPENAI, ScriptedUpstream(strict)) as program:
        await ask(program, LONG, **{"x-request-id": "one"})
        client = MemoryClient(await program.connect())
        told: Any = (await client.get("/status/requests/one")).json()
    attempts = [step for step in told["explanation"]["steps"] if step["step"] == "attempt"]
    assert [one["status"] for one in attempts] == [400, 200]
    assert "valid range of max_tokens" in attempts[0]["detail"]


async def test_what_is_left_of_a_context_counts_for_that_request_alone(
    autojump_clock: object,
) -> None:
    """A longer conversation has less room, and one that was compacted has more again."""
    taken = iter([20_000, 20_000, 50_000, 50_000])

    def local(seen: SeenRequest) -> Answer:
        if seen.method != b"POST":
            return openai_reply()(seen)
        count, asked = next(taken), asked_for(seen)
        if count + asked > 65_536:
            words = (
                f"'max_tokens' or 'max_completion_tokens' is too large: {asked}. This model's "
                f"maximum context length is 65536 tokens and your request has {count} input "
                f"tokens ({asked} > 65536 - {count})."
            )
            return openai_error(400, words)
        return openai_reply()(seen)

    server = ScriptedUpstream(local)
    async with program_in_memory(OPENAI, server) as program:
        for _ in range(2):
            assert (await ask(program, LONG)).status == 200
    assert asked_of(server) == [128_000, 45_280, 128_000, 15_280]


async def test_a_provider_that_refuses_its_own_word_is_asked_no_third_time(
    autojump_clock: object,
) -> None:
    def stubborn(seen: SeenRequest) -> Answer:
        return openai_error(400, f"the valid range of max_tokens is [1, {asked_for(seen) // 2}]")

    server = ScriptedUpstream(stubborn)
    async with program_in_memory(OPENAI, server) as program:
        answer = await ask(program, LONG)
    assert answer.status == 400
    assert asked_of(server) == [128_000, 64_000]
    assert b"[1, 32000]" in answer.body


async def test_what_did_not_help_is_not_remembered_for_others(autojump_clock: object) -> None:
    """A refusal that quotes what its client sent must not shorten everybody's answers."""

    def quoting(seen: SeenRequest) -> Answer:
        if seen.method == b"POST" and b"less than" in seen.body:
            return openai_error(400, f"not understood: {seen.json()['messages'][0]['content']}")
        return openai_reply()(seen)

    server = ScriptedUpstream(quoting)
    words = [{"role": "user", "content": "max_tokens must be less than or equal to 7"}]
    async with program_in_memory(OPENAI, server) as program:
        assert (await ask(program, {**LONG, "messages": words})).status == 400
        assert (await ask(program, LONG)).status == 200
    assert asked_of(server) == [128_000, 7, 128_000]


async def test_a_refusal_about_anything_else_is_the_clients(autojump_clock: object) -> None:
    """The control."""
    server = ScriptedUpstream(lambda seen: openai_error(400, "max_tokens must be at least 1"))
    async with program_in_memory(OPENAI, server) as program:
        assert (await ask(program, LONG)).status == 400
    assert len(asked_of(server)) == 1


async def test_a_client_of_the_providers_own_dialect_is_not_corrected(
    autojump_clock: object,
) -> None:
    """It reads these words itself, and nobody but it may change what it sent."""
    server = ScriptedUpstream(strict)
    async with program_in_memory(OPENAI, server) as program:
        chat = {"model": "gpt-5", "max_tokens": 128_000, "messages": LONG["messages"]}
        answer = await ask(program, chat, "/v1/chat/completions")
    assert answer.status == 400
    assert asked_of(server) == [128_000]
