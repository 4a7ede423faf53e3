"""An inbound key lets in whoever has it, and what is stored of it lets in nobody."""

from __future__ import annotations

import hmac

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.inbound_keys import RANDOM_BYTES, InboundKey, KeyLimits, Keyring, made
from protocol.login import CredentialFileInvalid
from protocol.secrets import Secret, scrub

NOW = 1_800_000_000.0
TEXT = "a" * 43


def key(
    name: str = "ci",
    number: int = 1,
    days: float | None = 90,
    owner: bool = False,
    text: str = TEXT,
) -> tuple[InboundKey, Secret]:
    random_bytes = bytes([number]) * 20
    return made(name, random_bytes, NOW, days=days, owner=owner, limits=KeyLimits(), text=text)


def test_a_key_finds_its_entry() -> None:
    entry, secret = key()
    assert Keyring({entry.id: entry}).find(secret.reveal().encode()) is entry


@pytest.mark.promise("X1")
@pytest.mark.parametrize("says", [True, False])
def test_a_secret_is_compared_as_a_digest_and_in_constant_time(
    says: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else decides: made to lie, `hmac.compare_digest` lets in who is wrong."""
    entry, secret = key()
    text = secret.reveal()
    wrong = text[:-1] + ("a" if text[-1] != "a" else "b")
    monkeypatch.setattr(hmac, "compare_digest", lambda one, other: says)
    for offered in (text, wrong):
        found = Keyring({entry.id: entry}).find(offered.encode())
        assert found is (entry if says else None)


def test_a_key_says_its_id_and_is_masked_in_every_text() -> None:
    entry, secret = key()
    shown = secret.reveal()
    assert shown == f"sk-sup-{entry.id}-{TEXT}"
    assert TEXT not in scrub(f"refused {shown} from 10.0.0.1")


def test_what_is_stored_is_no_key() -> None:
    entry, _ = key()
    ring = Keyring({entry.id: entry})
    for text in (
        entry.digest.hex(),
        entry.salt.hex(),
        f"sk-sup-{entry.id}-{entry.digest.hex()[:43]}",
    ):
        assert ring.find(text.encode()) is None
    assert entry.digest.hex() not in repr(entry)


def test_two_keys_with_the_same_secret_are_stored_differently() -> None:
    assert key(number=1)[0].digest != key(number=2)[0].digest


def test_every_random_byte_is_used_once_for_the_id_or_the_salt() -> None:
    drawn = bytes(range(RANDOM_BYTES))
    entry, _ = made("ci", drawn, NOW, days=None, owner=False, limits=KeyLimits(), text=TEXT)
    assert bytes.fromhex(entry.id) + entry.salt == drawn
    assert len(entry.salt) == 16


def test_a_revoked_key_is_revoked_also_when_its_time_would_be_over() -> None:
    entry = msgspec.structs.replace(key(days=1)[0], revoked=NOW)
    assert entry.state(NOW) == entry.state(NOW + 1e9) == "revoked"


def test_a_name_may_have_64_characters() -> None:
    assert key("x" * 64)[0].name == "x" * 64


def test_the_id_of_one_key_with_the_secret_of_another_is_none() -> None:
    first, _ = key(number=1, text="a" * 43)
    second, _ = key(number=2, text="b" * 43)
    ring = Keyring({first.id: first, second.id: second})
    assert ring.find(f"sk-sup-{first.id}-{'b' * 43}".encode()) is None


@given(st.binary(max_size=80))
def test_nothing_else_is_a_key(offered: bytes) -> None:
    entry, secret = key()
    ring = Keyring({entry.id: entry})
    exact = secret.reveal().encode()
    assert ring.find(offered) is None
    assert ring.find(exact + offered) is (entry if not offered else None)
    assert ring.find(offered + exact) is (entry if not offered else None)
    assert ring.find(None) is None


@given(st.integers(0, 62), st.integers(0, 255))
def test_a_key_with_one_wrong_byte_is_none(place: int, byte: int) -> None:
    entry, secret = key()
    changed = bytearray(secret.reveal().encode())
    before = changed[place % len(changed)]
    changed[place % len(changed)] = byte
    found = Keyring({entry.id: entry}).find(bytes(changed))
    assert found is (entry if byte == before else None)


def test_it_is_valid_until_its_last_day_has_ended() -> None:
    entry, _ = key(days=2)
    assert entry.state(NOW + 2 * 86400 - 1) == "valid"
    assert entry.state(NOW + 2 * 86400) == "expired"
    assert key(days=0)[0].state(NOW + 1e9) == "valid"


@pytest.mark.parametrize("name", ["", " ci", "ci ", "a\nb", "\x1b[2J", "x" * 65])
def test_a_name_that_could_be_mistaken_in_a_list_is_refused(name: str) -> None:
    with pytest.raises(CredentialFileInvalid, match="printable"):
        key(name)


@pytest.mark.parametrize(
    ("limits", "by_usage"),
    [
        (KeyLimits(), False),
        (KeyLimits(requests_per_minute=1), False),
        (KeyLimits(tokens_per_minute=1), True),
        (KeyLimits(budget_per_day=0.5), True),
    ],
)
def test_what_an_answer_used_counts_for_tokens_and_for_money(
    limits: KeyLimits, by_usage: bool
) -> None:
    assert limits.by_usage is by_usage
