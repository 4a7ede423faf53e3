"""What is done about a base URL that was there before: the table of rule 14."""

from __future__ import annotations

import pytest

from protocol.client_judgement import (
    Answer,
    Circumstances,
    Verdict,
    is_loopback,
    judge,
    same_place,
)

OURS = "http://127.0.0.1:4080"
DEAD = "http://localhost:9999"
GATEWAY = "https://gateway.test/v1"

POOL = Circumstances(OURS)
TAKING = Circumstances(OURS, replace=True)
PASSING = Circumstances(OURS, passthrough=True)
ADOPTED = Circumstances(OURS, passthrough=True, upstream=GATEWAY)
ADOPTED_OTHER = Circumstances(OURS, passthrough=True, upstream="https://other.test")

POINT, ADOPT, BACK = Verdict.POINT, Verdict.ADOPT, Verdict.STAND_BACK

TABLE: list[tuple[str | None, Answer, Circumstances, Verdict, str]] = [
    (None, "somebody", POOL, POINT, ""),
    ("", "somebody", POOL, POINT, ""),
    (None, "somebody", PASSING, POINT, ""),
    (OURS, "supervisor", POOL, BACK, "no record"),
    ("http://localhost:4080/", "supervisor", TAKING, BACK, "no record"),
    (DEAD, "supervisor", POOL, BACK, "another running supervisor"),
    (DEAD, "supervisor", TAKING, BACK, "another running supervisor"),
    (DEAD, "supervisor", PASSING, BACK, "another running supervisor"),
    (DEAD, "nobody", POOL, BACK, "where nobody answers"),
    (DEAD, "nobody", PASSING, BACK, "where nobody answers"),
    (DEAD, "nobody", TAKING, POINT, "takes the place"),
    (DEAD, "somebody", POOL, BACK, DEAD),
    (DEAD, "somebody", PASSING, ADOPT, DEAD),
    (GATEWAY, "somebody", POOL, BACK, GATEWAY),
    (GATEWAY, "somebody", TAKING, POINT, GATEWAY),
    (GATEWAY, "somebody", PASSING, ADOPT, "as before"),
    (GATEWAY, "somebody", ADOPTED, ADOPT, "as before"),
    (GATEWAY, "somebody", ADOPTED_OTHER, BACK, GATEWAY),
    ("no url", "somebody", PASSING, BACK, "no URL"),
    ("https://me:secret@gateway.test", "somebody", PASSING, BACK, "gateway.test"),
]


@pytest.mark.parametrize(("found", "answer", "here", "verdict", "words"), TABLE)
def test_each_case_has_its_answer_and_its_words(
    found: str | None, answer: Answer, here: Circumstances, verdict: Verdict, words: str
) -> None:
    judgement = judge(found, answer, here)
    assert judgement.verdict is verdict
    assert words in judgement.reason
    assert "secret" not in judgement.reason


@pytest.mark.parametrize("found", ["x", "https://gateway.test", DEAD])
def test_standing_back_says_what_to_do(found: str) -> None:
    reason = judge(found, "nobody", POOL).reason
    assert "client.replace" in reason
    assert "remove the key" in reason


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:1", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:80", True),
        ("http://LOCALHOST.:1", True),
        ("http://localhost.evil.test", False),
        ("http://10.0.0.1", False),
        ("http://[::1", False),
        ("", False),
    ],
)
def test_loopback_is_this_machine_alone(url: str, loopback: bool) -> None:
    assert is_loopback(url) is loopback


def test_places_are_the_same_however_they_are_written() -> None:
    assert same_place("http://localhost:4080/", "http://127.0.0.1:4080")
    assert same_place("https://api.test", "https://API.test:443/")
    assert not same_place("http://localhost:4080", "http://localhost:4081")
    assert not same_place("http://x:99999", "http://y:99999")
