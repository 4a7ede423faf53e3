"""An account's error reaches a client of OpenAI's dialect in its own shape."""

from __future__ import annotations

from typing import Any

import pytest

from server.scripted import Answer
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
