"""LiteLLM as a client, over OpenAI's dialect and over Anthropic's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from server.scripted import (
    error,
    rate_limited,
    reply_with,
    stream_with_late_error,
    text_block,
    thinking_block,
    tool_use_block,
)
from tests.clients.conftest import Start
from tests.clients.other_programs import named_program, run_program
from tests.kit.live import Live

pytestmark = [pytest.mark.client, pytest.mark.timeout(300)]

KEY = "sk-a-key-for-the-proxy-0123456789"
SCRIPT = Path(__file__).with_name("litellm_calls.py")
MODEL = "claude-sonnet-5-5"
TURNS = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Of a town.",
        "parameters": {
            "type": "object",
            "properties": {"town": {"type": "string"}},
            "required": ["town"],
        },
    },
}
DIALECTS = ["openai", "anthropic"]


async def calls(live: Live, home: Path, dialect: str, *asked: dict[str, Any]) -> list[Any]:
    """What each call gave, in one run of LiteLLM's Python."""
    base = f"{live.url}/v1" if dialect == "openai" else live.url
    common = {
        "model": f"{dialect}/{MODEL}",
        "api_base": base,
        "api_key": KEY,
        "messages": TURNS,
    }
    python = named_program("TEST_LITELLM_PYTHON")
    sent = json.dumps([{**common, **one} for one in asked]).encode()
    code, told, noise = await run_program(
        [python, str(SCRIPT)], home, sent, LITELLM_LOCAL_MODEL_COST_MAP="true"
    )
    assert code == 0, noise
    assert KEY not in told
    found: list[Any] = json.loads(told.splitlines()[-1])
    return found


def message(result: Any) -> Any:
    assert "answer" in result, result
    return result["answer"]["choices"][0]["message"]


@pytest.fixture
async def live(start: Start) -> Live:
    return await start("first")


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_answer_and_a_stream_say_the_same(live: Live, home: Path, dialect: str) -> None:
    live.upstream.default(reply_with(thinking_block("Hm."), text_block("Hello there, you.")))
    whole, streamed = await calls(live, home, dialect, {}, {"stream": True})
    for result in (whole, streamed):
        assert message(result)["content"] == "Hello there, you."
        assert result["answer"]["choices"][0]["finish_reason"] == "stop"
    assert message(whole)["reasoning_content"] == "Hm."
    assert whole["answer"]["usage"]["prompt_tokens"] > 0
    assert streamed["chunks"] > 3
    for seen in live.upstream.requests:
        assert (seen.endpoint, seen.api_key) == ("/v1/messages", "key-first")
        assert KEY not in repr(seen.headers)
        sent: Any = seen.json()
        assert sent["model"] == MODEL
        assert "Be brief." in json.dumps(sent["system"])
    newest, _ = await live.wait_for_lines(2)
    assert (newest["dialect"], newest["account"]) == (dialect, "first")


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_calls_and_their_results_go_both_ways(live: Live, home: Path, dialect: str) -> None:
    asking = reply_with(
        text_block("Let me see."),
        tool_use_block("weather", {"town": "Rome"}, tool_id="toolu_rome"),
        tool_use_block("weather", {"town": "Oslo"}, tool_id="toolu_oslo"),
    )
    knowing = reply_with(text_block("Sun and snow."))
    live.upstream.default(asking, asking, knowing, knowing)
    towns = {"toolu_rome": "Rome", "toolu_oslo": "Oslo"}
    turns = [
        *TURNS,
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [
                {
                    "id": call_id,
                    "type": "function",
                    "function": {"name": "weather", "arguments": json.dumps({"town": town})},
                }
                for call_id, town in towns.items()
            ],
        },
        {"role": "tool", "tool_call_id": "toolu_rome", "content": "sunny"},
        {"role": "tool", "tool_call_id": "toolu_oslo", "content": "snow"},
    ]
    first, second = {"tools": [WEATHER]}, {"tools": [WEATHER], "messages": turns}
    results = await calls(
        live, home, dialect, first, {**first, "stream": True}, second, {**second, "stream": True}
    )
    for result in results[:2]:
        said = message(result)
        assert result["answer"]["choices"][0]["finish_reason"] == "tool_calls"
        assert {
            call["id"]: json.loads(call["function"]["arguments"])["town"]
            for call in said["tool_calls"]
        } == towns
    for result in results[2:]:
        assert message(result)["content"] == "Sun and snow."
    for seen in live.upstream.requests[2:]:
        sent: Any = seen.json()
        answered = sent["messages"][-1]["content"]
        assert [block["tool_use_id"] for block in answered] == list(towns)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_errors_are_the_classes_that_a_caller_knows(
    live: Live, home: Path, dialect: str
) -> None:
    live.upstream.default(
        error(400, message="max_tokens: too many"),
        stream_with_late_error("overloaded_error", "Overloaded"),
        rate_limited(retry_after=2),
    )
    whole = {"max_retries": 0}
    refused, broken, limited = await calls(
        live, home, dialect, whole, {**whole, "stream": True}, whole
    )
    assert (refused["error"], refused["status"]) == ("BadRequestError", 400)
    assert "max_tokens: too many" in refused["message"]
    assert "verloaded" in broken.get("message", ""), broken
    assert (limited["error"], limited["status"]) == ("RateLimitError", 429)
