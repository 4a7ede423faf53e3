"""Every fixture of the corpus loads, and its answers can be played to a client."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
import trio

from server.scripted import ScriptedUpstream, corpus_answers
from tests.kit import corpus

WITHOUT_BODY = {"claude-code/sse_crlf_split", "claude-code/sse_close_delimited"}
"""Recorded without their body, which is put back when they are played."""


def is_cut(fixture: corpus.Fixture, response: dict[str, Any] | None) -> bool:
    if response is None:
        return True
    ended = any("message_stop" in event for event in response.get("sse", ()))
    return "cut" in fixture["note"] and "sse" in response and not ended


def recorded_body(response: dict[str, Any]) -> bytes:
    if "sse" in response:
        return "".join(response["sse"]).encode()
    body = response["body"]
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


@pytest.mark.parametrize("name", corpus.names())
async def test_a_fixture_is_played_as_it_was_recorded(
    upstream: ScriptedUpstream, memory_client: httpx.AsyncClient, name: str
) -> None:
    fixture = corpus.load(name)
    upstream.default(*corpus_answers(fixture))
    for index, exchange in enumerate(fixture["exchanges"]):
        request, response = exchange["request"], exchange["response"]

        async def ask(index: int = index, request: dict[str, Any] = request) -> httpx.Response:
            return await memory_client.request(
                request["method"],
                request["target"],
                headers=corpus.request_headers(fixture, index),
                content=corpus.request_body(fixture, index),
            )

        if is_cut(fixture, response):
            with pytest.raises(httpx.RemoteProtocolError):
                await ask()
            continue
        got = await ask()
        assert got.status_code == response["status"]
        for key, value in response["headers"]:
            assert got.headers[key] == value
        if name not in WITHOUT_BODY:
            assert got.content == recorded_body(response)
        else:
            assert b"message_stop" in got.content
    assert upstream.requests_total == len(fixture["exchanges"])
    assert upstream.script_errors == []


async def test_the_crlf_fixture_comes_in_chunks_of_seven_bytes(
    upstream: ScriptedUpstream, memory_client: httpx.AsyncClient
) -> None:
    upstream.default(*corpus_answers(corpus.load("claude-code/sse_crlf_split")))
    async with memory_client.stream("GET", "/") as response:
        chunks = [chunk async for chunk in response.aiter_raw()]
    assert {len(chunk) for chunk in chunks[:-1]} == {7}
    assert b"\r\n\r\n" in b"".join(chunks)


async def test_the_close_delimited_fixture_ends_with_the_connection(
    upstream: ScriptedUpstream, memory_client: httpx.AsyncClient
) -> None:
    upstream.default(*corpus_answers(corpus.load("claude-code/sse_close_delimited")))
    response = await memory_client.get("/")
    assert "transfer-encoding" not in response.headers
    with trio.fail_after(5):
        await upstream.wait_until_closed()


def test_a_repeated_request_body_is_found_where_it_was_first_sent() -> None:
    fixture = corpus.load("claude-code/e500")
    assert "body" not in fixture["exchanges"][1]["request"]
    assert corpus.request_body(fixture, 1) == corpus.request_body(fixture, 0) != b""
