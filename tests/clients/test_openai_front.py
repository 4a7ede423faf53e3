"""The official OpenAI SDK in front of accounts, which speak Anthropic's dialect, and of providers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import openai
import pytest
import trio

from server.scripted import (
    ScriptedUpstream,
    Send,
    error,
    gemini_reply,
    openai_error,
    openai_reply,
    rate_limited,
    reply_with,
    stream_with_late_error,
    text_block,
    text_stream,
    thinking_block,
    tool_use_block,
)
from tests.clients.conftest import Start
from tests.kit.live import Live

KEY = "a-key-for-the-proxy"
ASKED: dict[str, Any] = {
    "model": "claude-sonnet-5-5",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
}
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Of a town.",
        "parameters": {"type": "object", "properties": {"town": {"type": "string"}}},
    },
}
PROVIDER = """
[[provider]]
name = "other"
dialect = "{dialect}"
base_url = "{url}"
api_key = "key-of-the-provider"
models = ["{model}"]
"""

T = TypeVar("T")


async def using(live: Live, do: Callable[[openai.OpenAI], T], base: str = "/v1") -> T:
    """Runs it with a client of the SDK, which blocks, in a thread."""

    def run() -> T:
        with openai.OpenAI(
            base_url=live.url + base, api_key=KEY, max_retries=0, timeout=40
        ) as client:
            return do(client)

    return await trio.to_thread.run_sync(run)


def asking(**more: Any) -> Callable[[openai.OpenAI], Any]:
    return lambda client: client.chat.completions.create(**{**ASKED, **more})


def streaming(**more: Any) -> Callable[[openai.OpenAI], list[Any]]:
    return lambda client: list(client.chat.completions.create(**{**ASKED, **more}, stream=True))


@pytest.fixture
async def live(start: Start) -> Live:
    return await start("first")


@pytest.mark.parametrize("base", ["/v1", "/api/v1"])
async def test_an_account_answers_a_chat_completion(live: Live, base: str) -> None:
    live.upstream.default(reply_with(thinking_block("Hm."), text_block("Hello.")))
    answer = await using(live, asking(max_completion_tokens=50), base)
    (choice,) = answer.choices
    assert (choice.message.content, choice.finish_reason) == ("Hello.", "stop")
    assert choice.message.reasoning_content == "Hm."
    assert answer.object == "chat.completion"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.prompt_tokens > 0
    (seen,) = live.upstream.requests
    assert (seen.path, seen.api_key, seen.bearer) == ("/v1/messages", "key-first", None)
    assert seen.header("anthropic-version")
    assert KEY not in repr(seen.headers)
    sent: Any = seen.json()
    assert (sent["system"], sent["max_tokens"]) == ("Be brief.", 50)
    (line,) = await live.wait_for_lines()
    assert (line["dialect"], line["account"], line["status"]) == ("openai", "first", 200)
    assert line["output_tokens"] == answer.usage.completion_tokens


async def test_a_stream_ends_as_openais_does_and_tells_its_usage_when_asked(live: Live) -> None:
    live.upstream.default(reply_with(text_block("Hello there, you.")))
    plain = await using(live, streaming())
    told = await using(live, streaming(stream_options={"include_usage": True}))
    for chunks in (plain, told):
        words = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
        assert "".join(words) == "Hello there, you."
        assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert all(chunk.usage is None for chunk in plain)
    assert (told[-1].choices, told[-1].usage.completion_tokens > 0) == ([], True)


async def test_a_tool_call_and_its_result_go_both_ways(live: Live) -> None:
    call = tool_use_block("weather", {"town": "Rome"}, tool_id="toolu_1")
    live.upstream.default(reply_with(text_block("Let me see."), call))
    chunks = await using(live, streaming(tools=[WEATHER], tool_choice="required"))
    pieces = [p for c in chunks if c.choices for p in c.choices[0].delta.tool_calls or ()]
    arguments = "".join(piece.function.arguments or "" for piece in pieces)
    assert (pieces[0].id, pieces[0].function.name, json.loads(arguments)) == (
        "toolu_1",
        "weather",
        {"town": "Rome"},
    )
    answer = await using(live, asking(tools=[WEATHER]))
    assert answer.choices[0].finish_reason == "tool_calls"
    turns = [
        *ASKED["messages"],
        answer.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": "toolu_1", "content": "sunny"},
    ]
    await using(live, asking(tools=[WEATHER], messages=turns))
    sent: Any = live.upstream.requests[-1].json()
    assert sent["messages"][-1]["content"][0]["tool_use_id"] == "toolu_1"
    first: Any = live.upstream.requests[0].json()
    assert first["tool_choice"] == {"type": "any"}


async def test_images_and_json_mode_are_told_in_anthropics_words(live: Live) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    turns = [{"role": "user", "content": [{"type": "text", "text": "what is it?"}, picture]}]
    await using(live, asking(messages=turns, response_format={"type": "json_object"}))
    sent: Any = live.upstream.requests[0].json()
    source = sent["messages"][0]["content"][1]["source"]
    assert source == {"type": "base64", "media_type": "image/png", "data": "aGk="}
    assert "JSON" in sent["system"]


async def test_errors_have_openais_shape_whoever_made_them(live: Live) -> None:
    live.upstream.default(error(400, message="max_tokens: too many"))
    with pytest.raises(openai.BadRequestError, match="max_tokens: too many") as upstreams:
        await using(live, asking())
    with pytest.raises(openai.BadRequestError, match="n: only one answer") as ours:
        await using(live, asking(n=2))
    for caught in (upstreams, ours):
        assert caught.value.response.json().keys() == {"error"}
    live.upstream.default(stream_with_late_error("overloaded_error", "Overloaded"))
    with pytest.raises(openai.APIError, match="Overloaded"):
        await using(live, streaming())


async def test_a_stream_that_upstream_ends_too_early_is_an_error(live: Live) -> None:
    whole = text_stream("Hello there.", events=4)
    parts = [step for step in whole.steps() if isinstance(step, Send)]
    live.upstream.default(whole.interrupted(len(parts) - 2, Send(b"")))
    with pytest.raises(openai.APIError, match="ended before its answer did"):
        await using(live, streaming())


async def test_the_next_account_serves_unseen(start: Start) -> None:
    live = await start("first", "second")
    live.upstream.script("key-first", rate_limited(retry_after=60))
    live.upstream.script("key-second", reply_with(text_block("Second.")))
    answer = await using(live, asking())
    assert answer.choices[0].message.content == "Second."


async def test_a_subscription_never_serves_this_dialect(start: Start) -> None:
    token = '[[account]]\nname = "plan"\ntoken = "sk-ant-oat01-of-the-plan"\n'
    live = await start(extra=token)
    session = {"x-claude-code-session-id": "s-1"}
    with pytest.raises(openai.InternalServerError, match="subscription") as caught:
        await using(
            live,
            lambda client: client.chat.completions.create(**ASKED, extra_headers=session),
        )
    assert caught.value.status_code == 503
    assert live.upstream.requests_total == 0


async def test_the_key_of_the_proxy_opens_it_and_goes_no_further(start: Start) -> None:
    live = await start("first", extra=f'[access]\ntoken = "{KEY}"\n')
    assert (await using(live, asking())).choices[0].message.content
    assert KEY not in repr(live.upstream.requests[0].headers)
    other = await start("first", extra='[access]\ntoken = "another-one"\n')
    with pytest.raises(openai.AuthenticationError):
        await using(other, asking())


async def test_a_provider_of_the_same_dialect_gets_the_body_as_it_came(
    start: Start, nursery: trio.Nursery
) -> None:
    foreign = ScriptedUpstream(openai_reply(text_block("From over there.")))
    url = await nursery.start(foreign.serve_tcp)
    provider = PROVIDER.format(dialect="openai", url=f"{url}/v1", model="gpt-5")
    live = await start("first", extra=provider)
    more = {"model": "gpt-5", "seed": 7, "logprobs": True, "user": "u"}
    answer = await using(live, asking(**more))
    chunks = await using(live, streaming(**more))
    assert answer.choices[0].message.content == "From over there."
    words = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(words) == "From over there."
    seen = foreign.requests[0]
    assert seen.json() == {**ASKED, **more}
    assert (seen.bearer, live.upstream.requests_total) == ("key-of-the-provider", 0)
    newest, _ = await live.wait_for_lines(2)
    assert (newest["provider"], newest["input_tokens"]) == ("other", 30)
    foreign.default(openai_error(400, "their words"))
    with pytest.raises(openai.BadRequestError, match="their words"):
        await using(live, asking(**more))


async def test_a_gemini_provider_answers_through_the_hub(
    start: Start, nursery: trio.Nursery
) -> None:
    call = tool_use_block("weather", {"town": "Rome"})
    foreign = ScriptedUpstream(gemini_reply(text_block("Let me see."), call))
    url = await nursery.start(foreign.serve_tcp)
    provider = PROVIDER.format(dialect="gemini", url=url, model="gemini-3-pro")
    live = await start("first", extra=provider)
    answer = await using(live, asking(model="gemini-3-pro", tools=[WEATHER]))
    assert answer.choices[0].message.tool_calls[0].function.name == "weather"
    chunks = await using(live, streaming(model="gemini-3-pro", tools=[WEATHER]))
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "tool_calls"


async def test_when_the_accounts_cannot_a_fallback_serves(
    start: Start, nursery: trio.Nursery
) -> None:
    foreign = ScriptedUpstream(openai_reply(text_block("Instead.")))
    url = await nursery.start(foreign.serve_tcp)
    provider = PROVIDER.format(dialect="openai", url=f"{url}/v1", model="gpt-5")
    fallback = '[[fallback]]\nprovider = "other"\nmodel = "gpt-5"\n'
    live = await start("first", extra=provider + fallback)
    live.upstream.default(rate_limited(retry_after=60))
    answer = await using(live, asking())
    assert answer.choices[0].message.content == "Instead."
    sent: Any = foreign.requests[0].json()
    assert sent == {**ASKED, "model": "gpt-5"}


async def test_the_list_of_models_has_openais_shape(live: Live) -> None:
    models = await using(live, lambda client: list(client.models.list()))
    assert {"claude-opus-5-5", "claude-haiku-5-5"} <= {model.id for model in models}
    assert {model.object for model in models} == {"model"}
    one = await using(live, lambda client: client.models.retrieve("claude-opus-5-5"))
    assert one.id == "claude-opus-5-5"


async def test_a_model_and_a_route_that_are_not_there_are_not_found(live: Live) -> None:
    live.upstream.default(error(404, message="model: none"))
    with pytest.raises(openai.NotFoundError) as nobodys:
        await using(live, lambda client: client.models.retrieve("none"))
    told: Any = nobodys.value
    assert (told.type, told.code, told.param) == ("not_found_error", "model_not_found", None)
    assert told.body["message"] == "model: none"
    with pytest.raises(openai.NotFoundError, match="did you mean /v1/chat/completions") as wrong:
        await using(live, asking(), base="")
    assert (wrong.value.type, wrong.value.param) == ("not_found_error", None)
