"""The official OpenAI SDK with its own key: chat completions pass through to the upstream.

With accounts they are translated: `test_openai_front.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import openai
import pytest
import trio

from server.scripted import Answer, Send, json_answer, rate_limited
from tests.clients.conftest import Start
from tests.kit.live import Live

OWN_KEY = "sk-the-clients-own-0123456789"
ASKED: dict[str, Any] = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_790_000_000,
    "model": "gpt-5",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello."},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
CHUNK = (
    '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1790000000,"model":"gpt-5",'
    '"choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}'
)
CHUNKS = tuple(Send(f"data: {CHUNK % text}\n\n".encode()) for text in ("Hel", "lo", "."))
CHUNKED = Answer(
    headers=(("content-type", "text/event-stream"),), parts=(*CHUNKS, Send(b"data: [DONE]\n\n"))
)
MODELS = {
    "object": "list",
    "data": [{"id": "gpt-5", "object": "model", "created": 1, "owned_by": "openai"}],
}
LIMIT = b'{"error":{"message":"slow down","type":"requests","param":null,"code":"rate_limit"}}'

T = TypeVar("T")


@pytest.fixture
async def live(start: Start) -> Live:
    """Without accounts the client's own key passes, and nothing is translated."""
    return await start()


async def using(live: Live, do: Callable[[openai.OpenAI], T], **options: Any) -> T:
    """Runs it with a client of the SDK, which blocks, in a thread."""

    def run() -> T:
        with openai.OpenAI(
            base_url=f"{live.url}/v1", api_key=OWN_KEY, max_retries=0, timeout=40, **options
        ) as client:
            return do(client)

    return await trio.to_thread.run_sync(run)


def create(client: openai.OpenAI) -> Any:
    return client.chat.completions.create(**ASKED)


def streamed(client: openai.OpenAI) -> str:
    chunks = client.chat.completions.create(**ASKED, stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


async def test_a_completion_and_a_stream_are_the_upstreams(live: Live) -> None:
    live.upstream.default(json_answer(COMPLETION), CHUNKED)
    completion = await using(live, create)
    assert completion.to_dict() == COMPLETION
    assert await using(live, streamed) == "Hello."
    assert {seen.path for seen in live.upstream.requests} == {"/v1/chat/completions"}
    assert live.upstream.requests[0].json() == ASKED


# At [DONE] the SDK stops reading and leaves its generators to the garbage collector.
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
async def test_the_asynchronous_client_gets_the_same(live: Live) -> None:
    live.upstream.default(json_answer(COMPLETION), CHUNKED)
    async with openai.AsyncOpenAI(
        base_url=f"{live.url}/v1", api_key=OWN_KEY, max_retries=0, timeout=40
    ) as client:
        completion = await client.chat.completions.create(**ASKED)
        assert completion.to_dict() == COMPLETION
        stream = await client.chat.completions.create(**ASKED, stream=True)
        texts = [chunk.choices[0].delta.content async for chunk in stream]
    assert texts == ["Hel", "lo", "."]


async def test_models_are_the_upstreams(live: Live) -> None:
    live.upstream.default(json_answer(MODELS))
    assert await using(live, lambda client: [model.id for model in client.models.list()]) == [
        "gpt-5"
    ]
    (seen,) = live.upstream.requests
    assert (seen.path, seen.header("anthropic-version")) == ("/v1/models", None)


async def test_with_accounts_the_clients_key_never_goes_upstream(start: Start) -> None:
    live = await start("first")
    live.upstream.default(json_answer(COMPLETION), json_answer(MODELS))
    await using(live, create)
    await using(live, lambda client: client.models.list())
    assert {seen.credential for seen in live.upstream.requests} == {"key-first"}
    assert not any(seen.both_credentials for seen in live.upstream.requests)


async def test_without_accounts_the_clients_key_goes_upstream(start: Start) -> None:
    live = await start()
    live.upstream.default(json_answer(COMPLETION))
    await using(live, create)
    assert [seen.header("authorization") for seen in live.upstream.requests] == [
        f"Bearer {OWN_KEY}"
    ]


async def test_an_upstreams_error_is_the_clients_unchanged(live: Live) -> None:
    headers = (("content-type", "application/json"), ("x-request-id", "req_of_the_upstream"))
    live.upstream.default(Answer(status=429, headers=headers, body=LIMIT))
    with pytest.raises(openai.RateLimitError, match="slow down") as caught:
        await using(live, create)
    assert caught.value.response.content == LIMIT
    assert (caught.value.code, caught.value.request_id) == ("rate_limit", "req_of_the_upstream")


async def test_our_own_errors_have_openais_shape(start: Start) -> None:
    live = await start("first")
    with pytest.raises(openai.NotFoundError) as caught:
        await using(live, create, default_headers={"x-account-name": "nobody"})
    assert caught.value.response.json().keys() == {"error"}
    assert caught.value.response.json()["error"].keys() == {"type", "message", "param", "code"}
    assert "nobody" in caught.value.message
    assert live.upstream.requests_total == 0


async def test_an_account_that_rests_is_an_error_of_openais_shape(start: Start) -> None:
    live = await start("first")
    live.upstream.default(rate_limited(retry_after=30))
    with pytest.raises(openai.RateLimitError):
        await using(live, create)
    with pytest.raises(openai.RateLimitError) as caught:
        await using(live, create)
    assert caught.value.response.json()["error"]["type"] == "rate_limit_error"
    assert 28 <= int(caught.value.response.headers["retry-after"]) <= 30
    assert live.upstream.requests_total == 1
