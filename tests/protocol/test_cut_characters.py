"""Half an emoji survives an edit of the document around it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.cut_characters import edited

HALF = '"\\ud83d"'


def with_x_removed(document: bytes) -> bytes:
    fields: dict[str, Any] = msgspec.json.decode(document)
    if "x" not in fields:
        return document
    del fields["x"]
    return msgspec.json.encode(fields)


def test_without_our_care_such_a_document_cannot_be_edited() -> None:
    """The control."""
    with pytest.raises(msgspec.DecodeError):
        with_x_removed(b'{"x":1,"y":' + HALF.encode() + b"}")


@pytest.mark.parametrize(
    "text",
    [
        HALF,
        '"\\uD83D and \\ude00"',
        '"\\ud83d\\ude00"',  # both halves, which is a whole one
        '"\\\\ud83d"',  # a backslash and a word
        '"\\ud83d \\ue000d83d \\ue001"',  # what would mark the places is there already
        '"\\ud83d \ue000d83d"',
        '"no half"',
    ],
)
def test_what_is_left_of_a_document_says_the_same_as_before(text: str) -> None:
    document = f'{{"x":1,"y":{text}}}'.encode()
    after = edited(document, with_x_removed)
    assert json.loads(after) == {"y": json.loads(text)}
    assert (b"\\ud83d" in after.lower()) == ("\\ud83d" in text.lower())


def test_a_document_that_needs_no_edit_is_the_same_bytes() -> None:
    document = b'{ "y" : ' + HALF.encode() + b" }"
    assert edited(document, with_x_removed) is document


def test_a_document_with_every_mark_in_it_is_edited_as_it_is() -> None:
    every = "".join(map(chr, range(0xE000, 0xF900)))
    document = json.dumps({"y": [every, "\ud83d"]}, ensure_ascii=True).encode()
    assert edited(document, lambda given: given) is document


@given(st.lists(st.text(st.characters() | st.characters(categories=["Cs", "Co"]))))
def test_any_texts_survive(texts: list[str]) -> None:
    document = json.dumps({"x": 1, "y": texts}).encode()
    assert json.loads(edited(document, with_x_removed)) == {"y": json.loads(document)["y"]}
