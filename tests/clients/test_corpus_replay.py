"""Every recorded conversation of a real client, sent again through the proxy.

The upstream gives the recorded answers. With one credential there is nobody to fail over to, so
what the client gets is what was recorded: status, body and how it ended. Only where nothing at all
came from the upstream does the proxy have to speak for itself.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from server.scripted import Answer, Cut, SeenRequest, corpus_answers
from tests.clients.conftest import Start
from tests.kit import corpus
from tests.kit.live import Live
from tests.kit.wire import Answered, Headers

FIXTURES = corpus.names()
CREDENTIALS = {"x-api-key", "authorization", "cookie"}
OWN_ROUTES = {"/", "/api/hello"}
REPLACED = {"accept-encoding", "connection", *CREDENTIALS}


def delivers_content(answer: Answer) -> bool:
    """Whether the upstream sent anything that a client could have been given."""
    if answer.instead_of_head is not None:
        return False
    return bool(answer.whole_body()) or Cut() not in answer.steps()


def check_answer(answered: Answered, answer: Answer, mode: str) -> None:
    if not delivers_content(answer):
        assert (answered.status, answered.complete) == (502, True)
        error = answered.json()["error"]
        assert error["type"] == "api_error"
        assert "upstream" in error["message"]
        return
    assert answered.status == answer.status
    assert answered.body == answer.whole_body()
    assert answered.complete == (Cut() not in answer.steps())
    check_answer_headers(answered.headers, answer, mode)


def check_answer_headers(headers: Headers, answer: Answer, mode: str) -> None:
    # With accounts a limit's retry-after may be lowered to the pool's own.
    lowered = {"retry-after"} if mode == "pool" else set()
    sent = [pair for pair in answer.headers if pair[0] not in lowered]
    assert [pair for pair in headers if pair in sent] == sent
    added = {"content-length", "transfer-encoding", "retry-after"}
    names = [name.lower() for name, _ in headers]
    others = [
        name
        for name in names
        if name not in added
        and not name.startswith("x-supervisor-")
        and answer.header(name) is None
    ]
    assert others == []


def check_request(seen: SeenRequest, recorded: dict[str, Any], body: bytes, mode: str) -> None:
    target = recorded["target"].removeprefix("/api")
    assert (seen.method.decode(), seen.target.decode()) == (recorded["method"], target)
    assert seen.body == body
    kept = [
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, value in recorded["headers"]
        if name.lower() not in REPLACED | {"host", "content-length"}
    ]
    assert [pair for pair in seen.headers if pair in kept] == kept
    credentials = [
        (name.decode(), value.decode())
        for name, value in seen.headers
        if name.decode().lower() in CREDENTIALS
    ]
    own = [(name, value) for name, value in recorded["headers"] if name.lower() in CREDENTIALS]
    assert credentials == ([("x-api-key", "key-first")] if mode == "pool" else own)


def sent_headers(fixture: corpus.Fixture, number: int) -> Headers:
    headers = corpus.request_headers(fixture, number)
    return [(name, value) for name, value in headers if name.lower() != "connection"]


async def replay(live: Live, fixture: corpus.Fixture, mode: str) -> None:
    for number, answer in enumerate(corpus_answers(fixture)):
        recorded = fixture["exchanges"][number]["request"]
        body = corpus.request_body(fixture, number)
        live.upstream.default(answer)
        before = live.upstream.requests_total
        async with await live.connect() as wire:
            has_body = bool(body) or recorded["method"] == "POST"
            answered = await wire.ask(
                recorded["method"],
                recorded["target"],
                sent_headers(fixture, number),
                body if has_body else None,
            )
        if recorded["target"] in OWN_ROUTES:
            assert (answered.status, live.upstream.requests_total) == (200, before)
            continue
        check_answer(answered, answer, mode)
        for seen in live.upstream.requests[before:]:
            check_request(seen, recorded, body, mode)
        assert live.upstream.requests_total > before
        if mode == "pool":
            await live.reset("first")


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        (name, mode)
        for name in FIXTURES
        for mode in ("pool", "passthrough")
        # Accounts are asked in their own dialect: `test_openai_front.py` has those.
        if mode == "passthrough" or not name.startswith("openai-python/")
    ],
)
async def test_a_recorded_conversation_goes_through_unchanged(
    start: Start, monkeypatch: pytest.MonkeyPatch, name: str, mode: str
) -> None:
    monkeypatch.setattr("server.relay.OVERLOAD_DELAYS", (0.0, 0.0))
    live = await start(*(["first"] if mode == "pool" else []))
    await replay(live, corpus.load(name), mode)
    assert not live.upstream.script_errors


async def test_a_recorded_conversation_is_one_line_per_request_in_the_log(start: Start) -> None:
    live = await start("first")
    fixture = corpus.load("claude-code/tool_turn")
    await replay(live, fixture, "pool")
    lines = await live.wait_for_lines(2)
    body = json.loads(corpus.request_body(fixture, 0))
    session = json.loads(body["metadata"]["user_id"])["session_id"]
    assert [(line["status"], line["terminal"], line["stream"]) for line in lines] == [
        (200, "complete", True)
    ] * 2
    assert {line["model"] for line in lines} == {body["model"]}
    assert {line["session"] for line in lines} == {session}


def test_the_corpus_is_there() -> None:
    assert len(FIXTURES) >= 30
    assert {name.partition("/")[0] for name in FIXTURES} >= {"claude-code", "anthropic-python"}
