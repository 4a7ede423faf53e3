"""Whoever asks in OpenAI's dialect is told what is wrong in OpenAI's shape, whoever says it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from server import front_door
from server.scripted import (
    Answer,
    error,
    gemini_error,
    no_answer,
    openai_error,
    openai_reply,
    overloaded,
    rate_limited,
    reply_to,
    server_error,
    unauthorized,
)
from tests.kit.http_client import MemoryClient, Received
from tests.kit.program import RunningProgram, program_in_memory
from tests.kit.raw_client import serving
from tests.server.test_fallback import ACCOUNT, CLIENT, GEMINI, OPENAI, TO_OPENAI, line, upstream

CHAT = "/v1/chat/completions"
ASKED: dict[str, Any] = {"model": "claude-x", "messages": [{"role": "user", "content": "hi"}]}
BEARER = {"authorization": "Bearer of-the-client"}


def said(answer: Received) -> dict[str, Any]:
    """The error, which is in OpenAI's shape and in no other."""
    document: Any = answer.json()
    assert set(document) == {"error"}
    assert {"message", "type", "param", "code"} <= set(document["error"])
    assert answer.header("content-type") == "application/json"
    found: dict[str, Any] = document["error"]
    return found


async def sent(
    program: RunningProgram, method: str, path: str, document: object = None, **headers: str
) -> Received:
    client = MemoryClient(await program.connect())
    body = document if document is None or isinstance(document, bytes) else json.dumps(document)
    raw = body.encode() if isinstance(body, str) else body
    kind = {} if raw is None else {"content-type": "application/json"}
    await client.send(method, path, raw, {**BEARER, **kind, **headers})
    return await client.receive()


@pytest.mark.parametrize("config", [ACCOUNT, ACCOUNT + OPENAI])
@pytest.mark.parametrize("refusal", [error(404, message="model: claude-none"), error(400)])
async def test_a_model_that_nobody_has_is_not_found_in_either_shape(
    config: str, refusal: Answer, autojump_clock: object
) -> None:
    path = "/v1/models/claude-none"
    async with program_in_memory(config, upstream(refusal, openai_reply())) as program:
        theirs = await sent(program, "GET", path)
        own = await sent(program, "GET", path, **{"anthropic-version": "2023-06-01"})
        head = await sent(program, "HEAD", path)
    assert theirs.status == own.status == head.status == refusal.status
    told = json.loads(refusal.body)["error"]
    assert said(theirs)["message"] == told["message"]
    code = "model_not_found" if refusal.status == 404 else told["type"]
    assert (said(theirs)["type"], said(theirs)["code"]) == (told["type"], code)
    assert own.body == refusal.body
    assert theirs.header("content-length") == str(len(theirs.body))
    assert head.body == b""


async def test_without_accounts_the_upstreams_own_answer_passes(autojump_clock: object) -> None:
    refusal = error(404, message="model: gpt-9")
    async with program_in_memory("", upstream(refusal, refusal)) as program:
        answer = await sent(program, "GET", "/v1/models/gpt-9")
    assert answer.body == refusal.body


async def test_the_log_says_in_which_dialect_a_list_was_asked_for(autojump_clock: object) -> None:
    async with program_in_memory(ACCOUNT + OPENAI, upstream(reply_to, openai_reply())) as program:
        found = []
        for headers in ({}, {"anthropic-version": "2023-06-01"}):
            await sent(program, "GET", "/api/v1/models", **headers)
            found.append((await line(program))["dialect"])
        await sent(program, "POST", CHAT, ASKED)
        found.append((await line(program))["dialect"])
        await sent(program, "POST", "/v1/messages", {**ASKED, "max_tokens": 1}, **CLIENT)
        found.append((await line(program))["dialect"])
        for path in ("/v1/embeddings", "/v1/messages/batches"):
            await sent(program, "POST", path, {})
            found.append((await line(program))["dialect"])
    assert found == ["openai", "anthropic", "openai", "anthropic", "openai", "anthropic"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/chat/completions", 404),  # a base URL without /v1
        ("POST", "/api/chat/completions", 404),
        ("POST", "/embeddings", 404),
        ("GET", "/models", 404),
        ("GET", "/models/gpt-5", 404),
    ],
)
async def test_a_route_that_is_not_there_says_so(
    method: str, path: str, status: int, autojump_clock: object
) -> None:
    async with program_in_memory(ACCOUNT, upstream(reply_to, reply_to)) as program:
        answer = await sent(program, method, path, ASKED if method == "POST" else None)
    assert answer.status == status
    assert f"there is no {method} {path}" in said(answer)["message"]
    assert ("did you mean /v1" in said(answer)["message"]) is (
        path in ("/chat/completions", "/models")
    )


