"""What real servers of OpenAI's dialect are known to send, legal or nearly so: none of it is lost."""

from __future__ import annotations

import json
from typing import Any

import pytest

from protocol.sse import Event
from protocol.translation.collect import collect
from protocol.translation.from_openai import OpenAIStream
from protocol.translation.openai_reasoning import joined_details
from protocol.translation.provider_error import ProviderError
from protocol.translation.quirks import PLAIN
from protocol.translation.read_anthropic import read_request
from protocol.translation.to_openai import write_request
from tests.protocol.translation.test_from_openai import NAMES, USAGE, call, check, chunk

Json = dict[str, Any]

LS = {"type": "tool_use", "id": "call_a", "name": "Bash", "input": {"command": "ls"}}


def streamed(*chunks: Any, done: bool = True) -> list[Json]:
    """Events of the lines of a stream, as they come over the wire."""
    stream = OpenAIStream(NAMES, "msg_1", "asked-for")
    events = [out for each in chunks for out in stream.feed(Event("", json.dumps(each).encode()))]
    if done:
        events += stream.feed(Event("", b"[DONE]"))
    events += stream.finish()
    check(events)
    return events


def message(*chunks: Any) -> Json:
    return collect(streamed(*chunks))


def whole(said: Json, finish: Any = "stop", **more: Any) -> Json:
    choices = [{"index": 0, "message": said, "finish_reason": finish}]
    return OpenAIStream(NAMES, "msg_1", "m").whole({"model": "m", "choices": choices, **more})


# --- ends


def test_an_empty_finish_reason_is_none() -> None:
    """Some send "" in each chunk, and the real one in the last."""
    assert message(chunk({"content": "a"}, ""), chunk({}, "length"))["stop_reason"] == "max_tokens"
    events = streamed(chunk({"content": "a"}, ""), done=False)
    assert "ended before its answer did" in events[-1]["error"]["message"]


@pytest.mark.parametrize("finish", [None, ""])
def test_done_after_words_is_an_end_without_a_reason_too(finish: Any) -> None:
    assert message(chunk({"content": "a"}, finish))["stop_reason"] == "end_turn"
    called = message(chunk(call(0, '{"command":"ls"}', "call_a", "Bash"), finish))
    assert (called["content"], called["stop_reason"]) == ([LS], "tool_use")
    assert whole({"content": "a"}, finish)["stop_reason"] == "end_turn"


def test_done_after_nothing_is_no_answer() -> None:
    assert streamed(chunk({"role": "assistant"}))[-1]["type"] == "error"
    with pytest.raises(ProviderError, match="ended before"):
        streamed()


def test_what_follows_the_finish_reason_belongs_to_the_answer() -> None:
    found = message(chunk({"content": "a"}, "stop"), chunk({"content": "b"}), chunk(usage=USAGE))
    assert found["content"] == [{"type": "text", "text": "ab"}]
    assert (found["stop_reason"], found["usage"]["output_tokens"]) == ("end_turn", 7)


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("max_tokens", "max_tokens"),
        ("MAX_TOKENS", "max_tokens"),
        ("model_length", "max_tokens"),
        ("model_context_window_exceeded", "max_tokens"),
        ("SAFETY", "refusal"),
        ("safety", "refusal"),
        ("sensitive", "refusal"),
        ("STOP", "end_turn"),
        ("stop_sequence", "end_turn"),
    ],
)
def test_reasons_of_other_servers_are_known(finish: str, reason: str) -> None:
    assert message(chunk({"content": "a"}, finish))["stop_reason"] == reason


@pytest.mark.parametrize(
    ("finish", "kind"),
    [
        ("insufficient_system_resource", "overloaded_error"),  # DeepSeek
        ("abort", "api_error"),  # vLLM, SGLang
        ("network_error", "api_error"),  # GLM
        ("error", "api_error"),
    ],
)
def test_an_answer_that_its_server_gave_up_is_no_whole_one(finish: str, kind: str) -> None:
    error = streamed(chunk({"content": "a"}), chunk({}, finish))[-1]["error"]
    assert (error["type"], finish in error["message"]) == (kind, True)


def test_only_the_first_of_several_choices_is_told() -> None:
    second = chunk({"content": "other"}, "length")
    second["choices"][0]["index"] = 1
    both = chunk({"content": "b"}, "stop")
    both["choices"].insert(0, {"index": 1, "delta": {"content": "other"}})
    found = message(chunk({"content": "a"}), second, both)
    assert found["content"] == [{"type": "text", "text": "ab"}]
    assert found["stop_reason"] == "end_turn"


def test_chunks_without_choices_or_with_null_everywhere_say_nothing() -> None:
    nothing: list[Any] = [
        {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]},  # Azure
        {"id": "", "choices": None},
        {"choices": [{"index": 0, "delta": None, "logprobs": None, "finish_reason": None}]},
        {"choices": [{"delta": {"role": None, "content": None, "tool_calls": None}}]},
        chunk({"content": None, "reasoning_content": None, "refusal": None}, usage=None),
        {"choices": [None]},
    ]
    found = message(*nothing, chunk({"content": "a"}, "stop"), *nothing)
    assert found["content"] == [{"type": "text", "text": "a"}]


