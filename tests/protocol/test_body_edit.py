"""One thing in a body changes, and nothing else (`peers.md` P16, P21)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.body_edit import asking_for_usage, with_model, without_identity

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("body", "edited"),
    [
        (b'{"model":"a"}', b'{"model":"b"}'),
        (b'{ "x" : 1.0, "model" :\n"a" , "y":"\\u00e9" }', b'{ "x" : 1.0, "model" :\n"b" , "y":"\\u00e9" }'),
        (b'{"s":"\\"model\\":\\"a\\"","model":"a"}', b'{"s":"\\"model\\":\\"a\\"","model":"b"}'),
        (b'{"tools":[{"model":"a"}],"model":"a"}', b'{"tools":[{"model":"a"}],"model":"b"}'),
        (b'{"mod\\u0065l":"a","x":{"model":"a"}}', b'{"model":"b","x":{"model":"a"}}'),
        (b'{"model":"b"}', b'{"model":"b"}'),
        (b'{"model" : "\\u0062"}', b'{"model" : "\\u0062"}'),
        (b'{"x":1}', b'{"x":1}'),
        (b'{"model":"\xd1","stream":true}', b'{"model":"\xd1","stream":true}'),
        (b'["model"]', b'["model"]'),
        (b'{"model":', b'{"model":'),
        (b"\xff", b"\xff"),
        (b"[" * 5000, b"[" * 5000),
        (b'{"x":"\\ud83d","model":"a"}', b'{"x":"\\ud83d","model":"b"}'),
    ],
)  # fmt: skip
def test_the_models_name_alone_is_replaced(body: bytes, edited: bytes) -> None:
    assert with_model(body, "b") == edited


@pytest.mark.promise("C7")
@given(st.dictionaries(st.text(), JSON, max_size=4), st.text(), st.text(min_size=1))
def test_whatever_else_is_in_a_body_means_the_same(
    document: dict[str, Any], before: str, after: str
) -> None:
    body = json.dumps({**document, "model": before}, indent=1).encode()
    assert json.loads(with_model(body, after)) == {**json.loads(body), "model": after}


@pytest.mark.promise("C7")
@given(st.binary())
def test_no_bytes_make_it_raise(body: bytes) -> None:
    with_model(body, "x")
    without_identity(body)


@pytest.mark.parametrize("spoilt", [b'"\xff"', b'"\xed\xa0\x80"', b"[" * 9000 + b"]" * 9000])
def test_a_system_prompt_that_cannot_be_read_leaves_the_body_as_it_is(spoilt: bytes) -> None:
    """The upstream's own error is the one that a client understands."""
    body = b'{"system":["x-anthropic-billing-header: cc",' + spoilt + b"]}"
    assert without_identity(body) == body


ATTRIBUTION = {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1; cch=ab"}
OTHER = {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}


@pytest.mark.parametrize(
    ("system", "left"),
    [
        ([ATTRIBUTION, OTHER], [OTHER]),
        ([ATTRIBUTION, OTHER, "loose words"], [OTHER, "loose words"]),
        ([ATTRIBUTION], None),
        (ATTRIBUTION["text"], None),
        ([OTHER], [OTHER]),
        ([{"type": "text", "text": "see x-anthropic-billing-header: x"}], ...),
        ("plain", "plain"),
    ],
)
def test_the_clients_word_on_itself_is_taken_out(system: object, left: object) -> None:
    body = json.dumps({"system": system, "messages": [{"content": ATTRIBUTION["text"]}]}).encode()
    edited = without_identity(body)
    if left is ...:
        left = system
    wanted = {"messages": [{"content": ATTRIBUTION["text"]}]}
    if left is not None:
        wanted["system"] = left  # type: ignore[assignment]
    assert json.loads(edited) == wanted
    if left == system:
        assert edited == body


@pytest.mark.parametrize(
    "field",
    ["metadata", "user_profile_id", "workspace_id", "billing_policy", "fallback_credit_token"],
)
def test_a_field_that_names_the_client_or_its_payer_is_taken_out(field: str) -> None:
    body = b'{"z": 1.50, "%s": {"user_id": "u"}, "messages": [{"%s": "\\u00e9"}]}' % (
        (field.encode(),) * 2
    )
    assert without_identity(body) == b'{"z":1.50,"messages":[{"%s": "\\u00e9"}]}' % field.encode()


def test_it_is_taken_out_whatever_else_is_in_the_body() -> None:
    written_otherwise = b'{"met\\u0061data":{},"system":"x-anthropic\\u002dbilling-header: cc"}'
    assert without_identity(written_otherwise) == b"{}"
    half = b'{"metadata":{},"messages":["\\ud83d"]}'
    assert without_identity(half) == b'{"messages":["\\ud83d"]}'


def test_a_body_that_says_nothing_of_the_client_is_the_same_bytes() -> None:
    for body in (b'{ "messages" : [1.0, "\\ud83d", {"metadata":1}], "system":[] }', b"[]", b"{"):
        assert without_identity(body) is body


def test_two_turns_have_the_same_beginning() -> None:
    """So that the provider's prompt cache works, whatever the client says about itself."""
    bodies = []
    for stamp, turns in (("cch=1", ["a"]), ("cch=2", ["a", "b"])):
        system = [{"type": "text", "text": f"x-anthropic-billing-header: {stamp}"}, OTHER]
        body = json.dumps({"system": system, "messages": turns}).encode()
        bodies.append(without_identity(body))
    assert bodies[1].startswith(bodies[0][: -len(b"]}")])


def test_a_body_that_is_no_text_in_one_place_stays_as_it_is() -> None:
    body = b'{"system":[{"type":"\xd1","text":"x-anthropic-billing-header: a"}]}'
    assert without_identity(body) == body


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        (
            b'{ "model":"a", "stream" : true, "x":1.50 }',
            b'{"model":"a","stream":true,"x":1.50,"stream_options":{"include_usage":true}}',
        ),
        (
            b'{"stream":true,"stream_options":null}',
            b'{"stream":true,"stream_options":{"include_usage":true}}',
        ),
        (
            b'{"stream":true,"stream_options":{"include_usage":false,"y":1.0}}',
            b'{"stream":true,"stream_options":{"include_usage":true,"y":1.0}}',
        ),
    ],
)
def test_a_stream_is_asked_for_its_usage_and_nothing_else_changes(
    body: bytes, asked: bytes
) -> None:
    assert asking_for_usage(body) == asked


@pytest.mark.parametrize(
    "body",
    [
        b'{ "stream" : true, "stream_options" : { "include_usage" : true } }',
        b'{ "stream" : false }',
        b'{ "x" : 1 }',
        b'{"stream":true',
        b"[]",
        b'{"stream":true,"stream_options":[]}',
        b'{"stream":true,"stream_options":5}',
    ],
)
def test_what_is_asked_for_usage_already_or_is_no_stream_stays_byte_for_byte(body: bytes) -> None:
    assert asking_for_usage(body) is body
