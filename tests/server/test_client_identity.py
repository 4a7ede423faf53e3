"""Who the client is, Anthropic alone hears: the accounts' upstream everything, a provider nothing.

What may go to a provider is written down here as the names of headers and the words of a body; a
header that a client invents tomorrow is held by the same tests.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import trio

from server.scripted import SeenRequest, gemini_reply, openai_reply, reply_to
from server.scripted.answers import Source
from tests.kit.http_client import MemoryClient
from tests.kit.program import program_in_memory
from tests.server.test_fallback import (
    ACCOUNT,
    COMPATIBLE,
    DRY,
    GEMINI,
    OPENAI,
    foreign_requests,
    upstream,
)

SIGN = "telltale"
"""Stands in everything that names the client, and in nothing else."""

HEADERS = {
    "authorization": f"Bearer {SIGN}-token",
    "x-api-key": f"{SIGN}-key",
    "user-agent": f"claude-cli/2.1.329 ({SIGN})",
    "x-app": SIGN,
    "cookie": f"{SIGN}-cookie",
    "x-claude-code-session-id": SIGN,
    "x-claude-code-agent-id": SIGN,
    "x-claude-code-parent-agent-id": SIGN,
    "x-claude-code-request-class": SIGN,
    "x-claude-1p-request-class": SIGN,
    "x-claude-code-prompt-id": SIGN,
    "x-claude-code-prev-tool-durations": f"Bash={SIGN}",
    "x-stainless-os": SIGN,
    "x-stainless-runtime-version": SIGN,
    "x-stainless-retry-count": SIGN,
    "anthropic-beta": f"claude-code-20250219,{SIGN}-2031-01-01",
    "anthropic-version": "2026-10-21",
    "anthropic-dangerous-direct-browser-access": SIGN,
    "anthropic-organization": SIGN,
    "openai-organization": SIGN,
    "openai-project": SIGN,
    "x-goog-user-project": SIGN,
    "traceparent": f"00-{SIGN}",
    "accept-language": SIGN,
    "x-of-the-users-own": SIGN,
}
WHO = json.dumps({"device_id": SIGN, "account_uuid": SIGN, "session_id": SIGN})
MESSAGES: dict[str, Any] = {
    "max_tokens": 9,
    "system": [
        {"type": "text", "text": f"x-anthropic-billing-header: cc_version=2.1.329.{SIGN};"},
        {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
    ],
    "messages": [{"role": "user", "content": "hi"}],
    "metadata": {"user_id": WHO},
    "user_profile_id": SIGN,
    "workspace_id": SIGN,
    "billing_policy": {"id": SIGN},
    "fallback_credit_token": SIGN,
}
CHAT: dict[str, Any] = {
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
    "user": SIGN,
    "metadata": {"user": SIGN},
    "safety_identifier": SIGN,
    "prompt_cache_key": SIGN,
}

CREDENTIALS = {"authorization", "x-api-key", "cookie"}
ALLOWED = {"host", "content-type", "content-length", "accept", "accept-encoding", "user-agent"}
PROVIDERS = {
    "openai": (OPENAI, "gpt-5", {"authorization"}),
    "gemini": (GEMINI, "gemini-3-pro", {"x-goog-api-key"}),
    "anthropic": (COMPATIBLE, "kimi-3", {"x-api-key", "anthropic-version"}),
}
NAMES = {"openai": "other", "gemini": "google", "anthropic": "moon"}
ANSWERS: dict[str, Source] = {
    "openai": openai_reply(),
    "gemini": gemini_reply(),
    "anthropic": reply_to,
}
WAYS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "a whole answer": ("/v1/messages?beta=true", MESSAGES),
    "a stream": ("/v1/messages?beta=true", {**MESSAGES, "stream": True}),
    "a count": ("/v1/messages/count_tokens?beta=true", MESSAGES),
    "a chat completion": ("/v1/chat/completions", CHAT),
}
ASKED = [
    (dialect, way)
    for dialect in PROVIDERS
    for way in WAYS
    if (dialect, way) != ("openai", "a count")  # estimated here: there is nobody to ask
]


def told(seen: SeenRequest) -> str:
    return repr((seen.target, seen.headers)) + seen.body.decode()


def names(seen: SeenRequest) -> set[str]:
    return {name.decode().lower() for name, _ in seen.headers}


@pytest.mark.promise("X6")
@pytest.mark.parametrize(("dialect", "way"), ASKED)
async def test_a_provider_hears_the_question_and_nothing_of_who_asks(
    dialect: str, way: str, autojump_clock: object
) -> None:
    config, model, own = PROVIDERS[dialect]
    path, document = WAYS[way]
    path += f"{'&' if '?' in path else '?'}of={SIGN}"
    server = upstream(reply_to, ANSWERS[dialect])
    async with program_in_memory(ACCOUNT + config, server) as program:
        client = MemoryClient(await program.connect())
        answer = await client.post(path, {**document, "model": model}, HEADERS)
    assert answer.status == 200
    (seen,) = foreign_requests(server)
    assert "Be brief." in told(seen)
    assert names(seen) <= ALLOWED | own
    assert seen.header("user-agent") == "llm-supervisor"
    if (dialect, way) == ("openai", "a chat completion"):
        # What stands in the body was written for a provider of this very dialect.
        assert seen.json() == {**document, "model": model}
        assert SIGN not in repr((seen.target, seen.headers))
    else:
        assert SIGN not in told(seen)


@pytest.mark.parametrize("dialect", list(PROVIDERS))
@pytest.mark.parametrize("way", ["a whole answer", "a stream", "a chat completion"])
async def test_a_provider_that_steps_in_for_the_accounts_hears_no_more(
    dialect: str, way: str, autojump_clock: object
) -> None:
    config, model, own = PROVIDERS[dialect]
    path, document = WAYS[way]
    config += f'[[fallback]]\nprovider = "{NAMES[dialect]}"\nmodel = "{model}"\n'
    server = upstream(DRY, ANSWERS[dialect])
    async with program_in_memory(ACCOUNT + config, server) as program:
        client = MemoryClient(await program.connect())
        answer = await client.post(path, {**document, "model": "claude-x"}, HEADERS)
    assert answer.status == 200
    (seen,) = foreign_requests(server)
    assert names(seen) <= ALLOWED | own
    if (dialect, way) != ("openai", "a chat completion"):
        assert SIGN not in told(seen)


@pytest.mark.parametrize("dialect", list(PROVIDERS))
async def test_asking_a_provider_for_its_models_tells_nothing_of_the_client_either(
    dialect: str, autojump_clock: object
) -> None:
    config, model, own = PROVIDERS[dialect]
    server = upstream(reply_to, ANSWERS[dialect])
    listing = config.replace(f'models = ["{model}"]\n', "")
    async with program_in_memory(ACCOUNT + listing, server) as program:
        client = MemoryClient(await program.connect())
        await client.get("/v1/models?limit=1000", HEADERS)
        await trio.sleep(1)
        await client.get("/v1/models?limit=1000", HEADERS)
    asked = foreign_requests(server)
    assert asked
    for seen in asked:
        assert SIGN not in told(seen)
        assert names(seen) <= ALLOWED | own


async def test_the_accounts_upstream_hears_all_of_it_but_the_clients_credential(
    autojump_clock: object,
) -> None:
    """The control: the program takes nothing out on its way to Anthropic, and adds nothing."""
    server = upstream(reply_to, openai_reply())
    async with program_in_memory(ACCOUNT + OPENAI, server) as program:
        client = MemoryClient(await program.connect())
        body = json.dumps({**MESSAGES, "model": "claude-x"}).encode()
        await client.post("/v1/messages?beta=true", body, HEADERS)
    (seen,) = server.requests
    assert seen.body == body
    heard = {name.decode().lower(): value.decode() for name, value in seen.headers}
    kept = {name: value for name, value in HEADERS.items() if name not in CREDENTIALS}
    assert {name: heard.get(name) for name in kept} == kept
    assert set(heard) - set(kept) <= ALLOWED | {"x-api-key"}
    assert heard["x-api-key"] == "key-first"
