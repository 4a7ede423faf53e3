"""Tool calls of servers that are careless with numbers, ids and names: none is lost, none is mixed up
with another, and no two have one id (`peers.md` P15)."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.sse import Event
from protocol.translation.collect import collect
from protocol.translation.from_openai import OpenAIStream
from protocol.translation.provider_error import ProviderError
from tests.protocol.translation.test_from_openai import NAMES, call, chunk, told


def piece(arguments: str | None = None, name: str = "", **more: Any) -> dict[str, Any]:
    function: dict[str, Any] = {}
    if name:
        function["name"] = name
    if arguments is not None:
        function["arguments"] = arguments
    return {"type": "function", "function": function, **more}


def calls_of(*pieces: list[dict[str, Any]]) -> list[tuple[str, str, Any]]:
    chunks = [chunk({"tool_calls": one}) for one in pieces]
    message = collect(told(*chunks, chunk({}, "tool_calls")))
    assert message["stop_reason"] == "tool_use"
    return [(block["id"], block["name"], block["input"]) for block in message["content"]]


LS, CAT = '{"command":"ls"}', '{"command":"cat"}'
BOTH = [("Bash", {"command": "ls"}), ("Bash", {"command": "cat"})]


@pytest.mark.parametrize(
    "pieces",
    [
        # Gemini's compatible endpoint: every call has the number 0.
        [[piece(LS, "Bash", index=0, id="a")], [piece(CAT, "Bash", index=0, id="b")]],
        [[piece(LS, "Bash", index=0, id="")], [piece(CAT, "Bash", index=0, id="")]],
        # No numbers at all.
        [[piece(LS, "Bash", id="a"), piece(CAT, "Bash", id="b")]],
        [[piece(LS, "Bash"), piece(CAT, "Bash")]],
        [[piece(LS, "Bash")], [piece(CAT, "Bash")]],
        [[piece(LS[:5], "Bash", id="a")], [piece(LS[5:])], [piece(CAT, "Bash", id="b")]],
        [[piece(LS[:5], "Bash", id="a")], [piece(LS[5:], id="a")], [piece(CAT, "Bash", id="b")]],
        # One id for both.
        [[piece(LS, "Bash", index=0, id="a"), piece(CAT, "Bash", index=1, id="a")]],
        [[piece(LS, "Bash", id="a"), piece(CAT, "Bash", id="a")]],
        # Numbers that are none.
        [[piece(LS, "Bash", index=None, id="a"), piece(CAT, "Bash", index={}, id="b")]],
        [[piece(LS, "Bash", index=[0], id="a"), piece(CAT, "Bash", index="1", id="b")]],
        # The name and the id in every piece.
        [
            [piece(LS[:5], "Bash", index=0, id="a")],
            [piece(LS[5:], "Bash", index=0, id="a")],
            [piece("", "Bash", index=0, id="a")],
            [piece(CAT, "Bash", index=1, id="b")],
        ],
        # An id that comes late.
        [[piece(None, "Bash")], [piece(LS, id="a")], [piece(CAT, "Bash", id="b")]],
        # Arguments that are an object, as Ollama's older servers give them.
        [[piece(None, "Bash", id="a"), piece(CAT, "Bash", id="b")], [piece(LS, id="a")]],
    ],
)
def test_two_calls_are_two_whatever_their_numbers_and_ids(pieces: list[Any]) -> None:
    found = calls_of(*pieces)
    assert sorted((name, given["command"]) for _, name, given in found) == sorted(
        (name, given["command"]) for name, given in BOTH
    )
    assert len({call_id for call_id, _, _ in found}) == 2
    assert all(call_id for call_id, _, _ in found)


def test_arguments_that_are_an_object_are_the_input() -> None:
    made = piece(None, "Bash", index=0, id="a")
    made["function"]["arguments"] = {"command": "ls"}
    assert calls_of([made]) == [("a", "Bash", {"command": "ls"})]


def test_a_call_without_a_name_does_not_vanish_unseen() -> None:
    events = told(
        chunk({"content": "Look:"}),
        chunk(call(0, "{}", "call_a")),
        chunk({}, "tool_calls"),
    )
    assert events[-1]["type"] == "error"
    assert "without a name" in events[-1]["error"]["message"]
    with pytest.raises(ProviderError, match="without a name"):
        OpenAIStream(NAMES, "msg_1", "m").whole(
            {"choices": [{"message": {"tool_calls": [piece("{}")]}, "finish_reason": "stop"}]}
        )


def test_calls_that_were_announced_and_never_came_are_no_calls() -> None:
    """A client that goes by the reason would wait for a call that is not there."""
    assert collect(told(chunk({"content": "a"}), chunk({}, "tool_calls")))["stop_reason"] == (
        "end_turn"
    )


def test_a_flood_of_brackets_is_read_once_each() -> None:
    """All arguments together were decoded again for each piece: a minute for so many."""
    stream = OpenAIStream(NAMES, "msg_1", "m")
    stream.chunk(chunk(call(0, "{", "call_a", "Bash")))
    stream.chunk(chunk(call(1, "{", "call_b", "Bash")))
    for _ in range(20_000):
        stream.chunk(chunk(call(0, '{"a":{}', "", "")))
    assert not stream.ended


@pytest.mark.parametrize(
    "data", [b"data", b"[]", b"null", b"{", b'"x"', b"\xff\xfe", b"[" * 100_000]
)
def test_bytes_that_are_no_chunk_break_the_stream_visibly(data: bytes) -> None:
    with pytest.raises(ProviderError):
        OpenAIStream(NAMES, "msg_1", "m").feed(Event("", data))
