"""What the upstream says without a script."""

from __future__ import annotations

import json

import httpx
import pytest

from server.scripted import (
    ScriptedUpstream,
    Window,
    adding_headers,
    reply_to,
    reply_with,
    text_block,
    unified_headers,
)
from server.scripted.replies import AFTER_TOOL, GREETING
from tests.server.scripted.conversation import ASK, ASK_STREAM, events_of


async def test_a_message_is_streamed_or_whole_as_asked(memory_client: httpx.AsyncClient) -> None:
    whole = await memory_client.post("/v1/messages?beta=true", json=ASK)
    streamed = await memory_client.post("/v1/messages", json=ASK_STREAM)
    assert whole.json()["content"][0]["text"] == GREETING
    assert whole.json()["model"] == ASK["model"]
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert events_of(streamed.content)[-1] == {"type": "message_stop"}
    assert whole.headers["request-id"] != streamed.headers["request-id"]


async def test_a_tools_result_gets_a_closing_text(memory_client: httpx.AsyncClient) -> None:
    turns = [
        {"role": "user", "content": "list"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "n"}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]},
        {"role": "system", "content": "a note"},
    ]
    response = await memory_client.post("/v1/messages", json={**ASK, "messages": turns})
    assert response.json()["content"][0]["text"] == AFTER_TOOL


async def test_longer_requests_have_more_tokens(memory_client: httpx.AsyncClient) -> None:
    async def counted(text: str) -> int:
        body = {"model": "m", "messages": [{"role": "user", "content": text}]}
        response = await memory_client.post("/v1/messages/count_tokens", json=body)
        tokens: int = response.json()["input_tokens"]
        return tokens

    assert await counted("x" * 4000) - await counted("") == pytest.approx(1000, abs=1)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/models", 200),
        ("GET", "/api/v1/models", 200),
        ("GET", "/v1/models/claude-haiku-5-5", 200),
        ("GET", "/v1/models/unknown", 404),
        ("HEAD", "/", 200),
        ("HEAD", "/api/hello", 200),
        ("GET", "/v1/messages", 405),
        ("POST", "/v1/nonsense", 404),
        ("GET", "/elsewhere", 404),
    ],
)
async def test_every_route_has_its_answer(
    memory_client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    response = await memory_client.request(method, path)
    assert response.status_code == status
    if status >= 400:
        assert response.json()["type"] == "error"
        assert response.json()["request_id"] == response.headers["request-id"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "The request body is not valid JSON"),
        (b"[]", "The request body is not valid JSON"),
        (b"\xff", "The request body is not valid JSON"),
        (b"[" * 100_000, "The request body is not valid JSON"),
        (b"{}", "model: Field required"),
        (b'{"model": "m", "max_tokens": 1}', "messages: Field required"),
    ],
)
async def test_a_body_that_makes_no_sense_is_a_400(
    memory_client: httpx.AsyncClient, body: bytes, message: str
) -> None:
    response = await memory_client.post("/v1/messages", content=body)
    assert response.status_code == 400
    assert response.json()["error"] == {"type": "invalid_request_error", "message": message}


@pytest.mark.parametrize("messages", [None, "x", [], [1], [{"role": "user", "content": [1]}]])
async def test_odd_messages_are_answered_like_any(
    memory_client: httpx.AsyncClient, messages: object
) -> None:
    response = await memory_client.post("/v1/messages", json={**ASK, "messages": messages})
    assert response.json()["content"][0]["text"] == GREETING


async def test_own_words_are_streamed_or_whole_as_asked_and_other_routes_stay(
    upstream: ScriptedUpstream, memory_client: httpx.AsyncClient
) -> None:
    upstream.default(reply_with(text_block("My words"), deltas=1))
    whole = await memory_client.post("/v1/messages", json=ASK)
    streamed = await memory_client.post("/v1/messages", json=ASK_STREAM)
    assert whole.json()["content"][0]["text"] == "My words"
    assert b'"text": "My words"' in streamed.content
    assert "data" in json.loads((await memory_client.get("/v1/models")).content)


async def test_quota_headers_can_be_added_to_any_answer(
    upstream: ScriptedUpstream, memory_client: httpx.AsyncClient
) -> None:
    quota = unified_headers({"5h": Window(utilization=0.4, resets_at=1)})
    upstream.default(adding_headers(reply_to, quota))
    response = await memory_client.post("/v1/messages", json=ASK)
    assert response.headers["anthropic-ratelimit-unified-5h-utilization"] == "0.4"
    assert response.status_code == 200
