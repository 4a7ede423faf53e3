"""An account's error reaches a client of OpenAI's dialect in its own shape."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from server.scripted import Answer, text_stream
from tests.kit.program import program_in_memory
from tests.server.test_fallback import ACCOUNT, ask, upstream

BODY = b'{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: too many"}}'


@pytest.mark.parametrize("media_type", ["application/json", "text/event-stream", "text/plain"])
@pytest.mark.parametrize("status", [400, 404, 422])
@pytest.mark.parametrize("stream", [False, True])
async def test_whatever_kind_of_body_it_says_to_be(
    stream: bool, status: int, media_type: str, autojump_clock: object
) -> None:
    refusal = Answer(status=status, headers=(("content-type", media_type),), body=BODY)
    asked = {"model": "claude-x", "messages": [{"role": "user", "content": "hi"}]}
    async with program_in_memory(ACCOUNT, upstream(refusal, refusal)) as program:
        answer = await ask(program, {**asked, "stream": stream}, "/v1/chat/completions")
    told: Any = answer.json()
    assert (answer.status, answer.header("content-type")) == (status, "application/json")
    assert told["error"]["message"] == "max_tokens: too many"
    assert told["error"]["code"] == "invalid_request_error"


async def test_a_stream_that_ends_without_its_last_event_is_said_to_be_cut(
    autojump_clock: object,
) -> None:
    """Its client would take a part for the whole."""
    whole = text_stream("Half of what was to be said.")
    part = msgspec.structs.replace(whole, parts=whole.steps()[:-1])
    asked = {"model": "claude-x", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    async with program_in_memory(ACCOUNT, upstream(part, part)) as program:
        answer = await ask(program, asked, "/v1/chat/completions")
    *_, last, rest = answer.body.split(b"\n\n")
    error = json.loads(last.removeprefix(b"data: "))["error"]
    assert (answer.status, rest) == (200, b"")
    assert "ended before its answer did" in error["message"]
    assert b"[DONE]" not in answer.body
