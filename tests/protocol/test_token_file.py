"""The token store's document: what is read, what an edit keeps, what is refused."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.login import CredentialFileInvalid, CredentialFileNewer, Login, Pair, token_digest
from protocol.secrets import Secret
from protocol.token_file import (
    EMPTY,
    StoredAccount,
    TokenFile,
    declared_dead,
    encode,
    parse,
    put,
    removed,
    renewed,
    set_disabled,
)

WORK = {
    "kind": "oauth",
    "accessToken": "at-1",
    "refreshToken": "rt-1",
    "expiresAt": 1_790_000_000_000,
    "scopes": ["user:inference"],
    "email": "a@b.example",
    "disabled": False,
    "needsLogin": False,
}


def text(**accounts: Any) -> bytes:
    return json.dumps({"version": 1, "accounts": accounts}).encode()


def read(**accounts: Any) -> TokenFile:
    return parse(text(**accounts))


def test_every_field_of_an_account_is_read() -> None:
    account = read(work=WORK).account("work")
    assert account is not None
    assert (account.kind, account.disabled) == ("oauth", False)
    login = account.login
    assert login.access_token == Secret("at-1")
    assert login.refresh_token == Secret("rt-1")
    assert login.expires_at == 1_790_000_000
    assert (login.scopes, login.email) == (("user:inference",), "a@b.example")


def test_the_file_of_claude_code_proxy_is_accepted() -> None:
    entry = {
        "accessToken": "sk-ant-oat01-a",
        "refreshToken": "sk-ant-ort01-a",
        "expiresAt": 1_734_567_890_123,
    }
    account = read(primary=entry).account("primary")
    assert account is not None
    assert account.kind == "oauth"
    assert account.login.expires_at == 1_734_567_890.123


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ({"accessToken": "sk-ant-api03-x"}, "api_key"),
        ({"accessToken": "sk-ant-oat01-x"}, "token"),
        ({"accessToken": "sk-ant-oat01-x", "refreshToken": "r"}, "oauth"),
    ],
)
def test_a_missing_kind_is_told_by_the_tokens(entry: dict[str, Any], kind: str) -> None:
    account = read(one=entry).account("one")
    assert account is not None
    assert account.kind == kind


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("Big Name", WORK),
        ("sk-ant-oat01-aaaaaaaaaa", WORK),
        ("a", 7),
        ("a", {"kind": "oauth"}),
        ("a", {"kind": "oauth", "accessToken": "", "refreshToken": ""}),
        ("a", {"kind": "strange", "accessToken": "x"}),
        ("a", {"kind": "token", "refreshToken": "x"}),
        ("a", WORK | {"accessToken": "two words"}),
        ("a", WORK | {"accessToken": 5}),
        ("a", WORK | {"expiresAt": "soon"}),
        ("a", WORK | {"expiresAt": -1}),
        ("a", WORK | {"expiresAt": True}),
    ],
)
def test_an_entry_that_cannot_be_used_is_named_and_the_others_serve(
    name: str, entry: object
) -> None:
    file = read(**{name: entry, "good": WORK})
    assert [account.name for account in file.accounts] == ["good"]
    assert len(file.problems) == 1
    assert file.problems[0].startswith("account ")
    changed = set_disabled(file, "good", True)
    assert json.loads(encode(changed))["accounts"][name] == entry


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{", b"\xff", b'{"accounts": []}', b'{"version": "1"}', b"[" * 100_000,
     b'{"a": ' + b"9" * 5000 + b"}"],
)  # fmt: skip
def test_what_is_no_token_store_is_refused_whole(data: bytes) -> None:
    with pytest.raises(CredentialFileInvalid):
        parse(data)


def test_a_login_of_which_only_the_refresh_token_is_known_is_one() -> None:
    (account,) = read(work={"kind": "oauth", "refreshToken": "rt-1"}).accounts
    assert account.login.access_token is None
    assert account.login.refresh_token == Secret("rt-1")


def test_the_file_of_a_newer_program_is_told_from_a_broken_one() -> None:
    with pytest.raises(CredentialFileNewer):
        parse(b'{"version": 2, "accounts": {}}')


def test_an_edit_keeps_what_this_program_does_not_know() -> None:
    data = json.dumps(
        {"x": [1, 2.5], "version": 1, "accounts": {"work": WORK | {"plan": {"a": 1}}, "other": 7}}
    ).encode()
    file = renewed(parse(data), "work", Secret("rt-1"), Pair(Secret("at-2"), Secret("rt-2")))
    assert file is not None
    written = json.loads(encode(file))
    assert written["x"] == [1, 2.5]
    assert written["accounts"]["other"] == 7
    assert written["accounts"]["work"] == WORK | {
        "plan": {"a": 1},
        "accessToken": "at-2",
        "refreshToken": "rt-2",
    }


def test_a_new_pair_goes_in_only_where_the_token_that_was_sent_still_stands() -> None:
    pair = Pair(Secret("at-2"), Secret("rt-2"), 1_790_003_600.0)
    assert renewed(read(work=WORK), "work", Secret("rt-0"), pair) is None
    assert renewed(read(work=WORK), "gone", Secret("rt-1"), pair) is None
    file = renewed(read(work=WORK), "work", Secret("rt-1"), pair)
    assert file is not None
    account = file.account("work")
    assert account is not None
    assert account.login.refresh_token == Secret("rt-2")
    assert account.login.expires_at == 1_790_003_600


def test_an_answer_without_a_refresh_token_keeps_the_old_one() -> None:
    file = renewed(read(work=WORK), "work", Secret("rt-1"), Pair(Secret("at-2")))
    assert file is not None
    assert json.loads(encode(file))["accounts"]["work"]["refreshToken"] == "rt-1"


def test_needing_a_login_ends_when_the_refresh_token_changes_however_that_came() -> None:
    file = declared_dead(read(work=WORK), "work", Secret("rt-1"))
    assert file is not None
    dead = parse(encode(file)).account("work")
    assert dead is not None
    assert dead.login.needs_login
    document = json.loads(encode(file))
    document["accounts"]["work"]["refreshToken"] = "rt-from-an-editor"
    revived = parse(json.dumps(document).encode()).account("work")
    assert revived is not None
    assert not revived.login.needs_login
    assert declared_dead(file, "work", Secret("rt-0")) is None
    again = put(file, StoredAccount("work", "oauth", Login(Secret("at-9"), Secret("rt-9"))))
    assert "needsLoginOf" not in again.document["accounts"]["work"]


def test_another_credential_of_that_name_leaves_nothing_of_the_old_one() -> None:
    """Its date would expire a key, its path would hide it; and a secret is not kept for nothing."""
    reference = {"credentials": "/x/.credentials.json", "follow": "auto", "note": "mine"}
    for entry in ({**WORK, "note": "mine"}, reference):
        file = put(read(work=entry), StoredAccount("work", "api_key", Login(Secret("sk-ant-api"))))
        account = file.account("work")
        assert account == StoredAccount("work", "api_key", Login(Secret("sk-ant-api")))
        assert file.document["accounts"]["work"]["note"] == "mine"
        assert "refreshToken" not in file.document["accounts"]["work"]
    login = StoredAccount("work", "oauth", Login(None), path="/x/.credentials.json", follow="never")
    assert b"at-1" not in encode(put(read(work=WORK), login))


def test_putting_reading_and_removing_are_inverse() -> None:
    login = Login(Secret("a"), Secret("r"), 5.0, ("s",), "e@x.example", "e@x.example", "client")
    account = StoredAccount("one", "oauth", login, disabled=True)
    file = parse(encode(put(EMPTY, account)))
    assert file.accounts == (account,)
    assert "one" in file
    assert removed(file, "one").accounts == ()
    assert EMPTY.accounts == ()
    with pytest.raises(KeyError):
        removed(file, "two")


@pytest.mark.parametrize("name", ["", "A", "a b", "sk-ant-api03-aaaaaaaaaa"])
def test_an_account_that_could_not_be_read_back_is_not_put(name: str) -> None:
    with pytest.raises(CredentialFileInvalid):
        put(EMPTY, StoredAccount(name, "token", Login(Secret("x"))))
    with pytest.raises(CredentialFileInvalid):
        put(EMPTY, StoredAccount("a", "token", Login(None)))


def test_no_secret_shows_in_a_representation() -> None:
    shown = repr(read(work=WORK)) + repr(read(work=WORK).accounts)
    assert "at-1" not in shown
    assert "rt-1" not in shown
    assert token_digest(Secret("rt-1")) not in ("", "rt-1")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=6), json_values, max_size=4), json_values)
def test_any_object_is_read_or_refused_and_never_changed_by_reading(
    accounts: dict[str, Any], more: Any
) -> None:
    data = json.dumps({"accounts": accounts, "more": more}).encode()
    file = parse(data)
    assert len(file.accounts) + len(file.problems) == len(accounts)
    assert json.loads(encode(file)) == {"accounts": accounts, "more": more, "version": 1}


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(CredentialFileInvalid):
        parse(data)


@pytest.mark.parametrize("key", ["accessToken", "refreshToken"])
@pytest.mark.parametrize("wrong", ["sk-ant-canary and more", ["canary"], {"canary": 1}], ids=str)
def test_a_token_that_is_none_is_not_quoted(key: str, wrong: Any) -> None:
    """Somebody pasted a line too much; the message goes to the log."""
    (problem,) = read(work={**WORK, key: wrong}).problems
    assert key in problem
    assert "canary" not in problem
    (problem,) = read(work={**WORK, "kind": "sk-ant-canary"}).problems
    assert "canary" not in problem
