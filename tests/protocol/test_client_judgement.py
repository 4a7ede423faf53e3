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


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://a.test", "https://b.test", False),
        ("http://a.test", "http://a.test:80/", True),
        ("https://a.test", "https://a.test:443", True),
        ("http://a.test", "http://a.test:81", False),
        ("http://a.test", "https://a.test", False),
        ("https://a.test/there", "https://a.test", False),
        ("https://a.test/v1//", "https://a.test/v1", True),
        ("http://localhost:1", "http://127.0.0.1:2", False),
    ],
)
def test_two_places_differ_in_scheme_host_port_or_path(one: str, other: str, same: bool) -> None:
    assert same_place(one, other) is same


@pytest.mark.parametrize(
    "found",
    [
        "ftp://gateway.test",
        "https://",
        "https://gateway.test:0",
        "https://gateway.test:99999",
        "https://gateway.test?key=x",
        "gateway.test/v1",
        "mailto:somebody",
    ],
)
def test_what_could_be_no_upstream_is_not_adopted(found: str) -> None:
    assert judge(found, "somebody", PASSING).verdict is BACK


@pytest.mark.parametrize("found", ["gateway.test/v1", "mailto:somebody", "https://"])
def test_what_is_no_url_is_called_so_and_not_repeated(found: str) -> None:
    assert "something that is no URL" in judge(found, "somebody", POOL).reason


def test_a_long_url_is_cut() -> None:
    shown = judge("https://gateway.test/" + "x" * 500, "somebody", POOL).reason
    assert shown.count("x") <= 200
    assert ("https://gateway.test/" + "x" * 179 + ";") in shown
