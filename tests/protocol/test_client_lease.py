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
        (("processes", 0, "started"), 345),
        (("processes",), {}),
        (("boot",), None),
        (("instance",), 1),
        (("created",), 1),
        (("url",), None),
        (("direct_url",), None),
        (("release_after",), "5"),
        (("released_at",), False),
        (("files", 0, "existed"), 0),
        (("files", 0, "had_env"), None),
        (("files", 0, "top_blank"), "x"),
        (("files", 0, "keys"), None),
        (("files", 0, "keys", 0, "name"), None),
        (("files", 0, "keys", 0, "before"), 5),
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


def record(path: str, *keys: KeyRecord) -> FileRecord:
    return FileRecord(path, True, True, None, None, keys)


def test_a_lease_has_one_record_of_each_file() -> None:
    other = record("/a", KeyRecord("K", None, ("new",)))
    assert LEASE.file("/b") == LEASE.files[1]
    assert LEASE.file("/c") is None
    assert LEASE.with_file(other).files == (LEASE.files[1], other)
    assert LEASE.with_file(record("/c")).files == (*LEASE.files, record("/c"))
    assert LEASE.without_file("/a").files == LEASE.files[1:]


def test_what_two_records_know_of_a_key_is_known_after() -> None:
    """A key that is no longer wanted has to be put back as well."""
    old = record("/a", KeyRecord("K", "1", ("u", "v")), KeyRecord("GONE", "2", ("w",)))
    new = record("/a", KeyRecord("K", "3", ("x", "u")), KeyRecord("FRESH", None, ("y",)))
    assert joined(old, new).keys == (
        KeyRecord("K", "3", ("x", "u", "v")),
        KeyRecord("FRESH", None, ("y",)),
        KeyRecord("GONE", "2", ("w",)),
    )
    assert joined(None, new) is new


def test_a_lease_begins_unreleased_and_held_by_nobody() -> None:
    lease = Lease(Holder(), "http://127.0.0.1:1", "https://d.test", 5.0, ())
    assert (lease.released, lease.released_at) == (False, 0.0)
    assert lease.holder == ((), "", "", 0, "")
    assert decode(encode(lease)) == lease
