"""Models that refuse `stop` (o3, gpt-5) stop at it all the same, as the client can tell."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.config.model import Provider
from protocol.translation.collect import collect
from protocol.translation.from_openai import OpenAIStream
from protocol.translation.quirks import PLAIN
from protocol.translation.refusal import Untranslatable
from protocol.translation.stop_words import StopWords
from protocol.translation.to_openai import EMULATED_STOP_LENGTH_MAX, EMULATED_STOPS_MAX
from server.provider_request import translated
from tests.protocol.translation.test_from_openai import NAMES, USAGE, call, check, chunk
from tests.protocol.translation.test_to_openai import OPENAI, sent


def told(*chunks: Any, stops: tuple[str, ...] = ("</block>",)) -> dict[str, Any]:
    stream = OpenAIStream(NAMES, "msg_1", "m", stops=stops)
    events = [event for each in chunks for event in stream.chunk(each)] + stream.finish()
    check(events)
    return collect(events)


def test_the_field_is_not_sent_to_models_that_refuse_it() -> None:
    stops = ["</block>", "b", "c", "d", "e"]
    for model in ("gpt-5", "gpt-5-mini", "o3", "o4-mini"):
        assert "stop" not in sent(OPENAI, model, stop_sequences=stops)
    assert sent(OPENAI, "gpt-4.1", stop_sequences=stops[:1])["stop"] == stops[:1]
    assert sent(PLAIN, "gpt-5", stop_sequences=stops[:1])["stop"] == stops[:1]


def test_the_answer_ends_there_and_says_so() -> None:
    message = told(
        chunk({"content": "yes</bl"}),
        chunk({"content": "ock> and"}),
        chunk({"content": " more"}),
        chunk(call(0, "{}", "call_a", "Bash")),
        chunk({}, "stop"),
        chunk(usage=USAGE),
    )
    assert message["content"] == [{"type": "text", "text": "yes"}]
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "</block>")
    assert message["usage"]["output_tokens"] == 7


def test_what_only_began_like_it_is_said() -> None:
    message = told(chunk({"content": "a</bl"}), chunk({}, "stop"))
    assert message["content"] == [{"type": "text", "text": "a</bl"}]
    assert (message["stop_reason"], message["stop_sequence"]) == ("end_turn", None)
    message = told(
        chunk({"content": "a</bl"}), chunk(call(0, "{}", "call_a", "Bash")), chunk({}, "stop")
    )
    assert [block["type"] for block in message["content"]] == ["text", "tool_use"]
    assert message["content"][0]["text"] == "a</bl"


def test_what_breaks_behind_the_stop_is_no_fault_of_the_answer() -> None:
    """The client has all that it asked for."""
    words = chunk({"content": "yes</block> and"})
    broken = ([], [{"error": {"message": "boom"}}], [chunk({}, "error")])
    for rest in broken:
        message = told(words, *rest)
        assert message["content"] == [{"type": "text", "text": "yes"}]
        assert message["stop_sequence"] == "</block>"


def test_a_call_that_has_begun_is_not_cut() -> None:
    message = told(
        chunk(call(0, '{"a":', "call_a", "Bash")),
        chunk({"content": "</block>"}),
        chunk(call(0, "1}")),
        chunk({}, "tool_calls"),
    )
    assert message["content"][0]["input"] == {"a": 1}
    assert (message["stop_reason"], message["stop_sequence"]) == ("tool_use", None)


def test_only_so_many_are_looked_for() -> None:
    """Each is looked for in each piece of the answer."""
    refused = (["a"] * (EMULATED_STOPS_MAX + 1), ["a" * (EMULATED_STOP_LENGTH_MAX + 1)])
    for stops in refused:
        with pytest.raises(Untranslatable, match="stop_sequences"):
            sent(OPENAI, "gpt-5", stop_sequences=stops)
    sent(OPENAI, "gpt-5", stop_sequences=["a" * EMULATED_STOP_LENGTH_MAX] * EMULATED_STOPS_MAX)


def test_a_request_takes_its_stops_to_the_answer() -> None:
    provider = Provider("other", "https://api.openai.com/v1")
    body = b'{"model":"x","messages":[{"role":"user","content":"a"}],"stop_sequences":["X"]}'
    choices = [{"message": {"content": "oneXtwo"}, "finish_reason": "stop"}]
    for model, said in (("gpt-5", "one"), ("gpt-4.1", "oneXtwo")):
        message = translated(provider, model, body, "msg_1").whole({"choices": choices})
        assert message["content"][0]["text"] == said


@given(
    st.text("ab<", max_size=30),
    st.lists(st.text("ab<", min_size=1, max_size=4), max_size=3),
    st.lists(st.integers(1, 5), max_size=30),
)
def test_it_ends_at_the_first_however_the_words_are_cut(
    text: str, stops: list[str], sizes: list[int]
) -> None:
    words, pieces, rest = StopWords(stops), [], text
    for size in [*sizes, len(text)]:
        pieces.append(words.feed(rest[:size]))
        rest = rest[size:]
    pieces.append(words.rest())
    first = min((at for stop in stops if (at := text.find(stop)) >= 0), default=len(text))
    said = "".join(pieces)
    assert (words.found is None) is (first == len(text))
    assert text.startswith(said)
    if words.found is None:
        assert said == text
    else:
        assert text[len(said) :].startswith(words.found)
        assert not any(stop in said for stop in stops)


def test_nothing_waits_that_begins_no_sequence() -> None:
    stops = StopWords(["END"])
    assert stops.feed("all of it") == "all of it"
    assert stops.feed("E") == ""
    assert stops.feed("x") == "Ex"


def test_a_sequence_at_the_very_beginning_leaves_nothing() -> None:
    stops = StopWords(["END"])
    assert stops.feed("END of it") == ""
    assert (stops.found, stops.rest()) == ("END", "")


def test_without_sequences_everything_is_told_at_once() -> None:
    assert StopWords([]).feed("all") == StopWords([""]).feed("all") == "all"
