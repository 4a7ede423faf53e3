"""Settings documents: pointed and released, every other byte stays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import json_text
from protocol.settings import (
    AUTH_TOKEN,
    BASE_URL,
    NotEditable,
    base_url,
    holds_ours,
    inspect,
    needs_two_steps,
    point,
    release,
    well_formed,
)

URL = "http://127.0.0.1:4080"
DIRECT = "https://api.anthropic.com"
VALUES = {BASE_URL: URL, "ENABLE_TOOL_SEARCH": "true"}

DOCUMENTS = {
    "no file": None,
    "empty object": b"{}",
    "empty object with blanks": b"{ \n }\n",
    "byte order mark and CRLF": b"\xef\xbb\xbf{\r\n}\r\n",
    "compact": b'{"a":1}',
    "one line": b'{"a": 1, "b": [ ]}',
    "tabs": b'{\n\t"a": 1,\n\t"env": {\n\t\t"X": "1"\n\t}\n}\n',
    "empty env": b'{\n  "env": {},\n  "z":[1,2]}',
    "empty env with blanks": b'{"env" : {\n\n} }',
    "env on one line": b'{\n  "env": {"X": "1"}\n}',
    "duplicate env": b'{"env":{"A":"1"},"env":{"B" : "2" , "C":{}}}',
    "duplicate key": b'{"env":{"ANTHROPIC_BASE_URL":"x", "ANTHROPIC_BASE_URL":"y"}}',
    "escaped key": b'{"\\u0065nv": {"ANTHROPIC\\u005fBASE_URL": "old"}}',
    "value of another kind": b'{"env": {"ENABLE_TOOL_SEARCH": 5}}',
    "brackets in texts": b'{"hook": "}]\\"{[", "env": {"X": "{\\\\"}}',
    "comma apart": b'{"a":1\n, "b":2\n ,"env" :\n{ "X"\n:"1"\n}\n}',
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_released_document_is_what_it_was_byte_for_byte(name: str) -> None:
    before = DOCUMENTS[name]
    made = point("f", before, VALUES)
    assert made.content is not None
    assert inspect(made.content).env[BASE_URL] == URL
    assert release(made.content, made.record) == before


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_two_steps_end_at_the_same_bytes(name: str) -> None:
    before = DOCUMENTS[name]
    made = point("f", before, VALUES)
    between = release(made.content, made.record, {BASE_URL: DIRECT})
    assert base_url(between) == DIRECT
    keys = tuple(k._replace(ours=(DIRECT, *k.ours)) for k in made.record.keys)
    assert release(between, made.record._replace(keys=keys)) == before


def test_what_is_added_is_written_like_its_neighbours() -> None:
    content = point("f", b'{\n\t"a": 1\n}\n', {BASE_URL: URL}).content
    assert content == (
        b'{\n\t"a": 1,\n\t"env": {\n\t\t"ANTHROPIC_BASE_URL": "http://127.0.0.1:4080"\n\t}\n}\n'
    )


def test_a_file_of_ours_alone_is_to_go_again() -> None:
    made = point("f", None, VALUES)
    assert release(made.content, made.record) is None


def test_a_file_of_ours_with_something_of_others_stays() -> None:
    made = point("f", None, VALUES)
    edited = made.content.replace(b"{", b'{\n  "model": "opus",', 1)  # type: ignore[union-attr]
    assert json.loads(release(edited, made.record) or b"") == {"model": "opus"}


@pytest.mark.promise("S2")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty, which is not valid JSON"),
        (b" \n", "is empty, which is not valid JSON"),
        (b'{"a": 1', "is not valid JSON (line 1)"),
        (b'{\n"a": 1\n"b": 2}', "is not valid JSON (line 3)"),
        (b'{\n"a": 1,\n}', "is not valid JSON (line "),  # the comma's or the next, by Python's age
        (b'{"a": NaN}', "is not valid JSON"),
        (b"// note\n{}", "is not valid JSON (line 1)"),
        (b"[]", "is not a JSON object"),
        (b'"env"', "is not a JSON object"),
        (b'{"env": []}', 'has an "env" that is not an object'),
        (b'{"env": null}', 'has an "env" that is not an object'),
        (b'{"a": "\xff"}', "is not UTF-8 text"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "is nested too deeply"),
        (b'{"a": "' + b"x" * json_text.LARGEST_DOCUMENT + b'"}', "is too large"),
    ],
    ids=lambda value: value[:12] if isinstance(value, bytes) else value,
)
def test_what_is_no_settings_document_is_refused_with_a_reason(content: bytes, reason: str) -> None:
    for edit in (
        lambda: point("f", content, VALUES),
        lambda: release(content, point("f", b"{}", VALUES).record),
        lambda: inspect(content),
    ):
        with pytest.raises(NotEditable) as refused:
            edit()
        assert str(refused.value).startswith(reason)
    assert not well_formed(content)


def test_a_number_of_thousands_of_digits_is_no_reason_to_refuse() -> None:
    before = b'{"a": ' + b"9" * 5000 + b"}"
    made = point("f", before, VALUES)
    assert release(made.content, made.record) == before


def test_a_number_is_not_the_text_of_its_digits() -> None:
    before = b'{"env": {"X": 1}}'
    made = point("f", before, {"X": "1"})
    assert made.content == b'{"env": {"X": "1"}}'
    assert release(before, made.record) == before
    assert release(made.content, made.record) == before


def test_a_key_that_has_the_value_already_is_not_ours() -> None:
    before = b'{"env": {"ENABLE_TOOL_SEARCH": "true"}}'
    made = point("f", before, VALUES)
    assert [key.name for key in made.record.keys] == [BASE_URL]
    assert point("f", made.content, VALUES).record.keys == ()


def test_a_key_that_somebody_changed_stays_as_they_want_it() -> None:
    made = point("f", b'{"env": {"ENABLE_TOOL_SEARCH": "auto"}}', VALUES)
    assert made.content is not None
    theirs = made.content.replace(URL.encode(), b"http://elsewhere.test")
    assert release(theirs, made.record) == (
        b'{"env": {"ENABLE_TOOL_SEARCH": "auto", "ANTHROPIC_BASE_URL": "http://elsewhere.test"}}'
    )
    assert not holds_ours(theirs, made.record, BASE_URL)


def test_a_key_that_somebody_removed_does_not_come_back() -> None:
    made = point("f", b'{"env": {"ANTHROPIC_BASE_URL": "http://old.test"}}', {BASE_URL: URL})
    assert release(b'{"env": {}}', made.record) == b'{"env": {}}'
    assert release(b"{}", made.record) == b"{}"
    assert release(None, made.record) is None


def test_two_steps_are_for_where_the_base_url_would_vanish() -> None:
    fresh = point("f", b"{}", VALUES)
    assert needs_two_steps(fresh.content, fresh.record)
    assert not needs_two_steps(b"{}", fresh.record)
    beside_a_token = point("f", b"{}", {**VALUES, AUTH_TOKEN: "t"})
    assert not needs_two_steps(beside_a_token.content, beside_a_token.record)
    taken_over = point("f", b'{"env": {"ANTHROPIC_BASE_URL": "http://old.test"}}', VALUES)
    assert not needs_two_steps(taken_over.content, taken_over.record)


# ----------------------------------------------------------------------------- any document at all

BLANKS = st.text(" \t\n\r", max_size=3)
KEYS = st.one_of(st.sampled_from(["env", BASE_URL, "ENABLE_TOOL_SEARCH", "a"]), st.text(max_size=4))


def spelled(word: str, escape: bool) -> str:
    return json.dumps(word, ensure_ascii=escape).encode("utf-8", "replace").decode()


@st.composite
def objects(draw: st.DrawFn, members: st.SearchStrategy[str]) -> str:
    parts = []
    for _ in range(draw(st.integers(0, 4))):
        key = spelled(draw(KEYS), draw(st.booleans()))
        parts.append(
            f"{draw(BLANKS)}{key}{draw(BLANKS)}:{draw(BLANKS)}{draw(members)}{draw(BLANKS)}"
        )
    return "{" + (",".join(parts) or draw(BLANKS)) + "}"


SCALARS = st.one_of(
    st.sampled_from(["1", "-2.5e3", "true", "null", '"}{"', '"\\""', "[]", "[ 1 , {} ]"]),
    st.text(max_size=5).map(lambda word: spelled(word, escape=False)),
)
VALUES_OF_ANY_KIND = st.one_of(SCALARS, objects(SCALARS))


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """A JSON object with whatever blanks, whose last `env` is an object or missing."""
    mark = draw(st.sampled_from(["", "\ufeff"]))
    text = mark + draw(BLANKS) + draw(objects(VALUES_OF_ANY_KIND)) + draw(BLANKS)
    return text.encode()


@pytest.mark.promise("S1")
@given(documents())
def test_any_document_is_pointed_and_released_without_a_trace(before: bytes) -> None:
    try:
        made = point("f", before, VALUES)
    except NotEditable:
        assert not well_formed(before)
        return
    assert made.content is not None
    env = json.loads(made.content.decode("utf-8-sig"))["env"]
    assert {name: env[name] for name in VALUES} == VALUES
    assert release(made.content, made.record) == before


@pytest.mark.promise("S1")
@given(documents(), st.sampled_from(["X", "y z"]), st.booleans())
def test_an_edit_of_somebody_else_is_as_if_made_on_the_original(
    before: bytes, name: str, in_env: bool
) -> None:
    def edited(content: bytes) -> Any:
        document = json.loads(content.decode("utf-8-sig"))
        (document.setdefault("env", {}) if in_env else document)[name] = "theirs"
        return document

    try:
        made = point("f", before, VALUES)
    except NotEditable:
        return
    assert made.content is not None
    theirs = json.dumps(edited(made.content), indent=2).encode()
    released = release(theirs, made.record)
    expected = edited(before)
    if not in_env and expected.get("env") == {} and not made.record.had_env:
        del expected["env"]
    assert released is not None
    assert json.loads(released) == expected


@pytest.mark.promise("S1")
@given(documents(), st.integers(0, 200), st.binary(max_size=3))
def test_an_edit_of_other_bytes_stays_where_it_was_made(
    before: bytes, place: int, extra: bytes
) -> None:
    """Whatever somebody does to the text: it is refused, or nothing but our keys changes."""
    try:
        made = point("f", before, VALUES)
    except NotEditable:
        return
    assert made.content is not None
    theirs = made.content[:place] + extra + made.content[place:]
    try:
        released = release(theirs, made.record)
    except NotEditable:
        return
    assert released is None or well_formed(released)
    if released is not None and extra and extra not in made.content:
        assert extra in released or b"env" not in released


@given(st.binary(max_size=60))
def test_reading_any_bytes_ends_in_a_document_or_a_refusal(content: bytes) -> None:
    try:
        text = json_text.read(content)
    except NotEditable:
        return
    assert json_text.top(text).end <= len(text)


@given(documents())
def test_the_spans_are_those_of_the_parsed_members(content: bytes) -> None:
    text = json_text.read(content)
    outer = json_text.top(text)
    parsed = json.loads(
        text.removeprefix("\ufeff"), parse_int=json_text.Number, parse_float=json_text.Number
    )
    assert {m.key: json_text.value_of(text, m) for m in outer.members} == parsed


def test_a_helper_that_is_set_is_a_login_of_the_clients_own() -> None:
    assert inspect(b'{"apiKeyHelper": "get-key"}').has_helper
    assert not inspect(b'{"env": {}}').has_helper
    assert not inspect(None).has_helper
    assert inspect(None).names == frozenset()


def test_beside_a_token_of_ours_there_is_one_step_only() -> None:
    """The token must not meet another server."""
    made = point("f", b"{}", {BASE_URL: URL, "ANTHROPIC_AUTH_TOKEN": "ours"})
    assert AUTH_TOKEN == "ANTHROPIC_AUTH_TOKEN"
    assert made.content is not None
    assert not needs_two_steps(made.content, made.record)


@pytest.mark.parametrize("line", ["\n", "\r\n"])
def test_an_empty_document_gets_lines_that_end_like_its_own(line: str) -> None:
    made = point("f", f"{{{line}}}{line}".encode(), {BASE_URL: URL})
    assert made.content is not None
    assert made.content.count(b"\r\n") == (made.content.count(b"\n") if line == "\r\n" else 0)


def test_an_empty_env_is_filled_in_the_layout_of_its_document() -> None:
    one_line = point("f", b'{"env": {}}', {BASE_URL: URL})
    assert one_line.content == f'{{"env": {{"{BASE_URL}": "{URL}"}}}}'.encode()
    lines = point("f", b'{\n  "env": {}\n}', {BASE_URL: URL})
    wanted = f'{{\n  "env": {{\n    "{BASE_URL}": "{URL}"\n  }}\n}}'
    assert lines.content == wanted.encode()


def test_a_document_without_env_that_others_emptied_stays_as_they_left_it() -> None:
    made = point("f", b'{"a": 1}', {BASE_URL: URL})
    assert release(b'{"a": 1}', made.record) == b'{"a": 1}'
    assert release(b"{}", made.record) == b"{}"
    assert release(b'{"a": 1, "env": {}}', made.record) == b'{"a": 1, "env": {}}'
