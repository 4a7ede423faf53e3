"""What a provider's answer cost is in the line, and each provider gets what is its own."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio

from server.repeats import Repeats
from server.scripted import (
    Answer,
    Cut,
    ScriptedUpstream,
    SeenRequest,
    Send,
    error,
    gemini_reply,
    no_answer,
    openai_error,
    openai_reply,
    reply_to,
    server_error,
    stall_before_head,
    text_block,
    text_message,
    text_stream,
)
from tests.kit.http_client import MemoryClient
from tests.kit.program import program_in_memory
from tests.server.test_destinations import REDIRECT, reading
from tests.server.test_fallback import (
    ACCOUNT,
    CLIENT,
    COMPATIBLE,
    DRY,
    GEMINI,
    MESSAGE,
    OPENAI,
    STREAM,
    TO_COMPATIBLE,
    TO_OPENAI,
    ask,
    line,
    status,
    upstream,
)

TOKENS = ("input_tokens", "output_tokens")
CHAT: dict[str, Any] = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (STREAM, text_stream("hello", model="served", input_tokens=100, output_tokens=7)),
        (MESSAGE, text_message("hello", model="served", input_tokens=100, output_tokens=7)),
    ],
    ids=["a stream", "a whole answer"],
)
async def test_what_a_provider_of_our_own_dialect_cost_is_in_the_line(
    asked: object, answer: Answer, autojump_clock: object
) -> None:
    async with program_in_memory(ACCOUNT + TO_COMPATIBLE, upstream(DRY, answer)) as program:
        assert (await ask(program, asked)).status == 200
        written = await line(program)
    assert [written[name] for name in TOKENS] == [100, 7]
    assert (written["provider"], written["served_model"]) == ("moon", "served")


async def test_what_was_seen_of_a_providers_cut_stream_is_in_the_line_too(
    autojump_clock: object,
) -> None:
    whole = text_stream("hello", model="served", input_tokens=100, output_tokens=7)
    sent = b"".join(step.data for step in whole.parts if isinstance(step, Send))
    answer = Answer(
        headers=whole.headers, parts=(Send(sent[: sent.index(b"event: message_delta")]), Cut())
    )
    async with program_in_memory(ACCOUNT + TO_COMPATIBLE, upstream(DRY, answer)) as program:
        assert not (await ask(program, STREAM)).complete
        written = await line(program)
    assert (written["input_tokens"], written["terminal"]) == (100, "upstream_closed")


@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_chat_completion_cost_is_in_the_line_and_has_the_providers_own_name(
    stream: bool, autojump_clock: object
) -> None:
    """One that is passed through unread differs in the model's name alone."""
    config = OPENAI + '[models]\naliases = { "fast" = "gpt-5" }\n'
    server = upstream(reply_to, openai_reply(text_block("Hello.")))
    asked = {**CHAT, "model": "fast", "stream": stream}
    async with program_in_memory(ACCOUNT + config, server) as program:
        answer = await ask(program, asked, "/v1/chat/completions")
        written = await line(program)
    (seen,) = server.requests
    assert (answer.status, answer.complete) == (200, True)
    assert seen.json() == {**asked, "model": "gpt-5"}
    assert (written["model"], written["served_model"]) == ("fast", "gpt-5")
    assert written["input_tokens"]


async def test_each_provider_is_asked_at_its_own_address_with_its_own_key(
    autojump_clock: object,
) -> None:
    def foreign(seen: SeenRequest) -> Answer:
        if "generatecontent" in seen.path.lower():
            return gemini_reply(text_block("From the last."))(seen)
        return openai_error(503, "busy") if seen.bearer else server_error(503)

    server = upstream(DRY, foreign)
    config = (
        ACCOUNT + OPENAI + TO_COMPATIBLE + '[[fallback]]\nprovider = "other"\nmodel = "gpt-5"\n'
    )
    config += GEMINI + '[[fallback]]\nprovider = "google"\nmodel = "gemini-3-pro"\n'
    async with program_in_memory(config, server) as program:
        assert (await ask(program)).status == 200
    asked = [(seen.header("host"), seen.bearer or seen.api_key) for seen in server.requests[1:3]]
    assert asked == [("moon.test", "key-moon"), ("openai.test", "key-other")]
    last = server.requests[3]
    assert (last.header("host"), last.header("x-goog-api-key")) == ("gemini.test", "key-google")
    assert (last.bearer, last.api_key) == (None, None)


async def test_a_refusal_that_is_passed_on_has_one_length(autojump_clock: object) -> None:
    """Byte for byte: a library would make one of two that say the same."""
    server = upstream(reply_to, error(400, message="no such tool"))
    config = ACCOUNT + COMPATIBLE + '[[route]]\nmatch = "kimi-*"\nprovider = "moon"\n'
    received = b""
    async with program_in_memory(config, server) as program:
        client = MemoryClient(await program.connect())
        asked = msgspec.json.encode({**MESSAGE, "model": "kimi-3"})
        await client.send("POST", "/v1/messages", asked, CLIENT)
        while b"no such tool" not in received:
            received += await client.stream.receive_some(65536)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert received.lower().count(b"content-length:") == 1


