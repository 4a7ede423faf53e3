"""Which path is whose, and what the upstream is asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.request import (
    Headers,
    Peer,
    RequestHead,
    Route,
    is_openais,
    of_openai,
    route_of,
    upstream_target,
    without_alias,
)


def route(method: str, target: bytes) -> Route:
    return route_of(method, RequestHead(method, target, ()).path)


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("POST", b"/v1/messages", Route.MESSAGES),
        ("POST", b"/v1/messages?beta=true", Route.MESSAGES),
        ("POST", b"/api/v1/messages?beta=true", Route.MESSAGES),
        ("POST", b"/v1/mess%61ges", Route.MESSAGES),
        ("POST", b"/v1/messages/count_tokens?beta=true", Route.COUNT_TOKENS),
        ("POST", b"/v1/chat/completions", Route.CHAT_COMPLETIONS),
        ("GET", b"/v1/models", Route.MODELS),
        ("GET", b"/v1/models?limit=1000", Route.MODELS),
        ("GET", b"/api/v1/models/claude-opus-5-5", Route.MODELS),
        ("HEAD", b"/v1/models", Route.MODELS),
        ("POST", b"/v1/models", Route.OTHER),
        ("GET", b"/v1/messages", Route.OTHER),
        ("GET", b"/v1/files", Route.OTHER),
        ("POST", b"/v1/messages/batches", Route.OTHER),
        ("POST", b"/v1/messages%3Fbeta=true", Route.OTHER),
        ("GET", b"/v1/modelsx", Route.OTHER),
        ("GET", b"/status", Route.OWN),
        ("HEAD", b"/", Route.OWN),
        ("GET", b"/api/hello", Route.OWN),
        ("POST", b"/status?x=/v1/messages", Route.OWN),
    ],
)
def test_a_path_has_one_route_whatever_its_query(
    method: str, target: bytes, expected: Route
) -> None:
    assert route(method, target) is expected


@pytest.mark.parametrize(
    "target",
    [
        b"/v1",
        b"/v1?beta=true",
        b"//v1/messages",
        b"/V1/messages",
        b"/v1/../status",
        b"/v1/%2e%2e/status",
        b"/v1/%2E%2e%2Fstatus",
        b"/v1/.%2e/status",
        b"/v1/..%5cstatus",
        b"/v1/./messages",
        b"/v1/messages/..",
        b"/api/v1/../../status",
        b"/api/api/v1/messages",
        b"/api/v1",
        b"/apiv1/messages",
        b"v1/messages",
        b"%2Fv1/messages",
        b"http://127.0.0.1/v1/messages",
        b"*",
        b"",
    ],
)
def test_a_path_trick_is_never_relayed(target: bytes) -> None:
    assert route("POST", target) is Route.OWN


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/api/v1/messages?beta=true", b"/v1/messages?beta=true"),
        (b"/v1/messages?beta=true", b"/v1/messages?beta=true"),
        (b"/v1/messages?next=/api/v1/x", b"/v1/messages?next=/api/v1/x"),
        (b"/api/v1/models/a%2Fb?x=%20", b"/v1/models/a%2Fb?x=%20"),
        (b"/%61pi/v1/messages", b"/v1/messages"),
        (b"/a%70%69/v1/messages?a=b", b"/v1/messages?a=b"),
        (b"/api%2Fv1/messages", b"/v1/messages"),
        (b"/api/%761/messages", b"/%761/messages"),
        (b"/api/hello", b"/api/hello"),
        (b"/v1/mess%61ges", b"/v1/mess%61ges"),
    ],
)
def test_the_upstream_is_asked_for_the_clients_own_bytes_without_the_alias(
    target: bytes, expected: bytes
) -> None:
    assert upstream_target(target) == expected


@given(st.lists(st.sampled_from([b"/", b"api", b"v1", b"%2f", b"%61", b"..", b"%2e", b"?", b"x"])))
def test_what_is_relayed_is_below_v1_at_the_upstream_too(parts: list[bytes]) -> None:
    target = b"".join(parts)
    if route("POST", target) is Route.OWN:
        return
    asked = upstream_target(target)
    assert asked.startswith(b"/")
    path = RequestHead("POST", asked, ()).path
    assert path.startswith("/v1/")
    assert ".." not in path.split("/")


@given(st.binary())
def test_every_target_has_a_path_a_route_and_an_upstream_target(target: bytes) -> None:
    assert isinstance(route("GET", target), Route)
    assert target.endswith(upstream_target(target)) or target.startswith(b"/")


@pytest.mark.parametrize(
    ("route", "repeatable"),
    [
        (Route.MESSAGES, True),
        (Route.COUNT_TOKENS, True),
        (Route.MODELS, True),
        (Route.OTHER, False),
        (Route.CHAT_COMPLETIONS, False),
        (Route.OWN, False),
    ],
)
def test_what_may_have_side_effects_is_never_repeated(route: Route, repeatable: bool) -> None:
    assert route.repeatable is repeatable


def test_the_alias_covers_the_relayed_routes_alone() -> None:
    assert without_alias("/api/v1/messages") == "/v1/messages"
    assert without_alias("/api/hello") == "/api/hello"


def test_a_header_is_found_in_any_case_and_the_first_one_counts() -> None:
    head = RequestHead("GET", b"/", ((b"X-Name", b"one"), (b"x-name", b"tw\xf6")))
    assert head.header(b"x-name") == b"one"
    assert head.text(b"x-name") == "one"
    assert head.texts(b"x-name") == ["one", "twö"]
    assert head.header(b"other") is None
    assert head.text(b"other") is None
    assert head.texts(b"other") == []


def test_a_head_of_another_length_is_the_same_but_for_that() -> None:
    headers = ((b"a", b"1"), (b"Content-Length", b"5"), (b"b", b"2"))
    first = RequestHead("POST", b"/v1/messages?x", headers, Peer("10.0.0.9", False))
    longer = first.with_length(1, b"12")
    assert longer.headers == ((b"a", b"1"), (b"Content-Length", b"12"), (b"b", b"2"))
    assert longer.header(b"content-length") == b"12"
    assert first.header(b"content-length") == b"5"
    assert (longer.method, longer.target, longer.peer) == (first.method, first.target, first.peer)
    assert (longer.path, longer.route) == ("/v1/messages", Route.MESSAGES)
    first.remembered["x"] = 1
    assert longer.remembered == {"x": 1}, "whatever was worked out of one holds for the other"


VERSIONED = ((b"Anthropic-Version", b"2023-06-01"),)


@pytest.mark.parametrize(
    ("target", "headers", "openai"),
    [
        (b"/v1/chat/completions", (), True),
        (b"/v1/chat/completions", VERSIONED, True),
        (b"/api/v1/chat/completions", (), True),
        (b"/chat/completions", (), True),
        (b"/v1/embeddings", (), True),
        (b"/v1/messages", (), False),
        (b"/v1/messages/batches", (), False),
        (b"/v1/unknown", (), False),
        (b"/", (), False),
        (b"/v1", (), False),
        (b"/v1/models", (), True),
        (b"/v1/models/some", (), True),
        (b"/v1/models", VERSIONED, False),
        (b"/v1/files", (), True),
        (b"/v1/files", VERSIONED, False),
    ],
)
def test_a_callers_dialect_is_known_by_its_path_and_at_shared_ones_by_its_header(
    target: bytes, headers: Headers, openai: bool
) -> None:
    head = RequestHead("GET", target, headers)
    assert of_openai(head, head.route) is openai


@pytest.mark.parametrize(
    "path",
    [
        "assistants",
        "audio/speech",
        "batches",
        "chat/completions",
        "chatkit/sessions",
        "completions",
        "containers",
        "conversations",
        "embeddings",
        "evals",
        "fine_tuning/jobs",
        "images/generations",
        "moderations",
        "realtime/sessions",
        "responses",
        "threads/thread_1/runs",
        "uploads",
        "vector_stores",
        "videos",
    ],
)
def test_whatever_only_openais_api_has_is_asked_for_by_its_clients(path: str) -> None:
    assert is_openais(f"/v1/{path}", versioned=True)
    assert is_openais(f"/{path}", versioned=False)
    assert not is_openais(f"/v1/messages/{path}", versioned=False)
