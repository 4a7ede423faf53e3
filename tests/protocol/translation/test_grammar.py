"""The judge of translated streams: each rule lets the right event through and bites at a wrong one."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from protocol.translation.grammar import Grammar, Ungrammatical

Json = dict[str, Any]

START: Json = {
    "type": "message_start",
    "message": {"content": [], "usage": {"input_tokens": 0}},
}
DELTA: Json = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn"},
    "usage": {"output_tokens": 1},
}
STOP: Json = {"type": "message_stop"}
PING: Json = {"type": "ping"}
ERROR: Json = {"type": "error", "error": {"type": "api_error", "message": "gone"}}


def opened(index: int = 0, kind: str = "text") -> Json:
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind}}


def piece(index: int = 0, kind: str = "text_delta") -> Json:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind}}


def closed(index: int = 0) -> Json:
    return {"type": "content_block_stop", "index": index}


def judged(*events: Json) -> str:
    """What is wrong with a stream of these, "" for nothing."""
    grammar = Grammar()
    try:
        for event in events:
            grammar.feed(event)
        grammar.finish()
    except Ungrammatical as wrong:
        return str(wrong)
    return ""


WHOLE = (START, opened(), piece(), piece(), closed(), DELTA, STOP)


def test_a_message_with_blocks_in_their_order_is_right() -> None:
    assert judged(*WHOLE) == ""
    two = (opened(), piece(), closed(), opened(1, "tool_use"), piece(1, "input_json_delta"))
    assert judged(START, *two, closed(1), DELTA, STOP) == ""
    assert judged(START, opened(), closed(), DELTA, STOP) == "", "a block may be empty"
    assert judged(START, DELTA, STOP) == "", "and so may a message"


@pytest.mark.parametrize("place", range(len(WHOLE)))
def test_a_ping_may_come_anywhere_before_the_end_and_changes_nothing(place: int) -> None:
    assert judged(*WHOLE[:place], PING, *WHOLE[place:]) == ""


@pytest.mark.parametrize("place", range(len(WHOLE)))
def test_an_error_ends_it_wherever_it_comes(place: int) -> None:
    assert judged(*WHOLE[:place], ERROR) == ""
    assert judged(*WHOLE[:place], ERROR, PING) == "ping after the end"


@pytest.mark.parametrize(
    ("kind", "deltas"),
    [
        ("text", {"text_delta", "citations_delta"}),
        ("thinking", {"thinking_delta", "signature_delta"}),
        ("tool_use", {"input_json_delta"}),
        ("redacted_thinking", set[str]()),
        ("unheard_of", set[str]()),
    ],
)
def test_a_block_takes_the_deltas_of_its_kind_alone(kind: str, deltas: set[str]) -> None:
    every = {"text_delta", "citations_delta", "thinking_delta", "signature_delta"}
    for delta in sorted(every | {"input_json_delta", "unheard_of_delta"}):
        wrong = judged(START, opened(0, kind), piece(0, delta), closed(), DELTA, STOP)
        assert wrong == ("" if delta in deltas else "a delta of another type"), delta


def changed(event: Json, *path: str, to: object = ...) -> Json:
    """`event` with another value at `path`, or without any there."""
    new = copy.deepcopy(event)
    inner = new
    for step in path[:-1]:
        inner = inner[step]
    if to is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = to
    return new


@pytest.mark.parametrize(
    ("events", "wrong"),
    [
        ((START, START), "a second message_start"),
        ((changed(START, "message", "content", to=[{}]),), "content in message_start"),
        ((changed(START, "message", "usage", "input_tokens"),), "no usage"),
        ((opened(),), "a block in before"),
        ((START, opened(), opened(1)), "a block in block"),
        ((START, opened(1)), "a block out of order"),
        ((START, opened(), closed(), opened(0)), "a block out of order"),
        ((START, opened(), closed(), opened(2)), "a block out of order"),
        ((START, piece()), "content_block_delta without an open block"),
        ((START, opened(), piece(1)), "content_block_delta of another block"),
        ((START, opened(), closed(), piece()), "content_block_delta without an open block"),
        ((START, closed()), "content_block_stop without an open block"),
        ((START, opened(), closed(1)), "content_block_stop of another block"),
        ((START, opened(), DELTA), "message_delta in block"),
        ((DELTA,), "message_delta in before"),
        ((START, changed(DELTA, "delta", "stop_reason", to=None)), "no stop_reason"),
        ((START, changed(DELTA, "usage", "output_tokens")), "no usage"),
        ((START, DELTA, DELTA), "message_delta in closing"),
        ((START, DELTA, opened()), "a block in closing"),
        ((START, STOP), "message_stop in content"),
        ((START, DELTA, STOP, STOP), "message_stop after the end"),
        ((START, {"type": "message_end"}), "an event of type 'message_end'"),
        ((START, {}), "an event of type None"),
        ((), "the end in before"),
        ((START, opened()), "the end in block"),
        ((START, DELTA), "the end in closing"),
    ],
)
def test_what_may_not_come_there_is_named(events: tuple[Json, ...], wrong: str) -> None:
    assert judged(*events) == wrong
