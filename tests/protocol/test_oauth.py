"""What goes to a token endpoint, and what its answers mean."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.login import Login, Pair
from protocol.oauth import SCOPES, OAuthClient, Refused, read_answer, refresh_body
from protocol.secrets import Secret

NOW = 1_790_000_000.0
LOGIN = Login(Secret("a"), Secret("r"))


def test_a_refresh_asks_with_the_tokens_own_scopes_and_client() -> None:
    login = Login(Secret("a"), Secret("r"), scopes=("one", "two"), client_id="mine")
    assert json.loads(refresh_body(login, OAuthClient())) == {
        "grant_type": "refresh_token",
        "refresh_token": "r",
        "client_id": "mine",
        "scope": "one two",
    }


def test_a_login_that_does_not_say_is_refreshed_as_claude_code_would() -> None:
    body = json.loads(refresh_body(LOGIN, OAuthClient()))
    assert body["scope"] == " ".join(SCOPES)
    assert "scope" not in json.loads(refresh_body(LOGIN, OAuthClient(), scoped=False))
    with pytest.raises(ValueError, match="nothing to refresh with"):
        refresh_body(Login(Secret("a")), OAuthClient())


def test_a_whole_answer_is_read() -> None:
    body = json.dumps(
        {
            "access_token": "a2",
            "refresh_token": "r2",
            "expires_in": 28800,
            "scope": "x y",
            "account": {"uuid": "u", "email_address": "e@x.example"},
            "organization": {"uuid": "o"},
        }
    ).encode()
    assert read_answer(200, body, NOW) == Pair(
        Secret("a2"), Secret("r2"), NOW + 28800, ("x", "y"), "e@x.example", "u"
    )


def test_what_an_answer_does_not_say_stays_as_it_was() -> None:
    pair = read_answer(200, b'{"access_token": "a2"}', NOW)
    assert pair == Pair(Secret("a2"), None, NOW + 3600)


@pytest.mark.parametrize("lasts", [b"-1", b"0", b"1e300"])
def test_a_date_that_is_none_counts_as_a_short_one(lasts: bytes) -> None:
    pair = read_answer(200, b'{"access_token": "a2", "expires_in": ' + lasts + b"}", NOW)
    assert isinstance(pair, Pair)
    assert pair.expires_at == NOW + 3600


@pytest.mark.parametrize(
    ("status", "body", "dead", "scope", "counts"),
    [
        (400, b'{"error": "invalid_grant"}', True, False, True),
        (401, b'{"error": "invalid_grant"}', True, False, True),
        (400, b'{"error": "invalid_scope"}', False, True, True),
        (401, b'{"error": {"type": "authentication_error"}}', False, False, True),
        (429, b"slow down", False, False, False),
        (408, b"", False, False, False),
        (500, b'{"error": "invalid_grant"}', False, False, False),
        (302, b"", False, False, False),
        (200, b"<html>", False, False, False),
        (200, b'{"access_token": ""}', False, False, False),
        (200, b'{"access_token": "two words"}', False, False, False),
        (200, b'{"error": "invalid_grant"}', False, False, False),
    ],
)
def test_a_refusal_says_whose_fault_it_is(
    status: int, body: bytes, dead: bool, scope: bool, counts: bool
) -> None:
    answer = read_answer(status, body, NOW)
    assert isinstance(answer, Refused)
    assert (answer.dead, answer.about_scope, answer.counts) == (dead, scope, counts)


@given(st.integers(100, 599), st.binary(max_size=80))
def test_any_answer_is_read_and_what_is_told_of_it_is_one_short_printable_line(
    status: int, body: bytes
) -> None:
    answer = read_answer(status, body, NOW)
    if isinstance(answer, Refused):
        assert len(answer.error) <= 130
        assert answer.error.isprintable()


def test_an_error_that_quotes_the_token_is_masked() -> None:
    answer = read_answer(400, b'{"error": "bad sk-ant-ort01-abcdefghijk"}', NOW)
    assert isinstance(answer, Refused)
    assert "ort01" not in answer.error
