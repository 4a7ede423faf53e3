"""Names that fit, and the way back."""

from __future__ import annotations

import re

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


@given(st.text(max_size=400))
def test_an_id_is_short_and_always_the_same(call: str) -> None:
    assert len(fitting_id(call)) <= 40
    assert fitting_id(call) == fitting_id(call)
