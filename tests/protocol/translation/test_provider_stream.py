"""What the streams of every dialect have in common, shown with one that says what it is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from protocol.sse import Event
from protocol.translation.provider_error import ProviderError
from protocol.translation.provider_stream import ProviderStream, count
from protocol.translation.tool_names import ToolNames
from protocol.translation.writer import MessageWriter
from protocol.usage import Usage

Json = dict[str, Any]


class Said(ProviderStream):
    """`say` is text, `late` text that is kept back until the end, `finish` how it ended."""

    model_field = "by"
    late = ""

    def _said(self, writer: MessageWriter, chunk: Json) -> list[Json]:
        self._finish = chunk.get("finish", self._finish)
        self.late = chunk.get("late", self.late)
        self.usage = Usage(output_tokens=chunk.get("used"))
        if chunk.get("call"):
            return writer.tool(0, "call_a", "Bash", {"state": 1})
        return writer.text(chunk.get("say", ""))

    def _rest(self, writer: MessageWriter) -> list[Json]:
        return writer.text(self.late)

    def _stop_reason(self, finish: str) -> str:
        return f"because of {finish}"


class WithoutRest(Said):
    _rest = ProviderStream._rest


def stream() -> Said:
    return Said(ToolNames([]), "msg_1", "asked-for", "moon")


def fed(one: ProviderStream, **chunk: Any) -> list[Json]:
    return one.feed(Event("", json.dumps(chunk).encode()))


def said(events: list[Json]) -> list[str]:
    return [event["delta"]["text"] for event in events if event["type"] == "content_block_delta"]


def broken(events: list[Json]) -> Json:
    (event,) = events
    assert event["type"] == "error"
    return dict(event["error"])


@pytest.mark.parametrize(
    ("named", "model"), [("gpt-x", "gpt-x"), ("", "asked-for"), (5, "asked-for")]
)
def test_the_model_is_the_one_that_answers_else_the_one_that_was_asked_for(
    named: object, model: str
) -> None:
    (start,) = fed(stream(), by=named)
    assert start["message"]["model"] == model
    assert start["message"]["id"] == "msg_1"
    (start,) = fed(stream())
    assert start["message"]["model"] == "asked-for"


def test_the_first_chunk_begins_the_message_and_the_others_go_on_with_it() -> None:
    one = stream()
    assert next(event["type"] for event in fed(one, say="a")) == "message_start"
    assert said(fed(one, say="b", by="another")) == ["b"]
    assert not one.ended


def test_the_end_brings_what_was_kept_back_and_the_last_usage() -> None:
    one = stream()
    fed(one, say="a", used=3)
    fed(one, late="z", finish="stop", used=5)
    events = one.finish()
    assert said(events) == ["z"]
    assert events[-2]["delta"]["stop_reason"] == "because of stop"
    assert events[-2]["usage"]["output_tokens"] == 5
    assert events[-1] == {"type": "message_stop"}
    assert one.ended


def test_a_stream_of_a_dialect_that_keeps_nothing_back_just_ends() -> None:
    one = WithoutRest(ToolNames([]), "msg_1", "m")
    fed(one, say="a", late="z", finish="stop")
    assert said(one.finish()) == []
    assert one.ended


def test_state_of_the_providers_own_is_kept_under_its_name() -> None:
    block = fed(stream(), call=True)[-1]["content_block"]
    assert block["extra_content"] == {"state": 1, "origin": "moon"}
    block = fed(Said(ToolNames([]), "msg_1", "m"), call=True)[-1]["content_block"]
    assert block["extra_content"] == {"state": 1}


BAD = [
    (Event("", b"{}", cut=True), "the provider sent a chunk that is too large"),
    (Event("", b"<html>"), "the provider sent a chunk that is no JSON"),
    (Event("", b'"\xff"'), "the provider sent a chunk that is no JSON"),
    (Event("", b"[" * 100_000), "the provider sent a chunk that is no JSON"),
    (Event("", b"[]"), "the provider sent a chunk that is no object"),
]


@pytest.mark.parametrize(("event", "message"), BAD)
def test_a_chunk_that_cannot_be_read_fails_the_stream_with_the_reason(
    event: Event, message: str
) -> None:
    """An error event for a client that has seen some of it; before that, a failure to be retried."""
    with pytest.raises(ProviderError) as failed:
        stream().feed(event)
    assert (failed.value.status, failed.value.type) == (502, "api_error")
    assert failed.value.message == message
    one = stream()
    fed(one, say="a")
    assert broken(one.feed(event)) == {"type": "api_error", "message": message}
    assert one.ended


def test_an_event_without_data_says_nothing() -> None:
    one = stream()
    assert one.feed(Event("ping", b"")) == []
    fed(one, say="a")
    assert one.feed(Event("ping", b"")) == []
    assert not one.ended


def test_after_its_end_nothing_is_said_be_it_ever_so_broken() -> None:
    one = stream()
    fed(one, finish="stop")
    one.finish()
    assert fed(one, say="more") == one.finish() == one.feed(Event("", b"<html>")) == []


@pytest.mark.parametrize("begun", [True, False])
def test_an_end_without_a_reason_is_a_cut(begun: bool) -> None:
    one = stream()
    cut = "the provider's stream ended before its answer did"
    if not begun:
        with pytest.raises(ProviderError, match=cut):
            one.finish()
        return
    fed(one, say="a")
    assert broken(one.finish()) == {"type": "api_error", "message": cut}
    assert one.finish() == []


def test_an_error_of_the_providers_is_told_by_its_own_words() -> None:
    error = {"message": "slow down", "code": 429}
    with pytest.raises(ProviderError) as failed:
        fed(stream(), error=error)
    assert (failed.value.status, failed.value.message) == (429, "slow down")
    one = stream()
    assert fed(one, say="a", error=None), "a null is none"
    assert broken(fed(one, error=error)) == {"type": "rate_limit_error", "message": "slow down"}


def test_a_whole_answer_is_the_stream_of_one_chunk() -> None:
    message = stream().whole({"by": "gpt-x", "say": "a", "late": "z", "finish": "stop", "used": 2})
    assert message["content"] == [{"type": "text", "text": "az"}]
    assert (message["model"], message["stop_reason"]) == ("gpt-x", "because of stop")
    assert message["usage"]["output_tokens"] == 2


def test_a_whole_answer_that_is_none_is_the_providers_failure() -> None:
    with pytest.raises(ProviderError, match="ended before") as failed:
        stream().whole({"say": "a"})
    assert (failed.value.status, failed.value.type) == (502, "api_error")


@pytest.mark.parametrize(
    ("value", "tokens"), [(7, 7), (0, 0), (1, 1), (-1, 0), (True, 0), ("7", 0), (None, 0), (7.0, 0)]
)
def test_a_count_that_is_none_is_nothing(value: object, tokens: int) -> None:
    found = count(value)
    assert found == tokens
    assert not isinstance(found, bool)
