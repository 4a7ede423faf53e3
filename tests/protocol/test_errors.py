"""The answers that we author."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import Problem, answer

TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error",
    404: "not_found_error", 408: "timeout_error", 413: "request_too_large",
    414: "invalid_request_error", 415: "invalid_request_error", 429: "rate_limit_error",
    431: "invalid_request_error", 500: "api_error", 502: "api_error", 503: "api_error",
    504: "timeout_error", 529: "overloaded_error", 599: "api_error",
}  # fmt: skip


@pytest.mark.parametrize("status", TYPES)
def test_an_anthropic_caller_gets_the_shape_and_the_type_of_the_status(status: int) -> None:
    made = answer(Problem(status, "do this"), "req-1")
    assert made.status == status
    assert json.loads(made.body) == {
        "type": "error",
        "error": {"type": TYPES[status], "message": "do this"},
        "request_id": "req-1",
    }
    assert dict(made.headers)[b"content-type"] == b"application/json"
    assert dict(made.headers)[b"content-length"] == str(len(made.body)).encode()


def test_an_openai_caller_gets_its_own_shape() -> None:
    made = answer(Problem(429, "later", retry_after=3), "req-1", openai=True)
    assert json.loads(made.body) == {
        "error": {"type": "rate_limit_error", "message": "later", "param": None, "code": None}
    }
    assert (b"retry-after", b"3") in made.headers


@pytest.mark.parametrize("status", TYPES)
def test_only_what_is_not_worth_repeating_says_so(status: int) -> None:
    said = (b"x-should-retry", b"false")
    assert (said in answer(Problem(status, "m"), "r").headers) is (status in (401, 404, 413))
    assert answer(Problem(status, "m", final=True), "r").headers.count(said) == 1


def test_a_type_that_is_given_replaces_the_usual_one() -> None:
    problem = Problem(503, "m", type="authentication_error", final=True)
    assert json.loads(answer(problem, "r").body)["error"]["type"] == "authentication_error"


@given(st.text(), st.booleans())
def test_every_message_arrives_as_it_is(message: str, openai: bool) -> None:
    made = answer(Problem(500, message), "r", openai=openai)
    assert json.loads(made.body)["error"]["message"] == message


@given(st.text(max_size=40))
def test_no_message_can_steer_the_terminal_that_shows_the_body(quoted: str) -> None:
    """It may quote a path or a name that the client sent."""
    made = answer(Problem(404, f"there is no \x9b31m\x7f\u2028{quoted}"), "req-1")
    text = made.body.decode()
    assert all(character >= " " and not "\x7f" <= character <= "\x9f" for character in text)
    assert len(text.splitlines()) == 1
