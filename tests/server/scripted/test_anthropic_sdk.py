"""The official Anthropic SDK takes the scripted upstream for the real one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anthropic
import pytest
import trio
from anthropic.types import MessageParam, ToolParam

from server.scripted import (
    Answer,
    ScriptedUpstream,
    error,
    forbidden,
    no_answer,
    overloaded,
    rate_limited,
    server_error,
    stream_with_early_error,
    stream_with_late_error,
    text_stream,
    tool_use_stream,
    unauthorized,
)

MODEL = "claude-opus-5-5"
HI: list[MessageParam] = [{"role": "user", "content": "hi"}]
BASH: ToolParam = {"name": "Bash", "input_schema": {"type": "object"}}

T = TypeVar("T")


async def using(base_url: str, do: Callable[[anthropic.Anthropic], T]) -> T:
    """Run it with a client of the SDK, which blocks, in a thread."""

    def run() -> T:
        with anthropic.Anthropic(
            base_url=base_url, api_key="key", max_retries=0, timeout=10
        ) as client:
            return do(client)

    return await trio.to_thread.run_sync(run)


def create(client: anthropic.Anthropic) -> anthropic.types.Message:
    return client.messages.create(model=MODEL, max_tokens=64, messages=HI)


def streamed(client: anthropic.Anthropic) -> anthropic.types.Message:
    with client.messages.stream(model=MODEL, max_tokens=64, messages=HI, tools=[BASH]) as stream:
        return stream.get_final_message()


async def test_a_message(base_url: str) -> None:
    message = await using(base_url, create)
    assert message.model == MODEL
    assert message.stop_reason == "end_turn"
    assert message.content[0].type == "text"
    assert message.usage.input_tokens > 0


async def test_a_stream_of_text(upstream: ScriptedUpstream, base_url: str) -> None:
    upstream.default(text_stream("Hello world", events=5, pause=0.01, model=MODEL))
    message = await using(base_url, streamed)
    assert [block.to_dict() for block in message.content] == [
        {"type": "text", "text": "Hello world"}
    ]
    assert message.model == MODEL


async def test_a_streamed_call_of_a_tool(upstream: ScriptedUpstream, base_url: str) -> None:
    upstream.default(tool_use_stream("Bash", {"command": "ls -la"}, text="Let me look."))
    message = await using(base_url, streamed)
    assert message.stop_reason == "tool_use"
    block = message.content[1]
    assert block.type == "tool_use"
    assert (block.name, block.input) == ("Bash", {"command": "ls -la"})


async def test_the_default_stream_and_a_count_of_tokens(base_url: str) -> None:
    assert (await using(base_url, streamed)).content[0].type == "text"
    counted = await using(
        base_url, lambda client: client.messages.count_tokens(model=MODEL, messages=HI)
    )
    assert counted.input_tokens > 0


async def test_models(base_url: str) -> None:
    listed = await using(base_url, lambda client: [model.id for model in client.models.list()])
    assert MODEL in listed
    one = await using(base_url, lambda client: client.models.retrieve(MODEL))
    assert (one.id, one.display_name) == (MODEL, "Claude Opus 5.5")
    with pytest.raises(anthropic.NotFoundError):
        await using(base_url, lambda client: client.models.retrieve("no-such-model"))


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (error(400), anthropic.BadRequestError),
        (unauthorized(), anthropic.AuthenticationError),
        (forbidden(), anthropic.PermissionDeniedError),
        (error(404), anthropic.NotFoundError),
        (error(409), anthropic.ConflictError),
        (error(413), anthropic.APIStatusError),
        (error(422), anthropic.UnprocessableEntityError),
        (rate_limited(retry_after=1), anthropic.RateLimitError),
        (server_error(), anthropic.InternalServerError),
        (overloaded(), anthropic.InternalServerError),
    ],
)
async def test_every_class_of_error_is_recognised(
    upstream: ScriptedUpstream,
    base_url: str,
    answer: Answer,
    raised: type[anthropic.APIStatusError],
) -> None:
    upstream.default(answer)
    with pytest.raises(raised) as caught:
        await using(base_url, create)
    assert caught.value.status_code == answer.status
    assert caught.value.request_id == answer.header("request-id")


@pytest.mark.parametrize(
    "answer", [stream_with_early_error("overloaded_error"), stream_with_late_error("Hello")]
)
async def test_an_error_in_a_stream_is_raised(
    upstream: ScriptedUpstream, base_url: str, answer: Answer
) -> None:
    upstream.default(answer)
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        await using(base_url, streamed)


async def test_a_closed_connection_is_a_connection_error(
    upstream: ScriptedUpstream, base_url: str
) -> None:
    upstream.default(no_answer())
    with pytest.raises(anthropic.APIConnectionError):
        await using(base_url, create)
