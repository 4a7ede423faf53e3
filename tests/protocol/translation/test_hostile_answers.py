"""Whatever a provider answers, the client gets a stream of Anthropic's grammar, or is told why not."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.sse import Event
from protocol.translation.answer_openai import AnswerStream, whole
from protocol.translation.collect import collect
from protocol.translation.from_gemini import GeminiStream
from protocol.translation.from_openai import OpenAIStream
from protocol.translation.grammar import Grammar
from protocol.translation.provider_error import ProviderError
from protocol.translation.provider_stream import ProviderStream
from protocol.translation.read_openai import read_request
from protocol.translation.refusal import Untranslatable
from protocol.translation.tool_names import ToolNames

NAMES = ToolNames(["Bash", "Read"])
MAKERS = {
    "openai": lambda: OpenAIStream(NAMES, "msg_1", "m"),
    "gemini": lambda: GeminiStream(NAMES, "msg_1", "m"),
}

_WORDS = [
    "id",
    "model",
    "choices",
    "delta",
    "message",
    "index",
    "content",
    "text",
    "type",
    "refusal",
    "reasoning_content",
    "reasoning",
    "tool_calls",
    "function",
    "name",
    "arguments",
    "finish_reason",
    "usage",
    "prompt_tokens",
    "prompt_tokens_details",
    "completion_tokens",
    "cached_tokens",
    "error",
    "code",
    "extra_content",
    "reasoning_details",
    "candidates",
    "parts",
    "functionCall",
    "args",
    "thoughtSignature",
    "thought",
    "promptFeedback",
    "blockReason",
    "finishReason",
    "usageMetadata",
    "modelVersion",
    "content_block",
    "partial_json",
    "stop_reason",
    "thinking",
    "input",
    "messages",
    "role",
    "tools",
    "tool_choice",
    "parameters",
    "response_format",
    "temperature",
    "stop",
    "n",
    "tool_call_id",
    "image_url",
    "url",
    "file",
    "file_data",
    "json_schema",
    "schema",
    "max_tokens",
    "top_p",
    "reasoning_effort",
]
_leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        ["", "stop", "STOP", "Bash", "{}", '{"a":', "error", "tool_use", "text", "user", "tool"]
    ),
)
_anything = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(_WORDS), inner, max_size=6),
    ),
    max_leaves=8,
)
_objects = st.dictionaries(st.sampled_from(_WORDS), _anything, max_size=6)
_openai_chunks = st.one_of(
    _objects,
    st.fixed_dictionaries({"choices": st.lists(_objects, max_size=2)}),
    st.builds(
        lambda delta, finish: {"choices": [{"delta": delta, "finish_reason": finish}]},
        st.fixed_dictionaries(
            {}, optional={"content": _anything, "tool_calls": st.lists(_objects)}
        ),
        _leaves,
    ),
)
_gemini_chunks = st.one_of(
    _objects,
    st.builds(
        lambda parts, finish: {
            "candidates": [{"content": {"parts": parts}, "finishReason": finish}]
        },
        st.lists(_objects, max_size=3),
        _leaves,
    ),
)


def told(stream: ProviderStream, chunks: list[Any]) -> list[dict[str, Any]]:
    """The events, which obey the grammar; none when it failed before the first."""
    grammar = Grammar()
    events: list[dict[str, Any]] = []
    try:
        for chunk in chunks:
            events += stream.feed(Event("", msgspec.json.encode(chunk)))
        events += stream.finish()
    except ProviderError:
        return []
    for event in events:
        grammar.feed(event)
        msgspec.json.encode(event)
    grammar.finish()
    return events


few = settings(max_examples=40)
"""Documents of many leaves are slow to make; the full sweep of the profile is kept for others."""


@few
@given(st.lists(st.one_of(_openai_chunks, _anything), max_size=6))
def test_no_chunks_of_openais_dialect_break_the_grammar(chunks: list[Any]) -> None:
    events = told(MAKERS["openai"](), chunks)
    if events and events[-1]["type"] == "message_stop":
        collect(events)


@few
@given(st.lists(st.one_of(_gemini_chunks, _anything), max_size=6))
def test_no_chunks_of_gemini_break_the_grammar(chunks: list[Any]) -> None:
    events = told(MAKERS["gemini"](), chunks)
    if events and events[-1]["type"] == "message_stop":
        collect(events)


@few
@given(_objects, st.sampled_from(sorted(MAKERS)))
def test_no_whole_answer_makes_it_fail_otherwise_than_by_saying_so(
    answer: dict[str, Any], dialect: str
) -> None:
    try:
        message = MAKERS[dialect]().whole(answer)
    except ProviderError:
        return
    assert message["stop_reason"]


@few
@given(
    st.lists(
        st.builds(
            lambda kind, rest: {**rest, "type": kind},
            st.sampled_from(
                [
                    "message_start",
                    "content_block_start",
                    "content_block_delta",
                    "message_delta",
                    "error",
                ]
            ),
            _objects,
        ),
        max_size=6,
    ),
    _objects,
)
def test_no_events_and_no_message_make_the_openai_front_fail(
    events: list[dict[str, Any]], message: dict[str, Any]
) -> None:
    """An Anthropic-compatible provider may send anything there."""
    stream = AnswerStream(1, include_usage=True)
    for event in events:
        for chunk in stream.feed(Event(event["type"], msgspec.json.encode(event))):
            msgspec.json.encode(chunk)
    msgspec.json.encode(whole(message, 1))


@few
@given(_objects, st.lists(_objects, max_size=3))
def test_no_request_of_openais_dialect_makes_it_fail_otherwise_than_by_a_refusal(
    request: dict[str, Any], messages: list[dict[str, Any]]
) -> None:
    for asked in (request, {"model": "m", "messages": messages, **request}):
        with contextlib.suppress(Untranslatable):
            msgspec.json.encode(read_request(asked))


@pytest.mark.parametrize("temperature", ["hot", [1], {}, 10**400, True])
def test_a_temperature_that_is_none_is_refused_by_its_name(temperature: Any) -> None:
    request = {"model": "m", "messages": [], "temperature": temperature}
    with pytest.raises(Untranslatable, match="temperature"):
        read_request(request)
