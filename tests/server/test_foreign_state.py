"""What one provider leaves in a conversation comes back to it, and never to anybody else."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio

from server.scripted import (
    Answer,
    Cut,
    ScriptedUpstream,
    SeenRequest,
    Send,
    gemini_reply,
    json_answer,
    openai_reply,
    rate_limited,
    reply_with,
    text_block,
    thinking_block,
    tool_use_block,
)
from tests.kit.http_client import MemoryClient, Received
from tests.kit.program import program_in_memory
from tests.server.test_fallback import (
    ACCOUNT,
    COMPATIBLE,
    DRY,
    GEMINI,
    MESSAGE,
    OPENAI,
    STREAM,
    TO_COMPATIBLE,
    ask,
    collected,
    foreign_requests,
    upstream,
)

THOUGHT = reply_with(thinking_block("Hm.", "of-the-moon"), text_block("Hello."))
MARKED = "llm-supervisor:moon:of-the-moon"


def said(answer: Received) -> list[dict[str, Any]]:
    found: Any = answer.json() if answer.body.startswith(b"{") else collected(answer)
    content: list[dict[str, Any]] = found["content"]
    return content


def again(content: list[dict[str, Any]], base: dict[str, Any] = MESSAGE) -> dict[str, Any]:
    turns = [
        *MESSAGE["messages"],
        {"role": "assistant", "content": content},
        {"role": "user", "content": "And now?"},
    ]
    return {**base, "messages": turns}


@pytest.mark.parametrize("asked", [MESSAGE, STREAM])
async def test_a_compatible_providers_signature_comes_back_to_it_and_never_to_anthropic(
    asked: dict[str, Any], autojump_clock: object
) -> None:
    server = upstream(DRY, THOUGHT)
    async with program_in_memory(ACCOUNT + TO_COMPATIBLE, server) as program:
        content = said(await ask(program, asked))
        assert content[0] == {"type": "thinking", "thinking": "Hm.", "signature": MARKED}
        await ask(program, again(content))
        restored: Any = server.requests[-1].json()
        server.script("key-first", reply_with(text_block("Home.")))
        await trio.sleep(400)
        assert (await ask(program, again(content))).status == 200
    assert restored["messages"][1]["content"][0]["signature"] == "of-the-moon"
    home: Any = server.requests[-1].json()
    assert home["messages"][1]["content"] == [{"type": "text", "text": "Hello."}]


async def test_claudes_own_signature_is_left_alone(autojump_clock: object) -> None:
    """The control: what the accounts sign, they get back byte for byte."""
    server = upstream(reply_with(thinking_block("Hm.", "of-claude"), text_block("Hi.")), DRY)
    async with program_in_memory(ACCOUNT + TO_COMPATIBLE, server) as program:
        content = said(await ask(program))
        assert content[0]["signature"] == "of-claude"
        body = msgspec.json.encode(again(content))
        await ask(program, body)
    assert server.requests[-1].body == body


async def test_state_of_one_provider_is_not_told_to_the_next(autojump_clock: object) -> None:
    """OpenAI answers 400 to a field that it does not know."""
    config = ACCOUNT + GEMINI + OPENAI + COMPATIBLE
    call = tool_use_block("Bash", {"command": "ls"})
    server = upstream(DRY, gemini_reply(call, signature="c2ln"))
    tools = [{"name": "Bash", "input_schema": {"type": "object", "properties": {}}}]
    async with program_in_memory(config, server) as program:
        content = said(await ask(program, {**STREAM, "model": "gemini-3-pro", "tools": tools}))
        assert content[0]["extra_content"]["google"]["thought_signature"] == "c2ln"
        result = {"type": "tool_result", "tool_use_id": content[0]["id"], "content": "a.txt"}
        turns = again(content)
        turns["messages"][-1] = {"role": "user", "content": [result]}
        for model, answerer in (
            ("gemini-3-pro", gemini_reply()),
            ("gpt-5", openai_reply()),
            ("kimi-3", reply_with(text_block("ok"))),
        ):
            server.default(answerer)
            assert (await ask(program, {**turns, "model": model, "tools": tools})).status == 200
    google, openai, moon = (seen.body for seen in foreign_requests(server)[-3:])
    assert b'"thoughtSignature":"c2ln"' in google
    for body in (openai, moon):
        assert b"c2ln" not in body
        assert b"extra_content" not in body
        assert b"origin" not in body


async def test_counting_tells_a_provider_nothing_that_asking_does_not(
    autojump_clock: object,
) -> None:
    server = upstream(DRY, json_answer({"input_tokens": 7}))
    thought = {"type": "thinking", "thinking": "Hm.", "signature": MARKED}
    asked = {**again([thought, {"type": "text", "text": "Hello."}]), "model": "kimi-3"}
    async with program_in_memory(ACCOUNT + COMPATIBLE, server) as program:
        answer = await ask(program, asked, "/v1/messages/count_tokens")
    assert answer.json() == {"input_tokens": 7}
    (seen,) = foreign_requests(server)
    assert b"billing-header" not in seen.body
    assert b'"of-the-moon"' in seen.body


async def test_an_answer_that_is_cut_before_it_is_shown_is_the_next_ones(
    autojump_clock: object,
) -> None:
    """A whole answer waits for its end, so nobody has seen anything of it."""

    def foreign(seen: SeenRequest) -> Answer:
        if "moon" in str(seen.path) or seen.api_key == "key-moon":
            whole = THOUGHT(seen)
            return msgspec.structs.replace(whole, body=b"", parts=(Send(whole.body[:50]), Cut()))
        return openai_reply(text_block("From the second."))(seen)

    config = ACCOUNT + COMPATIBLE + OPENAI
    for provider, model in (("moon", "kimi-3"), ("other", "gpt-5")):
        config += f'[[fallback]]\nprovider = "{provider}"\nmodel = "{model}"\n'
    async with program_in_memory(config, upstream(DRY, foreign)) as program:
        answer = await ask(program)
    assert answer.status == 200
    assert said(answer) == [{"type": "text", "text": "From the second."}]


async def test_a_stream_through_the_openai_front_has_no_marks(autojump_clock: object) -> None:
    server = ScriptedUpstream(THOUGHT)
    server.script("key-first", rate_limited(retry_after=300))
    asked = {"model": "kimi-3", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    async with program_in_memory(ACCOUNT + COMPATIBLE, server) as program:
        client = MemoryClient(await program.connect())
        answer = await client.post("/v1/chat/completions", asked)
    assert b"reasoning_content" in answer.body
    assert b"llm-supervisor" not in answer.body


async def test_a_stream_that_said_its_length_is_as_long_as_it_becomes(
    autojump_clock: object,
) -> None:
    """The marks make it longer than the provider said."""

    def foreign(seen: SeenRequest) -> Answer:
        whole = b"".join(step.data for step in THOUGHT(seen).steps() if isinstance(step, Send))
        length = ("content-length", str(len(whole)))
        return Answer(headers=(("content-type", "text/event-stream"), length), body=whole)

    async with program_in_memory(ACCOUNT + TO_COMPATIBLE, upstream(DRY, foreign)) as program:
        answer = await ask(program, STREAM)
    assert answer.complete
    assert said(answer)[0]["signature"] == MARKED


async def test_the_openai_front_shows_nothing_of_an_answer_that_was_cut(
    autojump_clock: object,
) -> None:
    """What had come of the first provider's answer waits, and must not stand before the second's."""

    def foreign(seen: SeenRequest) -> Answer:
        if seen.api_key == "key-moon":
            whole = THOUGHT(seen)
            return msgspec.structs.replace(whole, body=b"", parts=(Send(whole.body[:50]), Cut()))
        return gemini_reply(text_block("From the second."))(seen)

    config = ACCOUNT + COMPATIBLE + GEMINI
    for provider, model in (("moon", "kimi-3"), ("google", "gemini-3-pro")):
        config += f'[[fallback]]\nprovider = "{provider}"\nmodel = "{model}"\n'
    asked = {"model": "claude-x", "messages": [{"role": "user", "content": "hi"}]}
    headers = {"anthropic-version": "of-the-client"}
    server = upstream(DRY, foreign)
    async with program_in_memory(config, server) as program:
        client = MemoryClient(await program.connect())
        answer = await client.post("/v1/chat/completions", asked, headers)
    told: Any = answer.json()
    assert told["choices"][0]["message"]["content"] == "From the second."
    assert all(seen.header("anthropic-version") != "of-the-client" for seen in server.requests)
