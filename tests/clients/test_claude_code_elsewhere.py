"""The real Claude Code at work while other providers serve it, and back again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from server.scripted import (
    Answer,
    ScriptedUpstream,
    SeenRequest,
    gemini_reply,
    openai_error,
    openai_reply,
    rate_limited,
    reply_with,
    text_block,
    thinking_block,
    tool_use_block,
    tool_use_stream,
)
from tests.clients.claude_code import API_KEY, ClaudeCode
from tests.clients.conftest import Start

pytestmark = pytest.mark.client

DRY = rate_limited(retry_after=600)
FIRST = {"command": "echo apple of the account", "description": "A command of the test"}
SECOND = {"command": "echo pear of the provider", "description": "Another command of the test"}
SIGNATURE = "c2lnbmF0dXJlIG9mIHRoZSBwcm92aWRlcg=="

Reply = Callable[..., Any]

PROVIDER = """
[[provider]]
name = "other"
dialect = "{dialect}"
base_url = "{url}"
api_key = "key-of-the-provider"
models = ["{model}"]
[[fallback]]
provider = "other"
model = "{model}"
"""


def openai_turns() -> list[Any]:
    call = tool_use_block("Bash", SECOND, tool_id="call_pear")
    return [openai_reply(text_block("One more."), call), openai_reply(text_block("Both ran."))]


def gemini_turns() -> list[Any]:
    call = tool_use_block("Bash", SECOND)
    return [
        gemini_reply(text_block("One more."), call, signature=SIGNATURE),
        gemini_reply(text_block("Both ran.")),
    ]


def compatible_turns() -> list[Any]:
    thought = thinking_block("I had better run it.", SIGNATURE)
    call = tool_use_block("Bash", SECOND, tool_id="toolu_pear")
    return [reply_with(thought, text_block("One more."), call), reply_with(text_block("Both ran."))]


@pytest.mark.parametrize(
    ("dialect", "model", "path", "replies"),
    [
        pytest.param("openai", "gpt-5", "/v1", openai_turns, id="openai"),
        pytest.param("gemini", "gemini-3-pro", "/v1beta", gemini_turns, id="gemini"),
        pytest.param("anthropic", "kimi-3", "/anthropic", compatible_turns, id="compatible"),
    ],
)
async def test_a_task_with_tools_goes_on_elsewhere_and_comes_back(
    start: Start,
    nursery: trio.Nursery,
    claude_code_binary: Path,
    home: Path,
    dialect: str,
    model: str,
    path: str,
    replies: Callable[[], list[Any]],
) -> None:
    """The account runs dry between a call and its result; later it serves the same conversation."""
    foreign = ScriptedUpstream(replies())
    url = await nursery.start(foreign.serve_tcp)
    extra = PROVIDER.format(dialect=dialect, model=model, url=url + path)
    live = await start("first", extra=extra)
    live.upstream.script("key-first", tool_use_stream("Bash", FIRST), DRY)
    client = ClaudeCode(
        claude_code_binary, live.url, home, extra_env={"CLAUDE_CODE_MAX_RETRIES": "3"}
    )

    away = await client.run_print("run both", "--allowedTools", "Bash")
    assert (away.returncode, away.text) == (0, "Both ran.")
    told = [seen.body.decode() for seen in foreign.requests]
    assert len(told) == 2
    assert "apple of the account" in told[0]
    assert "pear of the provider" in told[1]
    for seen in foreign.requests:
        check_nothing_leaks(seen, *(["user_id"] if dialect != "anthropic" else []))
        assert "llm-supervisor:" not in seen.body.decode()
    if dialect != "openai":
        assert SIGNATURE in told[1]

    await live.reset("first")
    live.upstream.script("key-first", reply_with(text_block("Back home.")))
    back = await client.run_print("and now?", "--continue")
    assert (back.returncode, back.text) == (0, "Back home.")
    last = live.upstream.requests[-1].body.decode()
    assert "pear of the provider" in last  # the whole conversation, with what happened elsewhere
    assert SIGNATURE not in last
    assert '"signature":""' not in last

    newest, elsewhere, *_ = await live.wait_for_lines(3)
    assert (newest["account"], newest["provider"]) == ("first", None)
    assert (elsewhere["account"], elsewhere["provider"]) == (None, "other")
    assert elsewhere["served_model"] == model
    assert elsewhere["reason"].startswith(f"fallback: other/{model}")


def check_nothing_leaks(seen: SeenRequest, *more: str) -> None:
    told = repr(seen.headers) + seen.body.decode()
    assert "key-of-the-provider" in told
    for private in (
        API_KEY,
        "key-first",
        "x-anthropic-billing-header",
        "anthropic-beta",
        *more,
    ):
        assert private not in told


async def test_a_task_begins_and_ends_at_a_provider_that_has_the_model(
    start: Start, nursery: trio.Nursery, claude_code_binary: Path, home: Path
) -> None:
    """A wrapped name, as the picker has it, leads to its provider although the account could serve."""
    foreign = ScriptedUpstream(openai_turns())
    url = await nursery.start(foreign.serve_tcp)
    extra = PROVIDER.format(dialect="openai", model="gpt-5", url=f"{url}/v1")
    live = await start("first", extra=extra)
    live.upstream.script("key-first", Answer(status=500))
    client = ClaudeCode(claude_code_binary, live.url, home)
    result = await client.run_print(
        "run it", "--allowedTools", "Bash", "--model", "claude-supervisor-gpt-5"
    )
    assert (result.returncode, result.text) == (0, "Both ran.")
    asked: Any = json.loads(foreign.requests[0].body)
    assert asked["model"] == "gpt-5"
    assert [seen for seen in live.upstream.requests if seen.endpoint == "/v1/messages"] == []


async def test_a_local_server_whose_context_is_smaller_than_the_answer_asked_for_serves_it(
    start: Start, nursery: trio.Nursery, claude_code_binary: Path, home: Path
) -> None:
    """vLLM's words. Taken for a conversation that is too long, they would have it compacted."""
    turns = iter(openai_turns())
    asked: list[int] = []

    def local(seen: SeenRequest) -> Answer:
        tokens, taken = seen.json()["max_tokens"], 20_000
        assert isinstance(tokens, int)
        asked.append(tokens)
        if taken + tokens > 40_000:
            words = (
                f"'max_tokens' or 'max_completion_tokens' is too large: {tokens}. This model's "
                f"maximum context length is 40000 tokens and your request has {taken} input tokens "
                f"({tokens} > 40000 - {taken})."
            )
            return openai_error(400, words)
        answer: Answer = next(turns)(seen)
        return answer

    foreign = ScriptedUpstream(local)
    url = await nursery.start(foreign.serve_tcp)
    live = await start(
        extra=PROVIDER.format(dialect="openai", model="local-coder", url=f"{url}/v1")
    )
    client = ClaudeCode(claude_code_binary, live.url, home)
    result = await client.run_print(
        "run it", "--allowedTools", "Bash", "--model", "claude-supervisor-local-coder"
    )
    assert (result.returncode, result.text) == (0, "Both ran.")
    assert asked[0] > 30_000
    assert asked == [asked[0], 19_744] * 2
