"""The lease: what it remembers, and that nothing else is taken for one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.client_lease import (
    Holder,
    Lease,
    LeaseUnreadable,
    ProcessMark,
    decode,
    encode,
    joined,
)
from protocol.settings import BASE_URL, FileRecord, KeyRecord, point, release

LEASE = Lease(
    Holder((ProcessMark(12, "345"), ProcessMark(13)), "boot", "id", 4080, "2026-11-21T10:00:00Z"),
    "http://127.0.0.1:4080",
    "https://api.anthropic.com",
    5.0,
    (
        FileRecord("/a", False, False, None, None, (KeyRecord(BASE_URL, None, ("u", "v")),)),
        FileRecord("/b", True, True, " \n", None, (KeyRecord("K", '{"x": 1}', ("w",)),)),
    ),
    released=True,
    released_at=1790000000.5,
)


def test_a_lease_is_read_as_it_was_written() -> None:
    assert decode(encode(LEASE)) == LEASE


def test_it_says_in_words_how_to_undo_it_by_hand() -> None:
    assert "supervisor repair" in json.loads(encode(LEASE))["note"]


@pytest.mark.parametrize("size", [0, 1, 50, 400])
def test_half_a_lease_is_none(size: int) -> None:
    with pytest.raises(LeaseUnreadable):
        decode(encode(LEASE)[:size])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), 2),
        (("files",), {}),
        (("released",), 1),
        (("port",), True),
        (("files", 0, "path"), None),
        (("files", 0, "keys", 0, "ours"), "u"),
        (("files", 1, "keys", 0, "before"), "{"),
        (("files", 1, "env_blank"), "x"),
        (("processes", 0, "pid"), "12"),
    ],
)
def test_a_lease_with_something_else_in_it_is_none(
    path: tuple[str | int, ...], value: object
) -> None:
    document = json.loads(encode(LEASE))
    inner = document
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    with pytest.raises(LeaseUnreadable):
        decode(json.dumps(document).encode())


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.sampled_from(["version", "files", "processes", "a"]), x)))  # fmt: skip
def test_no_document_does_more_than_be_refused(document: object) -> None:
    with pytest.raises(LeaseUnreadable):
        decode(json.dumps(document).encode())


@given(st.binary(max_size=40))
def test_no_bytes_do_more_than_be_refused(content: bytes) -> None:
    with pytest.raises(LeaseUnreadable):
        decode(content)


def test_until_the_new_value_stands_there_the_old_one_is_ours_as_well() -> None:
    old = point("f", b"{}", {BASE_URL: "http://127.0.0.1:1"})
    new = point("f", b"{}", {BASE_URL: "http://127.0.0.1:2"})
    record = joined(old.record, new.record)
    assert release(old.content, record) == b"{}"
    assert release(new.content, record) == b"{}"
