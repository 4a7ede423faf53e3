"""A signature goes back to its maker alone (`peers.md` P16)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.translation.foreign_state import own_state, signed, signer, unsigned, with_origin
from protocol.translation.read_anthropic import read_request
from protocol.translation.returning import without_foreign_state
from protocol.translation.signature_marks import LINE_BYTES_MAX, StreamMarks, marked_message

STREAM = (
    b'event: message_start\r\ndata: {"type":"message_start","message":{"content":[]}}\r\n\r\n'
    b"event: content_block_start\n"
    b'data: {"type":"content_block_start","index":0,'
    b'"content_block":{"type":"thinking","thinking":"","signature":""}}\n\n'
    b': a comment on "signature"\n\n'
    b'data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta",'
    b'"thinking":"my \\"signature\\""}}\n\n'
    b'data:{"type":"content_block_delta", "index":0,'
    b'"delta":{"type":"signature_delta","signature":"abc"}}\r\n\r\n'
    b'data: {"signature": broken\n\n'
    b'data: {"type":"message_stop"}\n\ndata: thinking'
)
MARKED = STREAM.replace(
    b'"thinking":"","signature":""', b'"thinking":"","signature":"llm-supervisor:moon:"'
).replace(
    b'data:{"type":"content_block_delta", "index":0,"delta":{"type":"signature_delta","signature":"abc"}}',
    b'data: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"signature_delta","signature":"llm-supervisor:moon:abc"}}',
)


@given(st.lists(st.integers(1, 60), min_size=1))
def test_a_streams_signatures_are_marked_wherever_it_is_cut(sizes: list[int]) -> None:
    marks, rest, found = StreamMarks("moon"), STREAM, b""
    while rest:
        for size in sizes:
            found += marks.feed(rest[:size])
            rest = rest[size:]
    assert found + marks.finish() == MARKED


@given(st.lists(st.binary(max_size=40)))
def test_no_bytes_are_lost(chunks: list[bytes]) -> None:
    marks = StreamMarks("moon")
    found = b"".join(marks.feed(chunk) for chunk in chunks) + marks.finish()
    assert found == b"".join(chunks)


def test_a_line_without_end_is_not_waited_for() -> None:
    marks = StreamMarks("moon")
    long = b'data: "signature' + b"x" * LINE_BYTES_MAX
    assert marks.feed(long) == long
    assert marks.feed(b"yz") == b"yz"
    assert marks.feed(b"\nevent: a\nrest") == b"\nevent: a\n"
    assert marks.finish() == b"rest"


SIGNED_LINE = b'data: {"delta":{"type":"signature_delta","signature":"abc"}}'


@pytest.mark.parametrize("end", [b"\n", b""])
def test_the_only_line_of_a_stream_is_marked_ended_or_not(end: bytes) -> None:
    marks = StreamMarks("moon")
    found = marks.feed(SIGNED_LINE + end) + marks.finish()
    assert found == SIGNED_LINE.replace(b"abc", b"llm-supervisor:moon:abc") + end


def test_a_line_of_another_field_is_not_read() -> None:
    line = SIGNED_LINE.replace(b"data:", b"id: 1") + b"\n"
    assert StreamMarks("moon").feed(line) == line


def test_hidden_reasoning_alone_is_marked_as_well() -> None:
    body = b'{"content":[{"type":"redacted_thinking","data":"xyz"}]}'
    assert marked_message(body, "moon") == body.replace(b"xyz", b"llm-supervisor:moon:xyz")


def test_a_whole_answers_signatures_are_marked() -> None:
    blocks = [
        {"type": "thinking", "thinking": "a", "signature": "abc"},
        {"type": "thinking", "thinking": "b"},
        {"type": "redacted_thinking", "data": "xyz"},
        {"type": "text", "text": "signature"},
        None,
    ]
    found = json.loads(marked_message(json.dumps({"content": blocks, "n": 1}).encode(), "moon"))
    assert found["n"] == 1
    assert [block and block.get("signature", block.get("data")) for block in found["content"]] == [
        "llm-supervisor:moon:abc",
        "llm-supervisor:moon:",
        "llm-supervisor:moon:xyz",
        None,
        None,
    ]


@pytest.mark.parametrize(
    "body",
    [
        b'{ "content": [{"type":"text","text":"signature"}] }',
        b'{"content": "signature"}',
        b'{"content": null, "signature": 1}',
        b"signature",
        b"[]",
        b"",
    ],
)
def test_an_answer_without_signatures_is_the_same_bytes(body: bytes) -> None:
    assert marked_message(body, "moon") is body


def turn(*blocks: Any) -> bytes:
    return json.dumps(
        {"model": "m", "messages": [{"role": "assistant", "content": list(blocks)}]},
        separators=(",", ":"),
    ).encode()


def content_for(body: bytes, provider: str = "") -> Any:
    return json.loads(without_foreign_state(body, provider))["messages"][0]["content"]


CLAUDES = {"type": "thinking", "thinking": "c", "signature": "ErUB"}
MOONS = {"type": "thinking", "thinking": "m", "signature": signed("abc", "moon")}
EMPTY = {"type": "thinking", "thinking": "e", "signature": signed("", "moon")}
HIDDEN = {"type": "redacted_thinking", "data": signed("xyz", "moon")}
NOBODYS = {"type": "thinking", "thinking": "n", "signature": ""}
SAID = {"type": "text", "text": "yes"}


def test_anthropic_gets_its_own_signatures_alone() -> None:
    assert content_for(turn(CLAUDES, MOONS, EMPTY, HIDDEN, NOBODYS, SAID)) == [CLAUDES, SAID]


def test_a_provider_gets_its_own_signatures_as_it_wrote_them_and_nobody_elses() -> None:
    body = turn(MOONS, EMPTY, HIDDEN, NOBODYS, SAID)
    assert content_for(body, "sun") == [SAID]
    assert content_for(body, "moon") == [
        {**MOONS, "signature": "abc"},
        {**EMPTY, "signature": ""},
        {**HIDDEN, "data": "xyz"},
        SAID,
    ]


def test_the_mark_in_a_users_words_changes_no_byte() -> None:
    words = b'{"messages":[{"role":"user","content":"\\"llm-supervisor:moon:\\""}]}'
    assert without_foreign_state(words) == words


@given(st.text(max_size=20), st.from_regex(r"[a-z0-9_-]{1,12}", fullmatch=True))
def test_a_signature_finds_its_way_back(signature: str, provider: str) -> None:
    marked = signed(signature, provider)
    assert signer(marked) == provider
    assert unsigned(marked) == signature


def test_reasoning_that_a_compatible_provider_signed_is_foreign_to_every_other() -> None:
    conversation = read_request(json.loads(turn(MOONS, CLAUDES)))
    thoughts = conversation.turns[0].thinking  # type: ignore[union-attr]
    assert [(one.text, one.signature) for one in thoughts] == [("m", ""), ("c", "ErUB")]


def test_what_is_written_into_a_clients_memory_keeps_its_form() -> None:
    """It comes back from conversations of another day, and perhaps of another version of ours."""
    assert signed("abc", "moon") == "llm-supervisor:moon:abc"
    assert with_origin({"s": 1}, "moon") == {"s": 1, "origin": "moon"}
    assert with_origin({}, "moon") == {}
    assert with_origin({"s": 1}, "") == {"s": 1}


def test_of_several_calls_each_keeps_its_own_state() -> None:
    state = {"extra_content": with_origin({"s": 1}, "moon")}
    call = {"type": "tool_use", "name": "Bash", "input": {}}
    calls = ({**call, "id": "a"}, {**call, "id": "b", **state})
    document = json.loads(turn(*calls))
    results = [{"type": "tool_result", "tool_use_id": one, "content": "x"} for one in "ab"]
    document["messages"].append({"role": "user", "content": results})
    conversation = read_request(document)
    for provider, expected in (("moon", [{}, {"s": 1}]), ("sun", [{}, {}])):
        found = own_state(conversation, provider).turns[0].calls  # type: ignore[union-attr]
        assert [one.foreign for one in found] == expected


def test_state_of_a_call_is_for_the_provider_that_made_it() -> None:
    """OpenAI refuses a field that it does not know, Gemini a signature of another route (D1)."""
    state = with_origin({"google": {"thought_signature": "s"}}, "google")
    call = {"type": "tool_use", "id": "a", "name": "Bash", "input": {}, "extra_content": state}
    result = {"type": "tool_result", "tool_use_id": "a", "content": "x"}
    document = json.loads(turn(call))
    document["messages"].append({"role": "user", "content": [result]})
    conversation = read_request(document)
    for provider, expected in (("google", {"google": {"thought_signature": "s"}}), ("other", {})):
        (found,) = own_state(conversation, provider).turns[0].calls  # type: ignore[union-attr]
        assert found.foreign == expected
