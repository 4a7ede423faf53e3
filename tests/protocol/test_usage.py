"""What a response cost, out of bytes that come in any pieces and may end anywhere."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.request import Route
from protocol.usage import BODY_BYTES_MAX, TOKENS_MAX, Usage, UsageMeter, meter_for
from server.scripted import Answer, corpus_answers, text_stream
from server.scripted.messages import event, message, message_events, text_block
from tests.kit import corpus

ANTHROPIC = Usage(12, 5, 0, 0)
"""What every whole message of the corpus cost, streamed or not."""
OPENAI = Usage(5, 3)
JSON_TYPE = ((b"content-type", b"application/json"),)
SSE_TYPE = ((b"Content-Type", b"text/event-stream; charset=utf-8"),)


def measured(*chunks: bytes, events: bool = True) -> tuple[Usage | None, str | None, bool]:
    meter = UsageMeter(events=events)
    for chunk in chunks:
        meter.feed(chunk)
    return meter.usage(), meter.model, meter.ended


def usage_of(*chunks: bytes, events: bool = True) -> Usage | None:
    return measured(*chunks, events=events)[0]


REBUILT = {"claude-code/sse_crlf_split", "claude-code/sse_close_delimited"}
"""Recorded without their bodies; the scripted upstream puts its own greeting there."""


def recorded() -> list[tuple[str, Answer, bool]]:
    """Every recorded answer to a message: where it is from, and whether it is a stream."""
    found = []
    for name in corpus.names():
        fixture = corpus.load(name)
        answers = corpus_answers(fixture)
        for exchange, answer in zip(fixture["exchanges"], answers, strict=True):
            target = exchange["request"]["target"].partition("?")[0]
            if answer.status == 200 and target in ("/v1/messages", "/v1/chat/completions"):
                events = (answer.header("content-type") or "").startswith("text/event-stream")
                found.append((name, answer, events))
    return found


@pytest.mark.parametrize(("name", "answer", "events"), recorded())
def test_a_recorded_answer_costs_the_same_however_its_bytes_are_cut(
    name: str, answer: Answer, events: bool
) -> None:
    body = answer.whole_body()
    expected = measured(body, events=events)
    pieces = [body[at : at + 1] for at in range(len(body))]
    assert measured(*pieces, events=events) == expected
    chance = random.Random(name)
    for _ in range(10):
        bounds = sorted(chance.randrange(len(body) + 1) for _ in range(12))
        cut = [body[a:b] for a, b in zip([0, *bounds], [*bounds, len(body)], strict=True)]
        assert measured(*cut, events=events) == expected


@pytest.mark.parametrize(("name", "answer", "events"), recorded())
def test_a_recorded_streams_totals_equal_those_of_the_same_answer_not_streamed(
    name: str, answer: Answer, events: bool
) -> None:
    """A stream that was cut has the numbers of its start, and says so."""
    body = answer.whole_body()
    usage, model, ended = measured(body, events=events)
    if b"usage" in body:
        assert f'"model": "{model}"'.encode() in body
    if b"usage" not in body:
        assert usage is None
    elif b"chatcmpl" in body:
        assert usage == OPENAI
    elif not events or b"stop_reason" in body.partition(b"message_delta")[2]:
        assert usage == (ANTHROPIC if name not in REBUILT else Usage(12, 9, 0, 0))
    else:
        assert usage is not None
        assert usage.partial
        assert (usage.input_tokens, usage.output_tokens) == (12, 1)
    assert ended == (events and (b"event: message_stop" in body or b"[DONE]" in body))


def test_the_corpus_holds_every_kind_of_answer() -> None:
    found = [(events, usage_of(answer.whole_body(), events=events)) for _, answer, events in
             recorded()]  # fmt: skip
    partial = Usage(12, 1, 0, 0, partial=True)
    for kind in [(True, ANTHROPIC), (False, ANTHROPIC), (True, partial), (True, None),
                 (False, OPENAI), (True, OPENAI)]:  # fmt: skip
        assert kind in found


def delta(usage: object, stop_reason: str | None = None) -> bytes:
    data = {"type": "message_delta", "delta": {"stop_reason": stop_reason}, "usage": usage}
    return event("message_delta", data)


def start(usage: object = None, **more: object) -> bytes:
    return event("message_start", {"type": "message_start", "message": {"usage": usage, **more}})


STOP = event("message_stop", {"type": "message_stop"})


def test_a_delta_replaces_what_it_names_and_nothing_is_ever_added() -> None:
    begun = start({"input_tokens": 10, "output_tokens": 1, "cache_read_input_tokens": 500})
    first = delta({"output_tokens": 40, "cache_creation_input_tokens": 7})
    assert usage_of(begun, first, STOP) == Usage(10, 40, 500, 7)
    second = delta({"output_tokens": 90, "input_tokens": 11, "cache_read_input_tokens": None})
    assert usage_of(begun, first, second, STOP) == Usage(11, 90, 500, 7)


@pytest.mark.parametrize(
    ("stream", "partial"),
    [
        (start({"input_tokens": 1}), True),
        (start({"input_tokens": 1}) + delta({"output_tokens": 2}), True),
        (start({"input_tokens": 1}) + delta({"output_tokens": 2}, "end_turn"), False),
        (start({"input_tokens": 1}) + STOP, False),
        (start({"input_tokens": 1}) + STOP[:-1], True),
        (start({"input_tokens": 1}) + event("error", {"type": "error"}), True),
    ],
)
def test_a_stream_that_was_cut_is_partial(stream: bytes, partial: bool) -> None:
    usage = usage_of(stream)
    assert usage is not None
    assert usage.partial is partial


def test_every_prefix_of_a_stream_has_the_last_numbers_seen() -> None:
    events = text_stream("hello", input_tokens=30, output_tokens=9).whole_body()
    costs = [usage_of(events[:end]) for end in range(len(events) + 1)]
    assert costs[0] is None
    assert costs[-1] == Usage(30, 9, 0, 0)
    seen = [cost for cost, before in zip(costs[1:], costs, strict=False) if cost != before]
    assert seen == [Usage(30, 1, 0, 0, partial=True), Usage(30, 9, 0, 0)]


def test_the_model_is_the_one_that_the_response_names() -> None:
    assert measured(start({}, model="claude-a"))[1] == "claude-a"
    assert measured(start({}, model=7))[1] is None
    assert measured(b'{"model": "claude-b"}', events=False) == (None, "claude-b", False)
    assert measured(b'data: {"model": "gpt", "choices": []}\n\n')[1] == "gpt"


def test_the_end_is_the_event_of_the_end_not_its_words_in_a_text() -> None:
    said = message_events([text_block('event: message_stop\n\n {"usage": {"output_tokens": 9}}')])
    assert not measured(*said[:-1])[2]
    assert measured(*said)[2]


CHUNK: dict[str, Any] = {"model": "m", "choices": [{"index": 0, "finish_reason": None}]}


def openai(*chunks: object) -> bytes:
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)


def test_openais_prompt_tokens_include_the_cached_ones_and_ours_do_not() -> None:
    told = {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 70, "cache_write_tokens": 10},
    }
    expected = Usage(20, 20, 70, 10)
    assert usage_of(json.dumps({"usage": told}).encode(), events=False) == expected
    last = {"model": "m", "choices": [], "usage": told}
    assert usage_of(openai({**CHUNK, "usage": None}, last) + b"data: [DONE]\n\n") == expected
    hits = {"prompt_tokens": 100, "completion_tokens": 20, "prompt_cache_hit_tokens": 70}
    assert usage_of(json.dumps({"usage": hits}).encode(), events=False) == Usage(30, 20, 70)
    odd = {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 70}}
    assert usage_of(json.dumps({"usage": odd}).encode(), events=False) == Usage(0, None, 70)


def test_an_openai_stream_is_whole_with_its_finish_reason_or_its_last_line() -> None:
    told = {**CHUNK, "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
    finish = {"choices": [{"finish_reason": "stop"}]}
    assert usage_of(openai(told)) == Usage(1, 2, partial=True)
    assert usage_of(openai(told, finish)) == Usage(1, 2)
    assert usage_of(openai(told) + b"data: [DONE]\n\n") == Usage(1, 2)


def test_a_compressed_answer_is_not_read() -> None:
    packed = (*SSE_TYPE, (b"Content-Encoding", b"gzip"))
    assert meter_for(Route.MESSAGES, packed, stream=True) is None
    plain = (*SSE_TYPE, (b"content-encoding", b"identity"))
    assert meter_for(Route.MESSAGES, plain, stream=True) is not None


@pytest.mark.parametrize("route", [Route.COUNT_TOKENS, Route.MODELS, Route.OTHER])
def test_only_messages_and_completions_cost_anything(route: Route) -> None:
    assert meter_for(route, JSON_TYPE, stream=False) is None


@pytest.mark.parametrize(
    ("headers", "stream", "body"),
    [
        (SSE_TYPE, False, text_stream("hi", input_tokens=12, output_tokens=5)),
        (((b"content-type", b"application/octet-stream"),), True,
         text_stream("hi", input_tokens=12, output_tokens=5)),
        ((), True, text_stream("hi", input_tokens=12, output_tokens=5)),
        (JSON_TYPE, True, message([text_block("hi")], input_tokens=12, output_tokens=5)),
        ((), False, message([text_block("hi")], input_tokens=12, output_tokens=5)),
    ],
)  # fmt: skip
def test_the_answers_type_says_how_it_is_read_and_the_question_only_where_it_does_not(
    headers: tuple[tuple[bytes, bytes], ...], stream: bool, body: Answer
) -> None:
    meter = meter_for(Route.MESSAGES, headers, stream=stream)
    assert meter is not None
    meter.feed(body.whole_body())
    assert meter.usage() == ANTHROPIC


def test_a_counted_prompt_is_no_usage() -> None:
    assert usage_of(b'{"input_tokens": 42}', events=False) is None


def test_a_body_that_is_too_large_or_cut_is_unknown() -> None:
    tail = b'", "usage": {"input_tokens": 1}}'
    fitting = b'{"content": "' + b"x" * (BODY_BYTES_MAX - 13 - len(tail)) + tail
    assert usage_of(fitting, events=False) == Usage(1)
    assert usage_of(fitting + b" ", events=False) is None
    assert usage_of(fitting[:100], fitting[100:], b" ", b"{}", events=False) is None
    assert usage_of(fitting[:-1], events=False) is None


def test_half_a_character_in_a_text_hides_no_usage() -> None:
    body = rb'{"content": "\ud83d", "usage": {"input_tokens": 1}}'
    assert usage_of(body, events=False) == Usage(1)


@pytest.mark.parametrize(
    "number", ["-1", "1.5", "true", '"7"', "null", "[1]", str(TOKENS_MAX + 1), "9" * 400]
)
def test_what_is_no_number_of_tokens_is_unknown(number: str) -> None:
    body = f'{{"usage": {{"input_tokens": {number}, "output_tokens": 3}}}}'
    assert usage_of(body.encode(), events=False) == Usage(None, 3)


words = st.sampled_from(
    [b"event: message_start\n", b"event: message_delta\n", b"event: message_stop\n", b"data: ",
     b"\n\n", b"\r", b"data: [DONE]\n\n", b'{"usage": {', b'"input_tokens": 1}}', b'"message": ',
     b'{"type":"message_start","message":{"usage":[', b"\\ud83d", b"[" * 2000, b"null", b"\xff",
     b'data: {"usage": {"prompt_tokens_details": 3, "prompt_tokens": 1e999}}\n\n']
)  # fmt: skip


@given(st.lists(words | st.binary()), st.booleans())
def test_no_bytes_make_it_raise(chunks: list[bytes], events: bool) -> None:
    whole = measured(b"".join(chunks), events=events)
    assert measured(*chunks, events=events) == whole


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["usage", "message", "model", "delta", "type", "input_tokens",
                         "prompt_tokens", "prompt_tokens_details", "cached_tokens"]),
        inner, max_size=4,
    ),
)  # fmt: skip


@given(st.sampled_from(["message_start", "message_delta", ""]), json_values)
def test_no_document_makes_it_raise_and_what_it_tells_are_counts(name: str, value: object) -> None:
    data = json.dumps(value).encode()
    told = usage_of(f"event: {name}\ndata: ".encode() + data + b"\n\n") or Usage()
    whole = usage_of(data, events=False) or Usage()
    for usage in (told, whole):
        for tokens in (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens):
            assert tokens is None or 0 <= tokens <= TOKENS_MAX
