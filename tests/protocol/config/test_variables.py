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


def test_every_text_inside_of_a_value_is_made_literal_and_nothing_else() -> None:
    value = {"${K}": ["${A}", 5, {"b": "$${A}"}], "t": ("${A}",), "n": None}
    made = {"${K}": ["$${A}", 5, {"b": "$$${A}"}], "t": ["$${A}"], "n": None}
    assert literal(value) == made


@pytest.mark.parametrize(
    ("text", "takes"),
    [("${A}", True), ("a${A:-b}", True), ("$${A}", False), ("$A", False), ("${", False)],
)
def test_what_takes_nothing_from_a_variable_is_written_out(text: str, takes: bool) -> None:
    assert refers(text) is takes


@pytest.mark.parametrize(
    ("text", "allowed", "found"),
    [
        ("${NONE}", "a variable that is set, or ${NONE:-default}",
         "the environment variable NONE, which is not set"),
        ("${RAW}", "a variable with UTF-8 text in it",
         "the environment variable RAW, which is not UTF-8"),
        ("${RAW:-default}", "a variable with UTF-8 text in it",
         "the environment variable RAW, which is not UTF-8"),
        ("a ${", "${NAME} or ${NAME:-default}; $${ for a literal ${",
         "a ${ that starts no reference to a variable"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_told_without_any_value(text: str, allowed: str, found: str) -> None:
    with pytest.raises(Refused) as caught:
        expand(text, {"RAW": "\udcff"})
    assert (caught.value.allowed, caught.value.found) == (allowed, found)
