"""An estimate of a request's tokens is never under what they are (`peers.md` P18)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.token_estimate import estimated
from tests.kit import corpus

# What is repeated ten times, and the most tokens that cl100k, o200k and Claude 2's tokeniser made of it.
MEASURED = [
    ("The quick brown fox jumps over the lazy dog, and then it sleeps. ", 161),
    (
        "for window in self.windows.values():\n        if window.reset_at is not None:\n            return window.reset_at - now\n",
        300,
    ),
    (
        "function a(b,c){var d=b[c];if(!d)return null;for(var e=0;e<d.length;e++){d[e].f=e*2}return d}",
        500,
    ),
    ('{"id":17,"x":0.4412773401,"ok":true},{"id":18,"x":0.9071533225,"ok":false},', 351),
    ("58412 7 91034 220 67 83391 4127 5 99012 ", 230),
    ("\n1,604,a\n2,17,b\n3,999,a", 180),
    ("rK3vQ0pXc2Rmc1dZb0h4eGJtNkZ2Q2hKbTl6VUVwSlF5TXpRRTFqWXpnME5UWmlZVE13WkRrMFpqRTNaVGc9", 680),
    ("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 ", 441),
    ("123e4567-e89b-12d3-a456-426614174000\n", 210),
    ("!@#$%^&*()_+-=[]{}|;:,.<>/?~`", 190),
    ("\na\n\tb\n", 60),
    ("qwjxkzvbnmplgfdshcrtyuioqazwsxedcrfvtgbyhnujmikolp", 291),
    ("Die Straßenverkehrsordnung gilt für größere Fahrzeuge übrigens nicht. ", 241),
    ("你好世界這是一個測試文本用來計算標記數量", 290),
    ("龘靐齉爩鱻麤", 150),
    ("これはテストです。日本語の文章。", 140),
    ("안녕하세요 이것은 테스트입니다 ", 171),
    ("Привет мир, это ещё один тест. ", 170),
    ("שלום עולם זה מבחן ", 181),
    ("مرحبا بالعالم هذا اختبار ", 221),
    ("नमस्ते दुनिया यह एक परीक्षण है ", 340),
    ("សួស្តីពិភពលោក", 390),
    ("ሰላም ልዑል ይህ ፈተና ነው ", 440),
    ("😀🎉👨\u200d👩\u200d👧🏳️\u200d🌈🦄", 300),
    ("┌─┬┐│├┼┤└┴┘═║╔╗", 270),
    ("𐎀𐎁𐎂𐎃", 160),
]


@pytest.mark.parametrize(("text", "tokens"), MEASURED)
def test_the_estimate_is_never_under_and_never_absurd(text: str, tokens: int) -> None:
    assert tokens <= estimated(text * 10) <= 3 * tokens


@pytest.mark.parametrize("name", corpus.names("claude-code"))
def test_the_estimate_is_above_what_any_common_tokeniser_finds(name: str) -> None:
    fixture = corpus.load(name)
    for exchange in range(len(fixture["exchanges"])):
        body = corpus.request_body(fixture, exchange)
        if body:
            # The densest that is seen in practice: three characters to a token, all of them.
            assert estimated(json.loads(body)) >= len(body) / 3


def test_an_image_is_paid_by_what_it_shows_and_a_document_by_its_pages() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "A" * 1_000_000}
    assert 6_000 <= estimated({"type": "image", "source": source}) < 10_000
    pdf = {**source, "media_type": "application/pdf"}
    assert estimated({"type": "document", "source": pdf}) > 100_000


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_every_document_has_an_estimate(document: object) -> None:
    assert estimated(document) >= 1