async def test_a_provider_that_serves_again_rests_no_longer(autojump_clock: object) -> None:
    """It was asked although it failed a moment ago, because nobody else was left."""
    server = upstream(DRY, openai_error(500, "broken"))
    config = ACCOUNT + OPENAI + '[[fallback]]\nprovider = "other"\nmodel = "gpt-5"\n'
    async with program_in_memory(config, server) as program:
        for _ in range(6):
            await ask(program)
        (before,) = (await status(program))["fallback"]
        server.default(openai_reply(text_block("Well again.")))
        answer = await ask(program)
        (after,) = (await status(program))["fallback"]
    assert (before["state"], before["reason"]) == ("cooling", "server")
    assert (answer.status, after["state"]) == (200, "available")


@pytest.mark.parametrize("dialect", [TO_COMPATIBLE, TO_OPENAI], ids=["our own", "another"])
async def test_a_provider_that_gives_no_answer_rests_and_is_not_the_clients_business(
    dialect: str, autojump_clock: object
) -> None:
    async with program_in_memory(ACCOUNT + dialect, upstream(DRY, no_answer())) as program:
        answer = await ask(program)
        (after,) = (await status(program))["fallback"]
    assert (answer.status, answer.header("retry-after")) == (429, "300")
    assert (after["state"], after.get("reason")) == ("cooling", "server")


async def test_a_provider_that_does_not_count_in_time_is_not_waited_for(
    autojump_clock: object,
) -> None:
    config = ACCOUNT + COMPATIBLE + '[[route]]\nmatch = "kimi-*"\nprovider = "moon"\n'
    server = upstream(reply_to, stall_before_head())
    async with program_in_memory(config, server) as program:
        began = trio.current_time()
        asked = {**MESSAGE, "model": "kimi-3"}
        answer = await ask(program, asked, "/v1/messages/count_tokens")
        took = trio.current_time() - began
    assert (answer.status, answer.header("x-supervisor-estimate")) == (200, "true")
    assert 9 < took <= 11


async def test_a_client_that_pays_itself_opens_no_circuit(autojump_clock: object) -> None:
    """Its requests are never repeated, so there is nothing that could be spared."""
    server = ScriptedUpstream(server_error(529))
    async with program_in_memory("", server) as program:
        for number in range(30):
            key = f"own-{number % 3}"
            answer = await ask(program, MESSAGE, authorization="", **{"x-api-key": key})
            assert answer.status == 529
        repeats = program.program.parts.door.ports.repeats
    assert len(server.requests) == 30
    assert repeats.resting() == []


async def test_a_request_that_a_provider_failed_is_the_first_of_the_accounts_all_the_same(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they may repeat is a share of the requests that come to them, whoever was asked before."""
    counted, whole = [], Repeats.first

    def first(self: Repeats, base_url: str) -> None:
        counted.append(base_url)
        whole(self, base_url)

    monkeypatch.setattr(Repeats, "first", first)
    server = upstream(reading(0.95), openai_error(500, "broken"))
    asked = {**MESSAGE, "model": "claude-opus-5-5"}
    async with program_in_memory(ACCOUNT + REDIRECT, server) as program:
        answers = [await ask(program, asked) for _ in range(3)]
    assert [one.header("x-supervisor-attempts") for one in answers] == ["1", "2", "2"]
    assert len(counted) == 3


async def test_what_only_the_client_can_mend_comes_before_the_first_choices_fault(
    autojump_clock: object,
) -> None:
    def foreign(seen: SeenRequest) -> Answer:
        long = error(400, message="prompt is too long")
        return openai_error(500, "broken") if seen.bearer else long

    server = upstream(reading(0.95), foreign)
    asked = {**MESSAGE, "model": "claude-opus-5-5"}
    async with program_in_memory(ACCOUNT + REDIRECT + TO_COMPATIBLE, server) as program:
        await ask(program, asked)
        server.script("key-first", DRY)
        answer = await ask(program, asked)
        written = await line(program)
    assert (answer.status, written["attempts"]) == (400, 3)
    assert b"prompt is too long" in answer.body


async def test_no_two_translated_answers_share_an_id(autojump_clock: object) -> None:
    server = upstream(DRY, openai_reply(text_block("Hello.")))
    async with program_in_memory(ACCOUNT + TO_OPENAI, server) as program:
        told: list[Any] = [(await ask(program)).json() for _ in range(3)]
    assert len({one["id"] for one in told}) == 3
