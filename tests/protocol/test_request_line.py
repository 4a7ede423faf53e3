"""One request is one line, whatever its fields hold."""

from __future__ import annotations

import datetime
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.request_line import TEXT_MAX, RequestLine, encode_line, plain, timestamp

FIELDS = [
    "at",
    "request_id",
    "method",
    "path",
    "dialect",
    "model",
    "served_model",
    "account",
    "provider",
    "client",
    "session",
    "agent",
    "status",
    "attempts",
    "stream",
    "terminal",
    "ms_total",
    "ms_first_byte",
    "ms_queue",
    "bytes_in",
    "bytes_out",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cost_usd",
    "reason",
    "error_type",
]
TEXTS = [name for name in FIELDS if "str" in str(RequestLine.__annotations__[name])]
LINE = RequestLine("2026-03-10T00:00:00.000Z", "req-1", "POST", "/v1/messages")
EVIL = "a\r\nb\x1b[31mc\x00d\u2028e\u2029f\x85g\x7fh\x9bi\x0bj\x0ck\x1c"


def test_the_fields_are_those_of_the_interface_in_their_order() -> None:
    assert list(json.loads(encode_line(LINE))) == FIELDS


def test_what_is_unknown_is_null() -> None:
    line = json.loads(encode_line(LINE))
    for name in ("ms_first_byte", "input_tokens", "cost_usd", "account", "status", "reason"):
        assert line[name] is None


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("text", [EVIL, "\ud800", "x" * 100_000])
def test_one_event_is_one_line_without_control_bytes(name: str, text: str) -> None:
    encoded = encode_line(msgspec.structs.replace(LINE, **{name: text}))
    assert encoded.endswith(b"\n")
    assert encoded.count(b"\n") == 1
    shown = encoded[:-1].decode()
    assert len(shown.splitlines()) == 1
    assert not any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in shown)
    assert list(json.loads(encoded)) == FIELDS


def test_text_of_others_loses_its_controls_and_its_length() -> None:
    made = plain(EVIL)
    assert made is not None
    assert made.replace("\ufffd", "") == "ab[31mcdefghijk"
    assert len(made) == len(EVIL)
    assert plain("\ud83d") == "\ufffd"
    assert plain("x" * 10_000) == "x" * TEXT_MAX
    assert plain("naïve 😀") == "naïve 😀"
    assert plain(None) is None


@given(st.text(st.characters()), st.text(st.characters()))
def test_any_text_makes_one_line_that_reads_back(path: str, reason: str) -> None:
    line = msgspec.structs.replace(LINE, path=path, reason=reason)
    encoded = encode_line(line)
    assert len(encoded.decode().splitlines()) == 1
    assert json.loads(encoded)["request_id"] == "req-1"
    assert b"\n" not in encode_line(msgspec.structs.replace(LINE, path=plain(path) or ""))[:-1]


def test_ordinary_text_is_kept_as_it_is() -> None:
    line = msgspec.structs.replace(LINE, path="/v1/ü/😀", model="claude-x[1m]")
    assert json.loads(encode_line(line))["path"] == "/v1/ü/😀"


@given(st.floats(0, 4e9))
def test_a_moment_is_written_to_the_millisecond(at: float) -> None:
    moment = datetime.datetime.fromtimestamp(at, datetime.UTC)
    written = datetime.datetime.fromisoformat(timestamp(at))
    assert timestamp(at).endswith("Z")
    assert abs((written - moment).total_seconds()) <= 0.001


def test_moments_of_one_second_differ_in_their_milliseconds_alone() -> None:
    assert [timestamp(1_790_000_000 + part) for part in (0.0, 0.0015, 0.9999996, 1.25)] == [
        "2026-09-21T14:13:20.000Z",
        "2026-09-21T14:13:20.001Z",
        "2026-09-21T14:13:21.000Z",
        "2026-09-21T14:13:21.250Z",
    ]
