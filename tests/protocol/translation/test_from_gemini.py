"""What Gemini answers, told as Anthropic would."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.sse import EventScanner
from protocol.translation.collect import collect
from protocol.translation.from_gemini import GeminiStream
from protocol.translation.provider_error import ProviderError
from protocol.translation.tool_names import ToolNames
from tests.protocol.translation.test_from_openai import check

NAMES = ToolNames(["Bash"])


def chunk(*parts: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": "gemini-3-pro", **more}


def told(*chunks: dict[str, Any]) -> list[dict[str, Any]]:
    stream = GeminiStream(NAMES, "msg_1", "asked-for")
    events = [event for each in chunks for event in stream.chunk(each)] + stream.finish()
    check(events)
    return events


USAGE = {
    "promptTokenCount": 50,
    "candidatesTokenCount": 5,
    "thoughtsTokenCount": 20,
    "cachedContentTokenCount": 30,
}


def test_words_thoughts_and_usage() -> None:
    message = collect(
        told(
            chunk({"text": "hm", "thought": True}),
            chunk({"text": "Hel"}),
            chunk({"text": "lo"}, finish="STOP", usageMetadata=USAGE),
        )
    )
    assert message["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "Hello"},
    ]
    assert message["model"] == "gemini-3-pro"
    assert message["stop_reason"] == "end_turn"
    assert message["usage"] == {
        "input_tokens": 20,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 30,
        "output_tokens": 25,
    }


def test_calls_carry_their_signature_and_end_the_turn_as_calls() -> None:
    first = {
        "functionCall": {"name": "Bash", "args": {"command": "ls"}},
        "thoughtSignature": "c2ln",
    }
    second = {"functionCall": {"id": "g1", "name": "Bash", "args": {}}}
    message = collect(told(chunk(first, second, finish="STOP")))
    assert message["content"] == [
        {
            "type": "tool_use",
            "id": "msg_1_0",
            "name": "Bash",
            "input": {"command": "ls"},
            "extra_content": {"google": {"thought_signature": "c2ln"}},
        },
        {"type": "tool_use", "id": "g1", "name": "Bash", "input": {}},
    ]
    assert message["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("STOP", "end_turn"),
        ("MAX_TOKENS", "max_tokens"),
        ("SAFETY", "refusal"),
        ("SPII", "refusal"),
        ("RECITATION", "refusal"),
        ("BLOCKLIST", "refusal"),
        ("PROHIBITED_CONTENT", "refusal"),
        ("MODEL_ARMOR", "refusal"),
        ("LANGUAGE", "refusal"),
        ("IMAGE_SAFETY", "refusal"),
        ("OTHER", "end_turn"),
    ],
)
def test_a_finish_reason_has_its_word(finish: str, reason: str) -> None:
    assert collect(told(chunk({"text": "a"}, finish=finish)))["stop_reason"] == reason


def test_a_blocked_prompt_is_a_refusal() -> None:
    message = collect(told({"promptFeedback": {"blockReason": "SAFETY"}}))
    assert message["stop_reason"] == "refusal"


@pytest.mark.parametrize(
    "finish",
    [
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
        "MALFORMED_RESPONSE",
    ],
)
def test_a_model_that_failed_at_its_own_format_is_an_error(finish: str) -> None:
    events = told(chunk({"text": "a"}), chunk(finish=finish))
    assert events[-1]["error"] == {
        "type": "api_error",
        "message": f"the provider's model failed: {finish}",
    }


def test_a_reason_that_is_none_does_not_end_the_answer() -> None:
    events = told(chunk({"text": "a"}, finish="FINISH_REASON_UNSPECIFIED"))
    assert events[-1]["type"] == "error"


@pytest.mark.parametrize("candidates", [[], {}, {"a": 1}, "x", None, [None]])
def test_a_chunk_without_a_candidate_says_nothing(candidates: object) -> None:
    events = told({"candidates": candidates}, chunk({"text": "a"}, finish="STOP"))
    assert collect(events)["content"] == [{"type": "text", "text": "a"}]


def test_calls_without_an_id_of_their_own_are_numbered() -> None:
    calls = [{"functionCall": {"name": "Bash", **given}} for given in ({}, {"id": ""}, {"id": 5})]
    message = collect(told(chunk(*calls, finish="STOP")))
    assert [block["id"] for block in message["content"]] == ["msg_1_0", "msg_1_1", "msg_1_2"]


def test_more_cached_than_asked_is_no_negative_number() -> None:
    odd = {"promptTokenCount": 10, "cachedContentTokenCount": 30}
    message = collect(told(chunk({"text": "a"}, finish="STOP", usageMetadata=odd)))
    assert message["usage"]["input_tokens"] == 0


def test_a_stream_without_a_finish_reason_was_cut() -> None:
    assert told(chunk({"text": "a"}))[-1]["type"] == "error"


def test_an_error_before_the_first_word_is_a_failure() -> None:
    with pytest.raises(ProviderError) as failure:
        told({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "quota"}})
    assert failure.value.status == 429


def test_a_whole_answer_is_the_collected_stream() -> None:
    answer = chunk({"text": "Hello"}, finish="STOP", usageMetadata=USAGE)
    assert GeminiStream(NAMES, "msg_1", "m").whole(answer) == collect(told(answer))


_parts = st.one_of(
    st.builds(lambda text: {"text": text}, st.text(max_size=5)),
    st.builds(lambda text: {"text": text, "thought": True}, st.text(max_size=5)),
    st.builds(
        lambda args: {"functionCall": {"name": "Bash", "args": args}},
        st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    ),
    st.just({"inlineData": {"mimeType": "image/png", "data": "AA"}}),
)


@given(st.lists(st.lists(_parts, max_size=3), max_size=8), st.booleans(), st.data())
def test_whatever_comes_in_whatever_pieces_the_grammar_holds(
    chunks: list[list[dict[str, Any]]], finished: bool, data: st.DataObject
) -> None:
    documents = [chunk(*parts) for parts in chunks]
    documents.append(chunk({"text": "."}, finish="STOP" if finished else None))
    wire = b"".join(b"data: " + json.dumps(each).encode() + b"\r\n\r\n" for each in documents)
    scanner, stream = EventScanner(), GeminiStream(NAMES, "msg_1", "m")
    events: list[dict[str, Any]] = []
    while wire:
        size = data.draw(st.integers(1, len(wire)))
        for event in scanner.feed(wire[:size]):
            events += stream.feed(event)
        wire = wire[size:]
    events += stream.finish()
    check(events)
    assert events[-1]["type"] == ("message_stop" if finished else "error")
    if finished:
        calls = [block for block in collect(events)["content"] if block["type"] == "tool_use"]
        given = [
            part["functionCall"]["args"]
            for parts in chunks
            for part in parts
            if "functionCall" in part
        ]
        assert [call["input"] for call in calls] == given
        assert len({call["id"] for call in calls}) == len(calls)


def test_a_call_without_a_name_does_not_vanish_unseen() -> None:
    parts = [{"text": "Look:"}, {"functionCall": {"args": {"a": 1}}}, {"text": "Done."}]
    events = GeminiStream(NAMES, "msg_1", "m").chunk(
        {"candidates": [{"content": {"parts": parts}}]}
    )
    assert events[-1]["error"]["type"] == "api_error"
    assert "without a name" in events[-1]["error"]["message"]
