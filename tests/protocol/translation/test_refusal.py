"""What is refused says where it stands and what it is instead of what it should be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from protocol.translation.refusal import (
    Untranslatable,
    as_list,
    as_number,
    as_object,
    as_text,
    capability_rejected,
)

VALUES: dict[str, Any] = {
    "null": None,
    "a boolean": True,
    "a number": 1.5,
    "a string": "x",
    "an array": [1],
    "an object": {"a": 1},
}


@pytest.mark.parametrize("kind", list(VALUES))
@pytest.mark.parametrize(
    ("read", "wanted"),
    [(as_object, "an object"), (as_list, "an array"), (as_text, "a string"), (as_number, "a number")],
)  # fmt: skip
def test_a_value_of_another_kind_is_refused_by_name(
    read: Callable[[object, str], Any], wanted: str, kind: str
) -> None:
    value = VALUES[kind]
    if kind == wanted:
        assert read(value, "messages[3].content") == value
        return
    with pytest.raises(Untranslatable) as refusal:
        read(value, "messages[3].content")
    assert str(refusal.value) == f"messages[3].content: must be {wanted}, not {kind}"
    assert refusal.value.problem.status == 400
    assert refusal.value.problem.message == str(refusal.value)


def test_a_number_that_no_machine_can_hold_is_refused() -> None:
    with pytest.raises(Untranslatable, match="max_tokens: is too large"):
        as_number(10**400, "max_tokens")


def test_the_token_upon_which_the_client_leaves_a_part_out_is_the_whole_message() -> None:
    assert str(capability_rejected("image_block")) == "capability_rejected: image_block"
