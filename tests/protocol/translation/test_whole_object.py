"""Pieces of a tool's input are counted to their end, wherever they are cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.translation.whole_object import WholeObject

_objects = st.dictionaries(
    st.text(st.sampled_from('a"\\{}[]\n'), max_size=4),
    st.recursive(
        st.one_of(st.none(), st.integers(), st.text(st.sampled_from('b"\\{}[] '), max_size=5)),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
        max_leaves=4,
    ),
    max_size=3,
)


@given(_objects, st.data())
def test_it_is_whole_with_its_last_bracket_and_not_before(
    document: dict[str, Any], data: st.DataObject
) -> None:
    text = json.dumps(document)
    watched, rest = WholeObject(), text
    while rest:
        assert not watched.whole
        size = data.draw(st.integers(1, len(rest)))
        watched.feed(rest[:size])
        rest = rest[size:]
    assert watched.whole


@pytest.mark.parametrize(
    ("pieces", "whole"),
    [
        ([], False),
        ([""], False),
        (["null"], False),
        (["}"], True),
        (["{}", "{"], False),
        (['{"a":"', "\\", '"}'], False),
        (['{"a":"', "\\", '\\"}'], True),
        (['{"a":"\\\\\\', '"}'], False),
        (['{"a":"\\\\\\\\', '"}'], True),
        (['{"a":[1,"]"]', "}"], True),
        (['{"a":[1,"]"', "}"], False),
    ],
)
def test_what_is_no_object_is_whole_when_nothing_is_open(pieces: list[str], whole: bool) -> None:
    watched = WholeObject()
    for piece in pieces:
        watched.feed(piece)
    assert watched.whole is whole
