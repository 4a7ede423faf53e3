"""`keys.json`: edits keep what they do not know, and what is unclear lets nobody in."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import key_file
from protocol.inbound_keys import InboundKey, KeyLimits
from protocol.key_file import EMPTY, KeyFile, Note, encode, key_view, parse, ring_of
from protocol.key_limits import KeyUse
from protocol.login import CredentialFileInvalid, CredentialFileNewer
from tests.protocol.test_inbound_keys import NOW, key

ENTRY, SECRET = key()


def with_entry(**changes: Any) -> bytes:
    document = json.loads(encode(key_file.added(EMPTY, ENTRY)))
    document["keys"][0].update(changes)
    return json.dumps(document).encode()


def test_what_is_added_is_read_back_the_same() -> None:
    assert parse(encode(key_file.added(EMPTY, ENTRY))).keys == (ENTRY,)


EVERYTHING = InboundKey(
    "0a0b0c0d", "ci", b"salt", b"d" * 32, owner=True, created=NOW, expires=NOW + 60,
    limits=KeyLimits(7, 8, 9.5),
)  # fmt: skip


def test_an_entry_has_everything_by_its_name() -> None:
    assert json.loads(encode(EMPTY)) == {"version": 1, "keys": []}
    (entry,) = key_file.added(EMPTY, EVERYTHING).document["keys"]
    assert entry == {
        "id": "0a0b0c0d",
        "name": "ci",
        "salt": b"salt".hex(),
        "hash": b"d".hex() * 32,
        "owner": True,
        "created": "2027-01-15T08:00:00Z",
        "expires": "2027-01-15T08:01:00Z",
        "revoked": None,
        "last_used": None,
        "requests_per_minute": 7,
        "tokens_per_minute": 8,
        "budget_per_day": 9.5,
    }


def test_what_is_shown_of_a_key_is_all_but_what_it_is_proven_with() -> None:
    used = msgspec.structs.replace(EVERYTHING, last_used=NOW + 5, revoked=NOW + 6)
    assert key_view(used, NOW + 7) == {
        "id": "0a0b0c0d",
        "name": "ci",
        "state": "revoked",
        "owner": True,
        "created": "2027-01-15T08:00:00Z",
        "expires": "2027-01-15T08:01:00Z",
        "revoked": "2027-01-15T08:00:06Z",
        "last_used": "2027-01-15T08:00:05Z",
        "requests_per_minute": 7,
        "tokens_per_minute": 8,
        "budget_per_day": 9.5,
        "used": None,
    }
    plain = key_view(InboundKey("0a0b0c0d", "ci", b"", b""), NOW)
    assert (plain["expires"], plain["revoked"], plain["last_used"]) == (None, None, None)


def test_what_is_counted_of_a_keys_use_is_shown_and_is_newer_than_what_is_stored() -> None:
    used = KeyUse(1, None, 2.5, last_used=NOW + 9)
    shown = key_view(msgspec.structs.replace(EVERYTHING, last_used=NOW + 5), NOW, used)
    counted = {"requests_last_minute": 1, "tokens_last_minute": None, "cost_today": 2.5}
    assert (shown["used"], shown["last_used"]) == (counted, "2027-01-15T08:00:09Z")


def test_an_entry_of_a_name_and_a_hash_alone_is_a_plain_key() -> None:
    bare = {
        name: json.loads(with_entry())["keys"][0][name] for name in ("id", "name", "salt", "hash")
    }
    (found,) = parse(json.dumps({"keys": [bare]}).encode()).keys
    assert found == InboundKey(ENTRY.id, "ci", ENTRY.salt, ENTRY.digest)
    assert found.limits == KeyLimits(0, 0, 0.0)


@pytest.mark.parametrize(
    ("spent", "known"),
    [
        ({"day": "2027-01-15", "usd": 0.5}, ("2027-01-15", 0.5)),
        ({"day": "2027-01-15", "usd": 0}, ("2027-01-15", 0.0)),
        ({"day": "2027-01-15", "usd": -1}, ("", 0.0)),
        ({"day": "2027-01-15", "usd": True}, ("", 0.0)),
        ({"day": "2027-01-15", "usd": "much"}, ("", 0.0)),
        ({"day": "2027-01-15"}, ("", 0.0)),
        ({"day": 15, "usd": 0.5}, ("", 0.0)),
        ("much", ("", 0.0)),
    ],
)
def test_a_cost_that_is_none_is_forgotten_and_the_key_serves(
    spent: object, known: tuple[str, float]
) -> None:
    (found,) = parse(with_entry(spent=spent)).keys
    assert (found.spent_day, found.spent) == known


def test_a_cost_is_written_in_millionths_of_a_dollar() -> None:
    file = key_file.noted(key_file.added(EMPTY, ENTRY), {ENTRY.id: Note(NOW, "2027-01-15", 1 / 3)})
    assert file.document["keys"][0]["spent"] == {"day": "2027-01-15", "usd": 0.333333}


def test_an_entry_that_is_none_is_told_by_its_place() -> None:
    (problem,) = parse(b'{"keys": [5]}').problems
    assert problem == "key 1 cannot be used: it is no object"


def test_the_file_has_no_key_in_it() -> None:
    content = encode(key_file.added(EMPTY, ENTRY)).decode()
    assert SECRET.reveal() not in content
    assert SECRET.reveal().rpartition("-")[2] not in content


def test_a_key_lets_in_after_it_was_written_and_read() -> None:
    ring = ring_of(parse(encode(key_file.added(EMPTY, ENTRY))))
    found = ring.find(SECRET.reveal().encode())
    assert found is not None
    assert found.name == "ci"


def test_what_is_revoked_stays_and_is_not_valid() -> None:
    file = key_file.revoked(key_file.added(EMPTY, ENTRY), ENTRY.id, NOW + 5)
    kept = parse(encode(file)).key(ENTRY.id)
    assert kept is not None
    assert kept.state(NOW + 6) == "revoked"
    again = key_file.revoked(file, ENTRY.id, NOW + 50)
    assert again is file, "the first time counts"


def test_what_is_deleted_is_gone_also_when_it_could_not_be_used() -> None:
    file = parse(with_entry(hash="zz"))
    assert file.keys == ()
    assert len(file.problems) == 1
    assert key_file.deleted(file, ENTRY.id).document["keys"] == []
    with pytest.raises(KeyError):
        key_file.deleted(file, "00000000")
    with pytest.raises(KeyError):
        key_file.revoked(file, ENTRY.id, NOW)


def test_a_name_belongs_to_one_valid_key() -> None:
    file = key_file.added(EMPTY, ENTRY)
    other, _ = key("ci", number=2)
    with pytest.raises(CredentialFileInvalid, match="already"):
        key_file.added(file, other)
    file = key_file.added(key_file.revoked(file, ENTRY.id, NOW), other)
    assert [one.id for one in file.keys] == [ENTRY.id, other.id]


def test_an_id_is_never_given_twice() -> None:
    twin, _ = key("other")
    with pytest.raises(CredentialFileInvalid, match="try again"):
        key_file.added(key_file.added(EMPTY, ENTRY), twin)


def test_its_use_is_noted_and_of_what_is_gone_nothing() -> None:
    file = key_file.added(EMPTY, ENTRY)
    noted = key_file.noted(file, {ENTRY.id: Note(NOW + 9, "2027-01-15", 1.25), "gone": Note(1.0)})
    kept = parse(encode(noted)).key(ENTRY.id)
    assert kept is not None
    assert (kept.last_used, kept.spent_day, kept.spent) == (NOW + 9, "2027-01-15", 1.25)
    assert len(noted.document["keys"]) == 1


def test_what_is_not_known_stays() -> None:
    document = json.loads(with_entry(team="blue"))
    document["note"] = [1, 2]
    file = key_file.revoked(parse(json.dumps(document).encode()), ENTRY.id, NOW)
    assert file.document["note"] == [1, 2]
    assert file.document["keys"][0]["team"] == "blue"


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "XYZ"}, {"name": None}, {"name": "a\nb"}, {"owner": "yes"}, {"owner": 1},
        {"salt": "0"}, {"salt": None}, {"hash": ""}, {"hash": "00"}, {"expires": "tomorrow"},
        {"expires": 5}, {"expires": "2030-01-01T00:00:00"}, {"revoked": True},
        {"requests_per_minute": -1}, {"requests_per_minute": "9"}, {"budget_per_day": True},
        {"tokens_per_minute": 1e300},
    ],
)  # fmt: skip
def test_an_entry_that_says_something_unclear_lets_nobody_in(changes: dict[str, Any]) -> None:
    file = parse(with_entry(**changes))
    assert file.keys == ()
    assert len(file.problems) == 1
    assert ring_of(file).find(SECRET.reveal().encode()) is None


def test_the_second_of_two_with_one_id_lets_nobody_in() -> None:
    document = json.loads(with_entry())
    document["keys"].append({**document["keys"][0], "owner": True})
    file = parse(json.dumps(document).encode())
    assert [one.owner for one in file.keys] == [False]
    assert len(file.problems) == 1


def test_a_budget_that_is_no_number_lets_nobody_in() -> None:
    assert (
        parse(with_entry().replace(b'"budget_per_day": 0.0', b'"budget_per_day": NaN')).keys == ()
    )


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b'{"keys": {}}', b'{"version": "1"}', b"\xff"]
)
def test_a_file_that_is_none_is_refused_whole(content: bytes) -> None:
    with pytest.raises(CredentialFileInvalid):
        parse(content)


def test_a_file_of_a_later_version_is_told_apart() -> None:
    with pytest.raises(CredentialFileNewer):
        parse(b'{"version": 2, "keys": []}')


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from([*json.loads(with_entry())["keys"][0], "spent"])


@given(st.lists(st.dictionaries(FIELDS, JSON, max_size=4) | JSON, max_size=3))
def test_any_entries_are_read_without_a_crash_and_none_comes_in_by_them(entries: list[Any]) -> None:
    content = json.dumps({"version": 1, "keys": entries}).encode()
    file: KeyFile = parse(content)
    assert len(file.keys) + len(file.problems) == len(entries)
    assert ring_of(file).find(SECRET.reveal().encode()) is None
    parse(encode(file))
