"""What providers answer that is neither right nor plainly wrong."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from protocol.sse import EventScanner
from server.provider_request import headers_for
from server.scripted import Answer, Pause, Send, json_answer, openai_reply, text_block
from tests.kit.program import program_in_memory
from tests.server.test_fallback import (
    ACCOUNT,
    COMPATIBLE,
    DRY,
    MESSAGE,
    OPENAI,
    STREAM,
    TO_COMPATIBLE,
    TO_OPENAI,
    ask,
    collected,
    foreign_requests,
    status,
    upstream,
)

SSE = (("content-type", "text/event-stream"),)
HELLO = b'data: {"choices":[{"delta":{"content":"Hello."},"finish_reason":"stop"}]}'


async def test_a_server_that_knows_no_streams_is_read_all_the_same(autojump_clock: object) -> None:
    choice = {"message": {"content": "Hello."}, "finish_reason": "stop"}
    server = upstream(DRY, json_answer({"choices": [choice], "usage": {"prompt_tokens": 3}}))
    async with program_in_memory(ACCOUNT + TO_OPENAI, server) as program:
        message = collected(await ask(program, STREAM))
    assert message["content"] == [{"type": "text", "text": "Hello."}]
    assert message["usage"]["input_tokens"] == 3


@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n", b"\n\ndata: [DONE]", b"\r\n\r\n"])
async def test_the_last_event_counts_however_it_ends(end: bytes, autojump_clock: object) -> None:
    server = upstream(DRY, Answer(headers=SSE, body=HELLO + end))
    async with program_in_memory(ACCOUNT + TO_OPENAI, server) as program:
        message = collected(await ask(program, STREAM))
    assert message["content"] == [{"type": "text", "text": "Hello."}]


async def test_a_redirect_is_not_followed_and_not_the_clients(autojump_clock: object) -> None:
    """Also where the provider is the first choice: the client would take its body for an answer."""
    elsewhere = Answer(status=302, headers=(("location", "http://elsewhere.test/"),))
    server = upstream(DRY, elsewhere)
    async with program_in_memory(ACCOUNT + OPENAI, server) as program:
        answer = await ask(program, {**MESSAGE, "model": "gpt-5"})
    assert answer.status == 502
    assert answer.header("location") is None
    assert len(foreign_requests(server)) == 1


async def test_a_key_in_an_error_in_mid_stream_is_masked(autojump_clock: object) -> None:
    words = b'data: {"error":{"message":"who is key-other-0123456789?","code":500}}\n\n'
    begun = HELLO.replace(b'"stop"', b"null") + b"\n\n"
    server = upstream(DRY, Answer(headers=SSE, body=begun + words))
    config = (ACCOUNT + TO_OPENAI).replace('"key-other"', '"key-other-0123456789"')
    async with program_in_memory(config, server) as program:
        answer = await ask(program, STREAM)
    last = EventScanner().feed(answer.body)[-1]
    assert last.name == "error"
    assert b"who is" in last.data
    assert b"0123456789" not in answer.body


async def test_a_stream_that_a_ping_opened_says_who_serves(autojump_clock: object) -> None:
    slow = Answer(headers=SSE, parts=(Pause(40), Send(HELLO + b"\n\n")))
    server = upstream(DRY, slow)
    async with program_in_memory(ACCOUNT + TO_OPENAI, server) as program:
        answer = await ask(program, STREAM, **{"x-request-id": "one"})
    assert answer.body.startswith(b"event: ping")
    assert answer.header("x-supervisor-fallback") == "other/gpt-5"
    assert collected(answer)["content"] == [{"type": "text", "text": "Hello."}]


@pytest.mark.parametrize(
    ("kind", "reason"), [("rate_limit_error", "limited"), ("overloaded_error", "server")]
)
async def test_an_error_that_begins_a_compatible_providers_stream_is_judged_by_its_type(
    kind: str, reason: str, autojump_clock: object
) -> None:
    error = {"type": "error", "error": {"type": kind, "message": "no"}}
    body = b"event: error\ndata: " + msgspec.json.encode(error) + b"\n\n"
    config = ACCOUNT + TO_COMPATIBLE + TO_OPENAI
    server = upstream(DRY, lambda seen: _by_key(seen, Answer(headers=SSE, body=body)))
    async with program_in_memory(config, server) as program:
        answer = await ask(program, STREAM)
        (moon, _) = (await status(program))["fallback"]
    assert answer.header("x-supervisor-fallback") == "other/gpt-5"
    assert moon["reason"] == reason


def _by_key(seen: Any, of_moon: Answer) -> Answer:
    return of_moon if seen.api_key == "key-moon" else openai_reply(text_block("ok"))(seen)


@pytest.mark.parametrize("config", [OPENAI, COMPATIBLE])
async def test_a_provider_is_asked_for_a_body_that_can_be_read(
    config: str, autojump_clock: object
) -> None:
    async with program_in_memory(ACCOUNT + config, upstream(DRY, DRY)) as program:
        (provider,) = program.parts.config.providers
    assert (b"accept-encoding", b"identity") in headers_for(provider)


async def test_a_provider_that_rests_is_asked_after_those_that_do_not(
    autojump_clock: object,
) -> None:
    config = ACCOUNT + OPENAI + COMPATIBLE
    for provider, model in (("moon", "kimi-3"), ("other", "gpt-5")):
        config += f'[[fallback]]\nprovider = "{provider}"\nmodel = "{model}"\n'
    server = upstream(DRY, lambda seen: _by_key(seen, Answer(status=500)))
    async with program_in_memory(config, server) as program:
        await ask(program)
        await ask(program)
    asked = ["moon" if seen.api_key == "key-moon" else "other" for seen in foreign_requests(server)]
    assert asked == ["moon", "other", "other"]
