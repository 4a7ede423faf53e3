"""A conversation that comes back to Anthropic carries nothing that would be refused there."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from protocol.translation.returning import without_foreign_state
from tests.kit import corpus


def body(*blocks: Any) -> bytes:
    messages = [{"role": "user", "content": "go"}, {"role": "assistant", "content": list(blocks)}]
    return json.dumps({"model": "m", "messages": messages, "temperature": 1.0}).encode()


TEXT = {"type": "text", "text": "yes"}
SIGNED = {"type": "thinking", "thinking": "hm", "signature": "sig"}


def test_a_call_s_foreign_state_goes_and_the_call_stays() -> None:
    call = {"type": "tool_use", "id": "a", "name": "Bash", "input": {"extra_content": 1}}
    found = json.loads(without_foreign_state(body({**call, "extra_content": {"google": {}}})))
    assert found["messages"][1]["content"] == [call]
    assert found["temperature"] == 1.0


def test_reasoning_that_nobody_signed_goes_and_claude_s_stays() -> None:
    unsigned = {"type": "thinking", "thinking": "x", "signature": ""}
    found = json.loads(without_foreign_state(body(SIGNED, unsigned, TEXT)))
    assert found["messages"][1]["content"] == [SIGNED, TEXT]


def test_all_of_it_goes_however_its_json_is_spaced() -> None:
    """JavaScript writes no blanks, Python does; and one turn may have something of everybody."""
    unsigned = {"type": "thinking", "thinking": "x", "signature": ""}
    theirs = {"type": "thinking", "thinking": "y", "signature": "llm-supervisor:moon:s"}
    call = {"type": "tool_use", "id": "a", "name": "Bash", "input": {}}
    blocks = [unsigned, theirs, {**call, "extra_content": {"google": {}}}, SIGNED]
    compact = json.dumps(blocks, separators=(",", ":"))
    both = compact[:-1] + ", " + json.dumps(unsigned) + "]"
    for content in (compact, json.dumps(blocks), both):
        body = f'{{"messages":[{{"role":"assistant","content":{content}}}]}}'.encode()
        (message,) = json.loads(without_foreign_state(body))["messages"]
        assert message["content"] == [call, SIGNED]
    for block in blocks[:3]:
        alone = json.dumps({"messages": [{"role": "assistant", "content": [block, TEXT]}]})
        for text in (alone, alone.replace(" ", "")):
            assert without_foreign_state(text.encode()) != text.encode()


def test_a_turn_of_nothing_else_keeps_a_word() -> None:
    unsigned = {"type": "thinking", "thinking": "x", "signature": ""}
    found = json.loads(without_foreign_state(body(unsigned)))
    assert found["messages"][1]["content"] == [{"type": "text", "text": "(reasoning left out)"}]


def test_half_an_emoji_anywhere_does_not_hide_what_has_to_go_and_stays_as_it_is() -> None:
    """JavaScript writes a character that was cut in the middle as such an escape."""
    call = {"type": "tool_use", "id": "a", "name": "Bash", "input": {"command": "echo \ud83d"}}
    output = {"role": "user", "content": [{"type": "text", "text": "cut \ud83d here"}]}
    document = json.loads(body({**call, "extra_content": {"google": {}}}))
    document["messages"].append(output)
    found = json.loads(without_foreign_state(json.dumps(document).encode()))
    assert found["messages"][1]["content"] == [call]
    assert found["messages"][2] == output


def test_a_body_without_any_is_the_same_bytes() -> None:
    plain = body(SIGNED, TEXT)
    assert without_foreign_state(plain) is plain


def test_the_marks_in_a_user_s_words_change_no_byte() -> None:
    words = json.dumps(
        {"messages": [{"role": "user", "content": 'see "extra_content" and "signature":""'}]}
    ).encode()
    assert without_foreign_state(words) == words


def test_messages_without_foreign_state_keep_their_spelling() -> None:
    odd = (
        b'{"messages": [ {"role":"user","content":"\\u00e9  1.0e1"},'
        b' {"role":"assistant","content":[{"type":"thinking","thinking":"x","signature":""},'
        b'{"type":"text","text":"y"}]} ], "n": 1.50}'
    )
    found = without_foreign_state(odd)
    assert b'{"role":"user","content":"\\u00e9  1.0e1"}' in found
    assert b'"n":1.50' in found.replace(b" ", b"")


def test_what_claude_code_echoed_of_a_foreign_turn_is_cleaned() -> None:
    fixture = corpus.load("claude-code/tool_use_extra_field")
    echoed = corpus.request_body(fixture, 1)
    assert b"extra_content" in echoed
    assert b"extra_content" not in without_foreign_state(echoed)


@given(st.binary(max_size=100))
def test_no_bytes_make_it_fail(junk: bytes) -> None:
    without_foreign_state(junk + b'"extra_content"' + junk)