# --- calls


@pytest.mark.parametrize(
    "pieces",
    [
        # The name in each piece, and never an id.
        [{"index": 0, "function": {"name": "Bash", "arguments": '{"command"'}},
         {"index": 0, "function": {"name": "Bash", "arguments": ':"ls"}'}}],
        [{"index": 0, "id": None, "function": {"name": "Bash", "arguments": None}},
         {"index": 0, "id": "", "function": {"name": "", "arguments": '{"command":"ls"}'}}],
        # Arguments that are JSON in JSON.
        [{"index": 0, "function": {"name": "Bash", "arguments": '"{\\"command\\": \\"ls\\"}"'}}],
        [{"index": 0, "function": {"name": "Bash", "arguments": '"{\\"comm'}},
         {"index": 0, "function": {"arguments": 'and\\": \\"ls\\"}"'}}],
        # Spaces before them.
        [{"function": {"name": "Bash", "arguments": ' \n{"command":"ls"}'}}],
        [{"type": "function", "function": {"name": "Bash", "arguments": {"command": "ls"}}}],
    ],
)  # fmt: skip
def test_a_call_is_understood_however_it_is_written(pieces: list[Json]) -> None:
    found = message(*(chunk({"tool_calls": [piece]}) for piece in pieces), chunk({}, "tool_calls"))
    assert [(b["name"], b["input"]) for b in found["content"]] == [("Bash", {"command": "ls"})]
    if len(pieces) == 1:
        assert whole({"tool_calls": pieces})["content"] == found["content"]


@pytest.mark.parametrize("arguments", ["", " ", "null", "{}", '""', '"{}"', None, {}])
def test_a_call_without_arguments_has_none_however_that_is_said(arguments: Any) -> None:
    piece = {"index": 0, "id": "call_a", "function": {"name": "Bash", "arguments": arguments}}
    found = message(chunk({"tool_calls": [piece]}), chunk({}, "tool_calls"))
    assert found["content"] == [{**LS, "input": {}}]
    assert whole({"tool_calls": [piece]})["content"] == found["content"]


def test_words_between_and_behind_calls_stay_in_their_order() -> None:
    found = message(
        chunk({"content": "First"}),
        chunk(call(0, '{"command":"ls"}', "call_a", "Bash")),
        chunk({"content": "then"}),
        chunk(call(1, "{}", "call_b", "Read")),
        chunk({}, "tool_calls"),
    )
    assert [block["type"] for block in found["content"]] == ["text", "tool_use", "text", "tool_use"]


def test_the_old_form_of_a_call_is_one() -> None:
    found = message(
        chunk({"function_call": {"name": "Bash", "arguments": '{"command":'}}),
        chunk({"function_call": {"arguments": '"ls"}'}}),
        chunk({}, "function_call"),
    )
    assert [(b["name"], b["input"]) for b in found["content"]] == [("Bash", {"command": "ls"})]
    assert found["stop_reason"] == "tool_use"


@pytest.mark.parametrize("given", ["functions.Bash:0", "a b", "call/1", "ü", "x" * 300])
def test_an_id_that_anthropic_would_refuse_is_made_anew(given: str) -> None:
    """The conversation may go back there: one id that it does not take, and it is stuck."""
    found = message(chunk(call(0, "{}", given, "Bash")), chunk({}, "tool_calls"))
    assert found["content"][0]["id"] == "msg_1_0"


def test_an_id_that_an_earlier_turn_has_is_made_anew() -> None:
    stream = OpenAIStream(NAMES, "msg_1", "m", taken=frozenset({"call_0"}))
    events = stream.chunk(chunk(call(0, "{}", "call_0", "Bash")))
    events += stream.chunk(chunk(call(1, "{}", "call_1", "Bash"))) + stream.chunk(chunk({}, "stop"))
    found = collect(events + stream.finish())
    assert [block["id"] for block in found["content"]] == ["msg_1_0", "call_1"]


# --- usage


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk({"content": "a"}, "stop", usage=USAGE)],
        [chunk({"content": "a"}, usage=USAGE), chunk({}, "stop", usage=None)],
        [chunk({"content": "a"}, "stop"), chunk(usage=USAGE)],
        [chunk({"content": "a"}, usage={"prompt_tokens": 100, "completion_tokens": 1}),
         chunk({}, "stop", usage={"prompt_tokens": 100, "completion_tokens": 7})],
        [chunk({"content": "a"}, usage=USAGE), chunk({}, "stop", usage={})],
        [chunk({"content": "a"}, "stop"), chunk(x_groq={"usage": USAGE})],
        [chunk({"content": "a"}, "stop", usage={"input_tokens": 100, "output_tokens": 7})],
        [chunk({"content": "a"}, "stop", usage={**USAGE, "prompt_tokens_details": None})],
    ],
)  # fmt: skip
def test_usage_is_found_wherever_it_is(chunks: list[Any]) -> None:
    told_ = message(*chunks)["usage"]
    assert (told_["input_tokens"], told_["output_tokens"]) == (100, 7)


