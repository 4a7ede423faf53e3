"""A provider's refusal in Anthropic's shape and in its own words."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.translation.provider_error import read_failure


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


def test_a_page_of_html_is_not_shown() -> None:
    error = read_failure(502, b"<html><h1>Bad Gateway</h1>")
    assert error.message == "the provider answered 502 without a reason"


def test_plain_words_are() -> None:
    assert read_failure(502, b"upstream connect error").message == "upstream connect error"


@given(st.integers(400, 599), st.binary(max_size=200))
def test_no_bytes_make_it_fail(status: int, body: bytes) -> None:
    assert read_failure(status, body).status == status
