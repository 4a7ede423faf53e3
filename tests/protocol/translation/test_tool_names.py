"""Names that fit, and the way back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.translation.tool_names import ToolNames, fitting_id


def test_a_name_that_fits_is_left_alone() -> None:
    names = ToolNames(["Bash", "mcp__server__tool"])
    assert names.there("Bash") == "Bash"
    assert names.back("mcp__server__tool") == "mcp__server__tool"


def test_a_name_that_was_never_sent_comes_back_as_it_is() -> None:
    assert ToolNames([]).back("Imagined") == "Imagined"


@given(st.lists(st.text(min_size=1, max_size=200), unique=True, max_size=8))
def test_every_name_fits_and_finds_its_way_back(given_names: list[str]) -> None:
    names = ToolNames(given_names)
    sent = [names.there(name) for name in given_names]
    assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", name) for name in sent)
    assert [names.back(name) for name in sent] == given_names


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("a b", "a_b_c8687a08"),
        ("_a b", "_a_b_b41f5a44"),
        ("9lives", "_9lives_bc867356"),
        ("", "__e3b0c442"),
        ("x" * 65, "x" * 55 + "_9537c5fd"),
    ],
)
def test_a_name_that_does_not_fit_is_the_same_in_every_turn_and_every_life(
    name: str, sent: str
) -> None:
    assert ToolNames([name]).there(name) == sent
    assert ToolNames([]).there(name) == sent, "also when only an earlier turn knew the tool"


def test_half_a_character_in_a_name_is_no_failure() -> None:
    names = ToolNames(["cut \ud83d"])
    assert names.back(names.there("cut \ud83d")) == "cut \ud83d"


def test_an_id_of_forty_characters_is_left_alone() -> None:
    assert fitting_id("x" * 40) == "x" * 40
    assert fitting_id("x" * 41) == "x" * 31 + "_3164596d"


@given(st.text(max_size=400))
def test_an_id_is_short_and_always_the_same(call: str) -> None:
    assert len(fitting_id(call)) <= 40
    assert fitting_id(call) == fitting_id(call)
