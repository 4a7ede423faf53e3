"""A ping had to open the client's stream before anybody served: whoever does goes on with it."""

from __future__ import annotations

import pytest

from server.scripted import (
    Answer,
    ScriptedUpstream,
    SeenRequest,
    openai_reply,
    rate_limited,
    text_block,
)
from tests.kit.http_client import Received
from tests.kit.program import program_in_memory
from tests.server.test_destinations import reading
from tests.server.test_fallback import ACCOUNT, GEMINI, STREAM, TO_OPENAI, ask, collected, line

REDIRECT = GEMINI + '[redirect]\nprovider = "google"\nopus = "gemini-3-pro"\n'
OPUS = {**STREAM, "model": "claude-opus-5-5"}
CHAT = {
    "model": "claude-opus-5-5",
    "stream": True,
    "messages": [{"role": "user", "content": "hi"}],
}
LATE = Answer(status=503, headers=(("content-type", "text/plain"),), body=b"busy", delay=40.0)
"""Of the provider that is asked first: by then two pings were due."""


async def second(server: ScriptedUpstream, asked: object, path: str) -> tuple[Received, object]:
    """The answer to a request that comes while the account is nearly used up, and who gave it."""
    async with program_in_memory(ACCOUNT + REDIRECT + TO_OPENAI, server) as program:
        assert (await ask(program, OPUS)).header("x-supervisor-account") == "first"
        answer = await ask(program, asked, path)
        written = await line(program)
    assert (answer.status, answer.complete) == (200, True)
    return answer, written["account"] or written["provider"]


async def test_an_account_goes_on_with_the_stream_of_a_provider_that_failed(
    autojump_clock: object,
) -> None:
    server = ScriptedUpstream(LATE)
    server.script("key-first", then=reading(0.95))
    answer, served = await second(server, OPUS, "/v1/messages")
    assert served == "first"
    assert answer.body.startswith(b"event: ping\n")
    assert collected(answer)["content"]


@pytest.mark.parametrize("fallback", [False, True])
async def test_a_chat_completion_goes_on_with_it_too(
    fallback: bool, autojump_clock: object
) -> None:
    """Translated back where an account serves, and as it comes from a provider that speaks it."""

    def foreign(seen: SeenRequest) -> Answer:
        late = "generatecontent" in seen.path.lower()
        return LATE if late else openai_reply(text_block("At last."))(seen)

    server = ScriptedUpstream(foreign)
    again = rate_limited(retry_after=300) if fallback else reading(0.95)
    server.script("key-first", reading(0.95), then=again)
    answer, served = await second(server, CHAT, "/v1/chat/completions")
    assert served == ("other" if fallback else "first")
    assert answer.body.startswith(b": ping\n\n: ping\n\ndata: {")
    assert answer.body.endswith(b"data: [DONE]\n\n")
    assert answer.body.count(b"HTTP/1.1") == 0
