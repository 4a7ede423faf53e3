"""`${VAR}` in texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.config.errors import Refused
from protocol.config.variables import expand, literal, refers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("${A}", "a"),
        ("x${A}y${A}z", "xayaz"),
        ("${NONE:-d e}", "d e"),
        ("${NONE:-}", ""),
        ("${EMPTY}", ""),
        ("${EMPTY:-d}", "d"),
        ("${A:-d}", "a"),
        ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
        ("$A $ {A} $", "$A $ {A} $"),
    ],
)
def test_references_are_replaced(text: str, expected: str) -> None:
    assert expand(text, {"A": "a", "EMPTY": ""}) == expected


@pytest.mark.parametrize("text", ["${NONE}", "${", "${A", "${1}", "${A-b}", "${}", "${B:-${A}}"])
def test_what_is_no_usable_reference_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        expand(text, {"A": "a"})


@given(st.text(alphabet="${}A:-x"))
def test_a_text_made_literal_comes_back_unchanged(text: str) -> None:
    escaped = literal(text)
    assert isinstance(escaped, str)
    assert expand(escaped, {"A": "wrong"}) == text
    assert not refers(escaped)
