"""What a stream has used is known, also where a client of OpenAI's dialect did not ask for it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from server.scripted import Answer, ScriptedUpstream, SeenRequest, Send, openai_reply
from server.unasked_usage import asking_for_usage
from tests.kit.program import program_in_memory
from tests.server.test_destinations import ROUTE
from tests.server.test_fallback import ACCOUNT, ask, line

ASKED: dict[str, Any] = {
    "model": "gpt-5",
    "stream": True,
    "messages": [{"role": "user", "content": "hi"}],
}


def as_openai(seen: SeenRequest) -> Answer:
    """Tells the usage of a stream to who asks for it, and in pieces that end anywhere."""
    answer = openai_reply()(seen)
    told = (seen.json().get("stream_options") or {}).get("include_usage")
    whole = b"".join(
        part.data
        for part in answer.parts
        if isinstance(part, Send) and (told or b'"usage"' not in part.data)
    )
    pieces = [whole[place : place + 50] for place in range(0, len(whole), 50)]
    return msgspec.structs.replace(answer, parts=tuple(map(Send, pieces)))


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"include_usage": True}])
async def test_usage_is_booked_and_told_to_who_asked_for_it(
    options: dict[str, bool] | None, autojump_clock: object
) -> None:
    asked = {**ASKED, "stream_options": options}
    server = ScriptedUpstream(as_openai)
    async with program_in_memory(ACCOUNT + ROUTE, server) as program:
        answer = await ask(program, asked, "/v1/chat/completions")
        written = await line(program)
    assert (written["input_tokens"], written["output_tokens"]) == (30, 7)
    events = [event for event in answer.body.split(b"\n\n") if event]
    assert events[-1] == b"data: [DONE]"
    chunks = [json.loads(event.removeprefix(b"data: ")) for event in events[:-1]]
    wanted = bool(options and options.get("include_usage"))
    assert [bool(chunk["choices"]) for chunk in chunks].count(False) == wanted
    words = [c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"]]
    assert "".join(words) == "Hello from another provider."


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m"}',
        b'{"stream":false}',
        b'{"stream":true, "stream_options":{"include_usage" : true}}',
        b'{"stream":true,"stream_options":"odd"}',
        b"[]",
        b"x",
    ],
)
def test_what_needs_no_word_more_stays_as_it_is(body: bytes) -> None:
    assert asking_for_usage(body) is body


def test_other_options_and_all_else_stay_as_they_are_written() -> None:
    body = b'{"temperature":1.50,"stream":true,"stream_options":{"include_obfuscation":false}}'
    assert asking_for_usage(body) == (
        b'{"temperature":1.50,"stream":true,"stream_options":'
        b'{"include_obfuscation":false,"include_usage":true}}'
    )
