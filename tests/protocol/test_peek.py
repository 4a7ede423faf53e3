"""Model and stream, read out of whatever a client sends."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.peek import ErrorInfo, Peek, error_info, peek
from tests.kit import corpus


@pytest.mark.promise("C7")
@given(st.binary())
def test_no_bytes_make_it_raise(body: bytes) -> None:
    assert isinstance(peek(body), Peek)
    assert isinstance(error_info(body), ErrorInfo)


@pytest.mark.promise("C7")
@given(st.binary(), st.binary())
def test_no_bytes_within_a_body_make_it_raise(name: bytes, value: bytes) -> None:
    peek(b'{"model":"' + value + b'","' + name + b'":"' + value + b'"}')
    error_info(b'{"error":{"type":"' + value + b'","message":"' + name + b'"}}')


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text() | st.sampled_from(["model", "stream"]), json_values, max_size=5))
def test_it_reads_what_a_json_parser_reads(body: dict[str, object]) -> None:
    model = body.get("model")
    assert peek(json.dumps(body).encode()) == Peek(
        model if isinstance(model, str) else None, body.get("stream") is True
    )


def test_half_a_character_in_a_name_is_read_as_the_sign_for_what_cannot_be_read() -> None:
    assert peek(b'{"model":"half \\ud83d of it"}').model == "half \ufffd of it"


@pytest.mark.parametrize("name", corpus.names())
def test_it_reads_every_recorded_request(name: str) -> None:
    for number, exchange in enumerate(corpus.load(name)["exchanges"]):
        body = corpus.request_body(corpus.load(name), number)
        if not body or exchange["request"]["method"] != "POST":
            continue
        document = json.loads(body)
        assert peek(body) == Peek(document["model"], document.get("stream", False))


@pytest.mark.promise("C7")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"model"',
        b'{"model":"a"',
        b'{"model":"a"}}',
        b'\xef\xbb\xbf{"model":"a"}',
        b'{"model":"\xff"}',
        b'{"model":"a","x":nope}',
        b"[" * 2000,
        b'{"model":"a","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model":"a","x":' + b'{"y":' * 100_000 + b"1" + b"}" * 100_001,
        b"[" * 1_000_000,
    ],
)
def test_what_cannot_be_read_is_let_through_unread(body: bytes) -> None:
    assert peek(body) == Peek()


@pytest.mark.parametrize("value", [b"1", b"null", b"{}", b"[]", b"true", b"1e999", b"9" * 5000])
def test_a_model_that_is_no_text_is_no_model(value: bytes) -> None:
    assert peek(b'{"model":' + value + b',"stream":true}').model is None


@pytest.mark.parametrize("value", [b'"true"', b"1", b"null", b"false", b"{}"])
def test_only_true_asks_for_a_stream(value: bytes) -> None:
    assert peek(b'{"stream":' + value + b"}") == Peek()
    assert peek(b'{"stream":true}') == Peek(None, True)


def test_the_last_of_two_equal_keys_counts_as_in_other_parsers() -> None:
    assert peek(b'{"model":"a","stream":true,"model":"b","stream":false}') == Peek("b", False)


@pytest.mark.parametrize("text", [rb"\ud83d", rb"\ude00", rb"x\uDBFFx", rb"\\\ud83d", rb"\ud83d\n"])
def test_half_a_character_in_a_text_hides_neither_model_nor_stream(text: bytes) -> None:
    body = b'{"messages":"' + text + b'","model":"a","stream":true}'
    assert peek(body) == Peek("a", True)
    assert json.loads(body)["model"] == "a", "what a common parser makes of it"


def test_whole_characters_are_read_as_they_are() -> None:
    assert peek(rb'{"model":"\ud83d\ude00 \\ud83d"}') == Peek("\U0001f600 \\ud83d")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"error":{"type":"t","message":"m"}}', ErrorInfo("t", "m")),
        (b'{"type":"error","error":{"type":"t"},"request_id":"r"}', ErrorInfo("t", "")),
        (b'{"error":{"type":1,"message":["m"]}}', ErrorInfo()),
        (b'{"error":"text"}', ErrorInfo()),
        (b'[{"error":{"type":"t"}}]', ErrorInfo()),
        (b"<html>502 Bad Gateway</html>", ErrorInfo()),
        (b'{"error":{"type":"\xff"}}', ErrorInfo()),
        (b"[" * 100_000, ErrorInfo()),
    ],
)
def test_an_errors_type_and_message_are_read_where_there_are_any(
    body: bytes, expected: ErrorInfo
) -> None:
    assert error_info(body) == expected
