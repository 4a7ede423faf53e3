"""The code flow with PKCE (RFC 7636)."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.pkce import Attempt, LoginRefused

# RFC 7636, appendix B.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
BEGUN = Attempt(
    "https://login.example/authorize",
    "client-1",
    "http://localhost:1234/callback",
    ("a", "b"),
    VERIFIER,
    "state-1",
)


def test_the_challenge_is_that_of_the_rfc_s_example() -> None:
    assert BEGUN.challenge == CHALLENGE


def test_the_address_has_everything_but_the_verifier() -> None:
    query = parse_qs(urlsplit(BEGUN.url()).query)
    assert query == {
        "response_type": ["code"],
        "client_id": ["client-1"],
        "redirect_uri": ["http://localhost:1234/callback"],
        "scope": ["a b"],
        "code_challenge": [CHALLENGE],
        "code_challenge_method": ["S256"],
        "state": ["state-1"],
    }
    assert VERIFIER not in BEGUN.url()
    assert VERIFIER not in repr(BEGUN)


@pytest.mark.parametrize(
    "answer",
    [
        "http://localhost:1234/callback?code=c-1&state=state-1",
        "/callback?state=state-1&code=c-1",
        "c-1#state-1\n",
    ],
)
def test_the_code_is_taken_from_what_came_back(answer: str) -> None:
    assert BEGUN.code_of(answer) == "c-1"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("/callback?code=c&state=other", "belongs to another login"),
        ("c#", "belongs to another login"),
        ("/callback?error=access_denied&state=state-1", "refused the login: access_denied"),
        ("", "there is no code"),
        ("/callback?state=state-1", "there is no code"),
    ],
)
def test_an_answer_to_another_question_is_refused(answer: str, told: str) -> None:
    with pytest.raises(LoginRefused, match=told):
        BEGUN.code_of(answer)


def test_the_exchange_proves_who_asked() -> None:
    assert json.loads(BEGUN.exchange_body("c-1")) == {
        "grant_type": "authorization_code",
        "code": "c-1",
        "redirect_uri": "http://localhost:1234/callback",
        "client_id": "client-1",
        "code_verifier": VERIFIER,
        "state": "state-1",
    }


@given(st.text(max_size=60))
def test_whatever_is_pasted_it_ends_with_a_code_or_a_refusal(answer: str) -> None:
    try:
        code = BEGUN.code_of(answer)
    except LoginRefused:
        return
    assert code
    assert "state-1" in answer