def test_moonshots_usage_is_in_the_choice() -> None:
    last = chunk({}, "stop")
    last["choices"][0]["usage"] = {**USAGE, "cached_tokens": 60}
    found = message(chunk({"content": "a"}), last)["usage"]
    assert (found["input_tokens"], found["cache_read_input_tokens"]) == (40, 60)


def test_reasoning_that_is_not_among_the_completions_tokens_is_output_all_the_same() -> None:
    """xAI's: the total says so. OpenAI's own completion tokens have it inside."""
    details = {"completion_tokens_details": {"reasoning_tokens": 50}}
    apart = {"prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 67, **details}
    inside = {"prompt_tokens": 10, "completion_tokens": 57, "total_tokens": 67, **details}
    for usage in (apart, inside):
        assert whole({"content": "a"}, usage=usage)["usage"]["output_tokens"] == 57


# --- errors inside of a 200


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        ({"error": {"message": "m", "type": "server_error"}}, "api_error", "m"),
        ({"error": {"message": "m", "code": "429"}}, "rate_limit_error", "m"),
        ({"error": "m"}, "api_error", "m"),
        ({"object": "error", "message": "m", "code": 400}, "invalid_request_error", "m"),  # vLLM
        ({"message": "m", "code": 400}, "invalid_request_error", "m"),
        ({"detail": "m"}, "api_error", "m"),  # FastAPI
        ({"type": "error", "error": {"type": "overloaded_error", "message": "m"}}, "overloaded_error", "m"),
        ({"error": {"message": "Provider returned error", "code": 400,
                    "metadata": {"raw": "prompt is too long"}}}, "invalid_request_error",
         "Provider returned error: prompt is too long"),
    ],
)  # fmt: skip
def test_an_error_is_one_in_every_shape(error: Json, kind: str, words: str) -> None:
    told_ = streamed(chunk({"content": "a"}), error)[-1]
    assert told_ == {"type": "error", "error": {"type": kind, "message": words}}
    with pytest.raises(ProviderError) as first:
        streamed(error)
    assert (first.value.type, first.value.message) == (kind, words)


def test_an_error_inside_of_a_choice_is_one_without_its_reason_too() -> None:
    broken = chunk({"content": ""})
    broken["choices"][0]["error"] = {"message": "provider died", "code": 503}
    assert streamed(chunk({"content": "a"}), broken)[-1]["error"]["message"] == "provider died"


# --- reasoning


def test_reasoning_that_is_only_in_the_details_is_thought() -> None:
    pieces = [
        {"type": "reasoning.text", "text": "Let", "index": 0},
        {"type": "reasoning.text", "text": " me.", "index": 0},
        {"type": "reasoning.summary", "summary": "Sum.", "index": 1},
        {"type": "reasoning.encrypted", "data": "x", "index": 2},
    ]
    deltas = [chunk({"content": "", "reasoning_details": [piece]}) for piece in pieces]
    found = message(*deltas, chunk({"content": "a"}, "stop"))
    assert [block.get("thinking") for block in found["content"]] == ["Let me.Sum.", None]
    both = {"reasoning": "Let", "reasoning_details": pieces[:1]}
    assert whole({**both, "content": "a"})["content"][0]["thinking"] == "Let"


def test_mistrals_thinking_parts_are_thought_and_not_said() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
        {"type": "text", "text": "Yes."},
    ]
    found = whole({"content": parts})["content"]
    assert [(b["type"], b.get("thinking") or b.get("text")) for b in found] == [
        ("thinking", "Hm."),
        ("text", "Yes."),
    ]


def test_details_that_come_in_pieces_go_back_whole() -> None:
    """OpenRouter's: a signature that comes apart from its text is refused when it is sent so."""
    pieces = [
        {"type": "reasoning.text", "text": "Let", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.text", "text": " me.", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.text", "signature": "s", "format": "anthropic-claude-v1", "index": 0},
    ]
    encrypted = {"type": "reasoning.encrypted", "data": "x", "id": "call_a", "index": 1}
    found = message(
        *(chunk({"reasoning_details": [piece]}) for piece in pieces),
        chunk(call(0, '{"command":"ls"}', "call_a", "Bash")),
        chunk(call(1, "{}", "call_b", "Read")),
        chunk({"reasoning_details": [encrypted]}),
        chunk({}, "tool_calls"),
    )
    merged = {"type": "reasoning.text", "text": "Let me.", "signature": "s",
              "format": "anthropic-claude-v1", "index": 0}  # fmt: skip
    results = [
        {"type": "tool_result", "tool_use_id": one, "content": "x"} for one in ("call_a", "call_b")
    ]
    messages = [
        {"role": "assistant", "content": found["content"]},
        {"role": "user", "content": results},
    ]
    request = write_request(read_request({"model": "m", "messages": messages}), "m", PLAIN)
    assert request["messages"][0]["reasoning_details"] == [merged, encrypted]


def test_details_of_two_calls_are_not_made_one() -> None:
    pieces = [
        {"type": "reasoning.encrypted", "data": data, "id": one, "index": 0}
        for data, one in (("x", "call_a"), ("y", "call_b"))
    ]
    assert joined_details(pieces) == pieces
