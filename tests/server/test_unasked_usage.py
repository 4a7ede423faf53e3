"""What a stream has used counts for a key with a limit, also where its client did not ask for it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from protocol.body_edit import asking_for_usage
from server.scripted import Answer, ScriptedUpstream, SeenRequest, Send, openai_reply
from tests.kit.http_client import MemoryClient, Received
from tests.kit.memory_keys import OWNER_KEY, MemoryKeys
from tests.kit.program import program_in_memory
from tests.server.test_destinations import ROUTE
from tests.server.test_fallback import ACCOUNT

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


KEYS = "[access]\nkeys = true\n"
OPTIONS: list[dict[str, bool] | None] = [
    None,
    {},
    {"include_usage": False},
    {"include_usage": True},
]


async def asked_with(
    limits: dict[str, float], options: dict[str, bool] | None
) -> tuple[Received, dict[str, Any], SeenRequest]:
    """The answer to a client whose key has these limits, its line, and what the provider saw."""
    server, disk = ScriptedUpstream(as_openai), MemoryKeys()
    _, key = disk.add(1, **limits)
    async with program_in_memory(KEYS + ACCOUNT + ROUTE, server, keys=disk) as program:
        document = {**ASKED, "stream_options": options}
        headers = {"authorization": f"Bearer {key}"}
        client = MemoryClient(await program.connect())
        answer = await client.post("/v1/chat/completions", document, headers)
        owner = MemoryClient(await program.connect())
        headers = {"authorization": f"Bearer {OWNER_KEY}"}
        told: Any = (await owner.get("/status/requests", headers)).json()
        line: dict[str, Any] = told["requests"][0]
    assert answer.status == 200
    return answer, line, server.requests[0]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("limit", ["tokens_per_minute", "budget_per_day"])
async def test_usage_is_booked_and_told_to_who_asked_for_it(
    limit: str, options: dict[str, bool] | None, autojump_clock: object
) -> None:
    answer, written, _ = await asked_with({limit: 1000}, options)
    assert (written["input_tokens"], written["output_tokens"]) == (30, 7)
    events = [event for event in answer.body.split(b"\n\n") if event]
    assert events[-1] == b"data: [DONE]"
    chunks = [json.loads(event.removeprefix(b"data: ")) for event in events[:-1]]
    wanted = bool(options and options.get("include_usage"))
    assert [bool(chunk["choices"]) for chunk in chunks].count(False) == wanted
    words = [c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"]]
    assert "".join(words) == "Hello from another provider."


@pytest.mark.parametrize("options", OPTIONS)
async def test_where_no_limit_depends_on_it_the_body_stays_as_it_came(
    options: dict[str, bool] | None, autojump_clock: object
) -> None:
    _, written, seen = await asked_with({"requests_per_minute": 1000}, options)
    assert seen.body == json.dumps({**ASKED, "stream_options": options}).encode()
    assert (written["input_tokens"] is not None) == bool(options and options.get("include_usage"))


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
