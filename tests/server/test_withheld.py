"""An answer that is collected before it is shown, and breaks off on the way: the client is told."""

from __future__ import annotations

import pytest

from server.scripted import Answer, Cut, ScriptedUpstream, text_stream
from tests.kit.http_client import MemoryClient
from tests.kit.program import program_in_memory

CONFIG = """
[[account]]
name = "work"
api_key = "key-work"
"""
JSON = (("content-type", "application/json"),)
BROKEN = Answer(headers=JSON, parts=(b'{"data": [', Cut()))
CHAT = {"model": "claude-opus-5-5", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("target", "broken"),
    [
        ("/v1/models", BROKEN),
        ("/v1/models", text_stream("no list at all").interrupted(4)),
        ("/v1/chat/completions", BROKEN),
    ],
)
async def test_it_is_an_answer_of_ours_and_not_a_connection_that_just_closes(
    target: str, broken: Answer, autojump_clock: object
) -> None:
    upstream = ScriptedUpstream(default=broken)
    async with program_in_memory(CONFIG, upstream) as program:
        client = MemoryClient(await program.connect())
        if target == "/v1/models":
            answered = await client.get(target)
        else:
            answered = await client.post(target, CHAT)
        assert (answered.status, answered.complete) == (502, True)
        assert "the upstream" in answered.json()["error"]["message"]
        line = (await MemoryClient(await program.connect()).get("/status/requests")).json()
        assert (line["requests"][0]["status"], line["requests"][0]["terminal"]) == (502, "refused")
