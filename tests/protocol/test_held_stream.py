"""What a client is told in a stream that was opened before anybody could serve it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.held_stream import HEADERS, PING, error_event
from protocol.sse import EventScanner


def test_an_upstreams_error_is_passed_on_in_one_line() -> None:
    """Type, message and details stay; only the layout changes."""
    body = json.dumps(
        {"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}}, indent=2
    ).encode()
    (event,) = EventScanner().feed(error_event(429, body))
    assert event.name == "error"
    assert json.loads(event.data) == json.loads(body)


def test_a_page_of_a_gateway_is_quoted() -> None:
    """The client gets an error in the shape it knows."""
    (event,) = EventScanner().feed(error_event(503, b"<html>\nno\n</html>"))
    error = json.loads(event.data)["error"]
    assert error["type"] == "api_error"
    assert error["message"].startswith("the upstream answered 503: <html>")


@pytest.mark.parametrize("body", [b"[]", b'"x"', b'{"error": "x"}', b'{"message": "x"}', b"\xff"])
def test_what_is_no_error_of_the_dialect_becomes_one(body: bytes) -> None:
    (event,) = EventScanner().feed(error_event(502, body))
    told = json.loads(event.data)
    assert (told["type"], told["error"]["type"]) == ("error", "api_error")
    assert told["error"]["message"].startswith("the upstream answered 502: ")


def test_of_a_long_page_five_hundred_characters_are_quoted() -> None:
    (event,) = EventScanner().feed(error_event(503, b"x" * 501))
    assert json.loads(event.data)["error"]["message"] == f"the upstream answered 503: {'x' * 500}"


def test_the_stream_says_what_it_is_and_is_kept_by_nobody() -> None:
    assert dict(HEADERS) == {
        b"content-type": b"text/event-stream; charset=utf-8",
        b"cache-control": b"no-cache",
    }


@given(st.binary())
def test_whatever_the_body_is_there_is_exactly_one_error_event(body: bytes) -> None:
    """Nothing in it can end the event early or begin another."""
    events = EventScanner().feed(PING + error_event(500, body))
    assert [event.name for event in events] == ["ping", "error"]
    assert json.loads(events[1].data)["error"]
