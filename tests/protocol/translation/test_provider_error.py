"""A provider's refusal in Anthropic's shape and in its own words."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.translation.provider_error import failure, read_failure, retry_delay


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (400, {"error": {"message": "too long", "type": "x"}}, "invalid_request_error", "too long"),
        (401, {"error": {"message": "bad key"}}, "authentication_error", "bad key"),
        (429, [{"error": {"code": 429, "message": "quota"}}], "rate_limit_error", "quota"),
        (404, {"error": "no such model"}, "not_found_error", "no such model"),
        (422, {"detail": "wrong field"}, "invalid_request_error", "wrong field"),
        (503, {"error": {"message": "busy"}}, "overloaded_error", "busy"),
        (500, {"error": {}}, "api_error", "the provider gave no reason"),
        (418, {"message": "teapot"}, "invalid_request_error", "teapot"),
        (402, {"message": "pay"}, "billing_error", "pay"),
        (403, {"message": "no"}, "permission_error", "no"),
        (408, {"message": "slow"}, "timeout_error", "slow"),
        (409, {"message": "twice"}, "conflict_error", "twice"),
        (413, {"message": "big"}, "request_too_large", "big"),
        (504, {"message": "slow"}, "timeout_error", "slow"),
        (529, {"message": "busy"}, "overloaded_error", "busy"),
        (422, {"message": "", "detail": "wrong field"}, "invalid_request_error", "wrong field"),
        (500, {"message": 5, "detail": "words"}, "api_error", "words"),
        (500, {"detail": 5}, "api_error", "the provider gave no reason"),
        (500, {"detail": ""}, "api_error", "the provider gave no reason"),
        (500, [], "api_error", "the provider gave no reason"),
    ],
)
def test_every_shape_is_read(status: int, body: object, kind: str, message: str) -> None:
    error = read_failure(status, json.dumps(body).encode())
    assert (error.status, error.type, error.message) == (status, kind, message)
    assert json.loads(error.body("req_1")) == {
        "type": "error",
        "error": {"type": kind, "message": message},
        "request_id": "req_1",
    }


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        ({"code": "context_length_exceeded"}, 400, "invalid_request_error"),
        ({"code": "string_above_max_length"}, 400, "invalid_request_error"),
        ({"code": "model_not_found", "type": "invalid_request_error"}, 404, "not_found_error"),
        ({"code": "invalid_api_key"}, 401, "authentication_error"),
        ({"type": "authentication_error"}, 401, "authentication_error"),
        ({"type": "permission_error"}, 403, "permission_error"),
        ({"code": "insufficient_quota"}, 429, "rate_limit_error"),
        ({"type": "tokens", "code": "rate_limit_exceeded"}, 429, "rate_limit_error"),
        ({"type": "overloaded_error"}, 529, "overloaded_error"),
        ({"status": "INVALID_ARGUMENT"}, 400, "invalid_request_error"),
        ({"status": "FAILED_PRECONDITION"}, 400, "invalid_request_error"),
        ({"status": "UNAUTHENTICATED"}, 401, "authentication_error"),
        ({"status": "PERMISSION_DENIED"}, 403, "permission_error"),
        ({"status": "NOT_FOUND"}, 404, "not_found_error"),
        ({"status": "RESOURCE_EXHAUSTED"}, 429, "rate_limit_error"),
        ({"status": "INTERNAL"}, 500, "api_error"),
        ({"status": "UNAVAILABLE"}, 503, "overloaded_error"),
        ({"status": "DEADLINE_EXCEEDED"}, 504, "timeout_error"),
        ({"code": "invalid_prompt"}, 400, "invalid_request_error"),
        ({"type": "invalid_request_error"}, 400, "invalid_request_error"),
        ({"type": "billing_error"}, 402, "billing_error"),
        ({"type": "not_found_error"}, 404, "not_found_error"),
        ({"type": "request_too_large"}, 413, "request_too_large"),
        ({"type": "rate_limit_error"}, 429, "rate_limit_error"),
        ({"type": "server_error"}, 500, "api_error"),
        ({"type": "api_error"}, 500, "api_error"),
        ({"code": 400}, 400, "invalid_request_error"),
        ({"code": 599}, 599, "api_error"),
        ({"code": 399}, 502, "api_error"),
        ({"code": 600}, 502, "api_error"),
        ({"code": "400"}, 400, "invalid_request_error"),
        ({"code": "600"}, 502, "api_error"),
        ({"code": None, "type": None, "param": None}, 502, "api_error"),
        ({"code": 99, "status": "?"}, 502, "api_error"),
        ({"code": "503"}, 503, "overloaded_error"),
        ({"code": True}, 502, "api_error"),
        ({"code": "9" * 400}, 502, "api_error"),
    ],
)
def test_an_error_without_a_status_has_the_one_that_its_words_mean(
    error: dict[str, object], status: int, kind: str
) -> None:
    """An event inside of a good answer: what it says decides who can mend it."""
    found = failure(None, {"error": {"message": "words", **error}})
    assert (found.status, found.type, found.message) == (status, kind, "words")


def test_a_page_of_html_is_not_shown() -> None:
    error = read_failure(502, b"<html><h1>Bad Gateway</h1>")
    assert error.message == "the provider answered 502 without a reason"


def test_plain_words_are() -> None:
    assert read_failure(502, b"upstream connect error").message == "upstream connect error"


def test_of_a_long_reason_the_beginning_is_kept() -> None:
    words = "x" * 10_000
    assert (
        read_failure(400, json.dumps({"error": {"message": words}}).encode()).message
        == words[:4000]
    )
    assert read_failure(502, words.encode()).message == words[:4000]


RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}


@pytest.mark.parametrize(
    ("document", "seconds"),
    [
        ({"error": {"details": [{"@type": "other"}, RETRY]}}, 34.5),
        ([{"error": {"details": [RETRY]}}], 34.5),
        ({"error": {"details": [{"retryDelay": "7s"}]}}, 7.0),
        ({"error": {"details": [{"retryDelay": "soon"}, 5, None]}}, None),
        ({"error": {"details": [{"retryDelay": 5}]}}, None),
        ({"error": {"details": "x"}}, None),
        ({"error": "x"}, None),
        ([], None),
        ("x", None),
    ],
)
def test_when_to_come_back_is_read_where_google_says_it(
    document: object, seconds: float | None
) -> None:
    assert retry_delay(json.dumps(document).encode()) == seconds


def test_bytes_that_are_no_json_say_nothing_of_when_to_come_back() -> None:
    for body in (b"<html>", b"\xff", b"[" * 9000):
        assert retry_delay(body) is None


@given(st.integers(400, 599), st.binary(max_size=200))
def test_no_bytes_make_it_fail(status: int, body: bytes) -> None:
    assert read_failure(status, body).status == status
