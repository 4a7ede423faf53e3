"""Which tools the other provider's model is to see, and in which words the rest is refused."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.translation.conversation import Tool
from protocol.translation.read_tools import read_tools
from protocol.translation.refusal import Untranslatable

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
BASH = {"name": "Bash", "description": "Runs.", "input_schema": SCHEMA}


def loaded_by(*pieces: Any) -> list[Any]:
    return [
        "odd",
        {"role": "user", "content": "hi"},
        {"role": "user", "content": ["odd", {"type": "tool_result", "content": list(pieces)}]},
    ]


def test_a_tool_is_its_name_its_description_and_its_schema() -> None:
    assert read_tools([BASH, {"name": "Bare", "type": "custom", "description": None}], []) == (
        Tool("Bash", "Runs.", SCHEMA),
        Tool("Bare", "", {"type": "object", "properties": {}}),
    )
    assert read_tools(None, []) == ()


@pytest.mark.parametrize(
    ("messages", "seen"),
    [
        ([], False),
        (loaded_by({"type": "tool_reference", "tool_name": "Later"}), True),
        (loaded_by("odd", {"type": "tool_reference", "tool_name": "Another"}), False),
        (loaded_by({"type": "text", "tool_name": "Later"}), False),
    ],
)
def test_a_deferred_tool_is_seen_from_where_a_result_refers_to_it(
    messages: list[Any], seen: bool
) -> None:
    tools = [BASH, {"name": "Later", "defer_loading": True}]
    assert ("Later" in [tool.name for tool in read_tools(tools, messages)]) == seen


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        ({}, "^tools: must be an array"),
        ([5], r"tools\[0\]: must be an object"),
        ([{}], r"tools\[0\].name: must be a string"),
        (
            [BASH, {"name": "Bad", "input_schema": []}],
            r"tools\[1\].input_schema: must be an object",
        ),
        ([BASH, BASH], r"tools\[1\].name: 'Bash' is there twice"),
        ([{"name": "web_search", "type": "web_search_20250305"}], "web_search_20250305"),
    ],
)
def test_what_is_no_tool_of_the_clients_is_refused_by_its_place(tools: Any, said: str) -> None:
    with pytest.raises(Untranslatable, match=said):
        read_tools(tools, [])