async def test_a_route_of_anthropics_or_of_ours_keeps_its_shape(autojump_clock: object) -> None:
    async with program_in_memory(ACCOUNT, upstream(reply_to, reply_to)) as program:
        for path in ("/messages", "/nowhere"):
            answer: Any = (await sent(program, "POST", path, ASKED)).json()
            assert (answer["type"], answer["error"]["type"]) == ("error", "not_found_error")
        listed: Any = (await sent(program, "GET", "/models", **CLIENT)).json()
        assert listed["type"] == "error"


@pytest.mark.parametrize(
    ("config", "headers", "status"),
    [
        (ACCOUNT, {"host": "evil.example"}, 403),
        (ACCOUNT, {"origin": "https://evil.example"}, 403),
        (ACCOUNT + '[access]\ntoken = "the-token-of-this-proxy"\n', {}, 401),
        (ACCOUNT, {"x-account-name": "nobody"}, 404),
        ("[server]\nmax_body_bytes = 20\n" + ACCOUNT, {}, 413),
    ],
)
@pytest.mark.parametrize("path", [CHAT, "/v1/embeddings"])
async def test_who_is_turned_away_at_the_gate_is_told_in_its_shape(
    config: str, headers: dict[str, str], status: int, path: str, autojump_clock: object
) -> None:
    async with program_in_memory(config, upstream(reply_to, reply_to)) as program:
        answer = await sent(program, "POST", path, ASKED, **headers)
    if status == 404 and path != CHAT:
        return  # other routes know no account by name
    assert answer.status == status
    assert said(answer)["message"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "failure",
    [
        rate_limited(retry_after=300),
        no_answer(),
        server_error(500),
        overloaded(),
        unauthorized(),
        error(400, message="messages: Field required"),
        Answer(status=502, headers=(("content-type", "text/html"),), body=b"<html>Bad gateway"),
        Answer(status=502, headers=(("content-type", "application/json"),), body=b'{"error":"no"}'),
        Answer(status=502, headers=(("content-type", "application/json"),), body=b""),
        Answer(status=400, headers=(("content-type", "application/json"),), body=b'{"detail":"x"}'),
    ],
)
async def test_an_accounts_failure_is_told_in_openais_shape(
    failure: Answer, stream: bool, autojump_clock: object
) -> None:
    async with program_in_memory(ACCOUNT, upstream(failure, failure)) as program:
        for _ in range(2):  # the second time, the account may rest already: an answer of ours
            answer = await sent(program, "POST", CHAT, {**ASKED, "stream": stream})
            assert answer.status >= 400
            assert said(answer)["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
async def test_a_body_that_is_no_request_is_refused_in_openais_shape(
    body: bytes, autojump_clock: object
) -> None:
    refusal = error(400, message="The request body is not valid JSON")
    for config in (ACCOUNT, ACCOUNT + TO_OPENAI):
        async with program_in_memory(config, upstream(refusal, openai_reply())) as program:
            answer = await sent(program, "POST", CHAT, body)
        assert (answer.status, said(answer)["message"]) == (
            400,
            "The request body is not valid JSON",
        )


ROUTER = {"message": "Insufficient credits", "code": 402, "metadata": {"provider_name": "x"}}


@pytest.mark.parametrize(
    "body",
    [
        {"error": ROUTER},
        {"error": ROUTER, "user_id": "u"},
        {"error": {"message": "m", "type": "t", "param": None, "code": "context_length_exceeded"}},
        {"object": "error", "message": "vLLM's", "type": "BadRequestError", "code": 400},
        {"error": "Ollama's"},
        [{"error": {"code": 400, "message": "Gemini's", "status": "INVALID_ARGUMENT"}}],
    ],
)
async def test_a_provider_of_that_dialect_says_it_itself(
    body: object, autojump_clock: object
) -> None:
    """Word for word: clients go by its code, and by fields that only it has."""
    status = 400
    refusal = Answer(
        status=status,
        headers=(("content-type", "application/json"),),
        body=json.dumps(body).encode(),
    )
    async with program_in_memory(ACCOUNT + OPENAI, upstream(reply_to, refusal)) as program:
        answer = await sent(program, "POST", CHAT, {**ASKED, "model": "gpt-5"})
    assert (answer.status, answer.json()) == (status, body)


async def test_a_provider_of_another_dialect_is_told_in_openais_shape(
    autojump_clock: object,
) -> None:
    refusal = gemini_error(400, "INVALID_ARGUMENT", "unknown field")
    async with program_in_memory(ACCOUNT + GEMINI, upstream(reply_to, refusal)) as program:
        answer = await sent(program, "POST", CHAT, {**ASKED, "model": "gemini-3-pro"})
    assert (answer.status, said(answer)["message"]) == (400, "unknown field")


HELD = "[routing]\nmax_wait = 1\nmax_hold = 400\n"


async def test_an_error_that_comes_after_a_wait_is_told_inside_of_the_stream(
    autojump_clock: object,
) -> None:
    """The stream was opened while the account rested: no status is left to say it with."""
    server = upstream(rate_limited(retry_after=60), openai_reply())
    server.script(
        "key-first", rate_limited(retry_after=60), error(400, message="prompt is too long")
    )
    async with program_in_memory(HELD + ACCOUNT, server) as program:
        answer = await sent(program, "POST", CHAT, {**ASKED, "stream": True})
        written = await line(program)
    assert (answer.status, written["dialect"]) == (200, "openai")
    lines = [part for part in answer.body.split(b"\n\n") if part.startswith(b"data:")]
    told = json.loads(lines[-1].removeprefix(b"data: "))
    assert told["error"]["message"] == "prompt is too long"
    assert "param" in told["error"]


@pytest.mark.parametrize(
    "failure", [openai_error(503, "busy"), gemini_error(503, "UNAVAILABLE", "busy")]
)
async def test_an_error_of_ours_after_a_wait_is_told_inside_of_the_stream(
    failure: Answer, autojump_clock: object
) -> None:
    server = upstream(reply_to, failure)
    server.script("key-first", rate_limited(retry_after=60), rate_limited(retry_after=3000))
    async with program_in_memory(HELD + ACCOUNT, server) as program:
        answer = await sent(program, "POST", CHAT, {**ASKED, "stream": True})
    lines = [part for part in answer.body.split(b"\n\n") if part.startswith(b"data:")]
    told = json.loads(lines[-1].removeprefix(b"data: "))
    assert "ended before its answer did" not in told["error"]["message"]
    assert told["error"]["type"] == "rate_limit_error"


START = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\nZZZ\r\n"


@pytest.mark.parametrize("express", [True, False])
@pytest.mark.parametrize(
    ("request_", "status"),
    [(START + b"x: y\r\n" * 101 + b"\r\n", 431), (START + CHUNKED, 400)],
    ids=["too many headers", "no chunks"],
)
async def test_a_request_that_never_was_one_is_refused_in_the_dialect_of_its_path(
    express: bool, request_: bytes, status: int, tmp_path: Path
) -> None:
    lane = "" if express else "[server]\nexpress = false\n"
    async with serving(tmp_path, lane) as live, await live.connect() as wire:
        await wire.stream.send_all(request_)
        answered = await wire.answer()
    assert answered.status == status
    assert set(answered.json()) == {"error"}
    assert answered.json()["error"]["param"] is None


@pytest.mark.parametrize("express", [True, False])
async def test_a_failure_that_nobody_foresaw_is_told_in_the_dialect_that_was_asked(
    express: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(front_door, "relay", broken)
    lane = "" if express else "[server]\nexpress = false\n"
    async with serving(tmp_path, lane) as live:
        theirs = await live.ask("POST", CHAT, body=b"{}")
        own = await live.ask("POST", "/v1/messages", body=b"{}")
    assert (theirs.status, own.status) == (500, 500)
    assert set(theirs.json()) == {"error"}
    assert own.json()["type"] == "error"
