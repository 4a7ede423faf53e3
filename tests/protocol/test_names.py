"""Wildcards against a reference made of a regular expression."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.names import matches, matches_any


def reference(pattern: str, name: str) -> bool:
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    return re.fullmatch(expression, name, re.DOTALL) is not None


few = st.text("ab*", max_size=8)


@given(few, st.text("ab", max_size=10))
def test_it_agrees_with_a_regular_expression_on_short_names(pattern: str, name: str) -> None:
    assert matches(pattern, name) is reference(pattern, name)


@given(st.text() | st.text("[]?.*+^$\\\n1m"), st.text() | st.text("[]?.*+^$\\\n1m"))
def test_it_agrees_with_a_regular_expression_on_any_text(pattern: str, name: str) -> None:
    assert matches(pattern, name) is reference(pattern, name)


@given(st.lists(st.tuples(st.text("ab[]?", max_size=3), st.booleans())))
def test_a_star_stands_for_any_run(parts: list[tuple[str, bool]]) -> None:
    pattern = "*".join(text for text, _ in parts)
    name = "x*".join(text for text, _ in parts)
    assert matches(pattern, name)


@pytest.mark.parametrize(
    ("pattern", "name", "covered"),
    [
        ("claude-*", "claude-opus-5-5", True),
        ("claude-*", "Claude-opus", False),
        ("claude-opus[1m]", "claude-opus[1m]", True),
        ("claude-opus[1m]", "claude-opus1", False),
        ("a?c", "abc", False),
        ("a*a", "a", False),
        ("*", "", True),
        ("", "", True),
        ("", "a", False),
        ("opus", "claude-opus", False),
    ],
)
def test_only_the_star_is_special_and_the_whole_name_counts(
    pattern: str, name: str, covered: bool
) -> None:
    assert matches(pattern, name) is covered


def test_a_hostile_name_takes_no_exponential_time() -> None:
    began = time.perf_counter()
    assert not matches("*a" * 30 + "b", "a" * 20_000)
    assert time.perf_counter() - began < 5


def test_one_of_several_patterns_is_enough() -> None:
    assert matches_any(("x", "a*"), "abc")
    assert not matches_any(("x", "b*"), "abc")
    assert not matches_any((), "abc")
