"""A credential is printed by `reveal` and by nothing else."""

from __future__ import annotations

import copy
import gc
import pickle
import traceback

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.accounts import AccountSpec, AccountState, Credential
from protocol.secrets import MASK, Secret, scrub

CANARY = "canary+of-an/odd.shape=42"


def test_no_way_of_printing_shows_it() -> None:
    secret = Secret(CANARY)
    shown = [
        str(secret), repr(secret), f"{secret}", f"{secret!r:>40}", f"{secret:>40}",
        "%s %r" % (secret, secret), "{0} {0!r}".format(secret),  # noqa: UP031, UP032
        repr([secret]), repr({"k": secret}), str(Credential(secret, bearer=True)),
        repr(AccountState(AccountSpec("a", "token", Credential(secret, bearer=True), "u"))),
    ]  # fmt: skip
    assert [text for text in shown if CANARY in text] == []
    assert all(MASK in text for text in shown)
    assert secret.reveal() == CANARY, "the control: it is there"


def test_it_cannot_be_pickled_copied_or_encoded() -> None:
    secret = Secret(CANARY)
    for carry in (pickle.dumps, copy.copy, copy.deepcopy, msgspec.json.encode,
                  msgspec.to_builtins, msgspec.msgpack.encode):  # fmt: skip
        with pytest.raises(TypeError) as raised:
            carry(secret)
        assert CANARY not in "".join(traceback.format_exception(raised.value))
    with pytest.raises(TypeError):
        vars(secret)


@given(st.text(min_size=8).filter(lambda text: MASK not in text), st.text(), st.text())
def test_a_live_secret_is_masked_wherever_it_turns_up(value: str, before: str, after: str) -> None:
    secret = Secret(value)
    assert value not in scrub(before + value + after).replace(MASK, "")
    assert secret.reveal() == value


def test_of_two_secrets_the_longer_is_masked_first() -> None:
    kept = [Secret("abcdefgh"), Secret("abcdefgh-and-more")]
    assert scrub("x abcdefgh-and-more y abcdefgh z") == f"x {MASK} y {MASK} z"
    del kept


def test_a_short_secret_does_not_mask_ordinary_words() -> None:
    kept = [Secret("the"), Secret("")]
    assert scrub("the end") == "the end"
    del kept


def test_equal_secrets_are_masked_until_the_last_of_them_is_gone() -> None:
    first, second = Secret(CANARY), Secret(CANARY)
    assert first == second
    assert hash(first) == hash(second)
    del first
    gc.collect()
    assert scrub(f"a {CANARY} b") == f"a {MASK} b"
    del second
    gc.collect()
    assert CANARY in scrub(f"a {CANARY} b"), "what nobody holds any more is forgotten"


def test_a_secret_equals_only_a_secret() -> None:
    assert Secret("a") != Secret("b")
    assert Secret("ä") == Secret("ä")
    assert Secret("a") != "a"
    assert Secret("a")
    assert not Secret("")


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("key sk-ant-api03-AbC_9-xyz ends", "key *** ends"),
        ("authorization: Bearer abc.def-123456", "authorization: Bearer ***"),
        ("AUTHORIZATION: BEARER   abcdef1234==", "AUTHORIZATION: BEARER   ***"),
        ("(b'authorization', b'Bearer abcdef1234')", "(b'authorization', b'Bearer ***')"),
        ("x-api-key: short", "x-api-key: ***"),
        ("X-Api-Key:short, more", "X-Api-Key:***, more"),
        ("[(b'x-api-key', b'of-a-client')]", "[(b'x-api-key', b'***')]"),
        ("{'X-Supervisor-Key': 'of-a-client'}", "{'X-Supervisor-Key': '***'}"),
        ("eyJhbGciOiJI.eyJzdWIiOiIx.c2ln", "***"),
        ("AIza" + "x" * 35, "***"),
        ("send it in the x-api-key header", "send it in the x-api-key header"),
        ("a bearer of news", "a bearer of news"),
        ("risk-free", "risk-free"),
    ],
)
def test_what_has_the_shape_of_a_credential_is_masked_although_nobody_wrapped_it(
    text: str, scrubbed: str
) -> None:
    assert scrub(text) == scrubbed
