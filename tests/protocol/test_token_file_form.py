"""The form of the store's entries, key by key: what is written there is read by the next life."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.login import CredentialFileInvalid, Login, Pair, token_digest
from protocol.secrets import Secret
from protocol.token_file import (
    EMPTY,
    FOLLOW,
    KINDS,
    StoredAccount,
    TokenFile,
    declared_dead,
    put,
    renewed,
    set_disabled,
)
from tests.protocol.test_token_file import WORK, read

LOGIN = Login(
    Secret("at-1"),
    Secret("rt-1"),
    1_790_000_000.0,
    ("user:inference",),
    "a@b.example",
    "a@b.example",
    "client-9",
)


def entry(file: TokenFile, name: str = "work") -> dict[str, Any]:
    found: dict[str, Any] = file.document["accounts"][name]
    return found


def test_the_words_of_the_store() -> None:
    assert KINDS == ("api_key", "token", "oauth")
    assert FOLLOW == ("auto", "always", "never")
    assert EMPTY.document == {"version": 1, "accounts": {}}


def test_a_login_is_written_with_all_that_is_known_of_it() -> None:
    assert entry(put(EMPTY, StoredAccount("work", "oauth", LOGIN, disabled=True))) == {
        "kind": "oauth",
        "accessToken": "at-1",
        "refreshToken": "rt-1",
        "expiresAt": 1_790_000_000_000,
        "scopes": ["user:inference"],
        "email": "a@b.example",
        "clientId": "client-9",
        "disabled": True,
        "needsLogin": False,
    }


def test_a_key_is_written_without_what_it_has_not() -> None:
    key = StoredAccount("work", "api_key", Login(Secret("sk-ant-api03-x")))
    assert entry(put(EMPTY, key)) == {
        "kind": "api_key",
        "accessToken": "sk-ant-api03-x",
        "disabled": False,
        "needsLogin": False,
    }
    assert not StoredAccount("a", "token", Login(None)).disabled


def test_the_file_of_a_login_is_written_instead_of_it() -> None:
    elsewhere = StoredAccount("work", "oauth", Login(None), path="/c/work.json", follow="always")
    file = put(EMPTY, elsewhere)
    assert entry(file) == {
        "kind": "oauth",
        "credentials": "/c/work.json",
        "follow": "always",
        "disabled": False,
    }
    assert file.account("work") == elsewhere
    assert StoredAccount("a", "oauth", Login(None)).follow == "never"


@pytest.mark.parametrize(
    ("more", "follow", "disabled"),
    [
        ({}, "auto", False),
        ({"follow": "always"}, "always", False),
        ({"follow": "never", "disabled": True}, "never", True),
        ({"follow": "auto", "disabled": "yes"}, "auto", False),
    ],
)
@pytest.mark.parametrize("path", ["/c/work.json", "C:\\work.json", "\\\\host\\work.json"])
def test_a_reference_is_an_absolute_path_and_is_followed_as_it_says(
    path: str, more: dict[str, Any], follow: str, disabled: bool
) -> None:
    file = read(work={"credentials": path, **more})
    assert file.problems == ()
    assert file.account("work") == StoredAccount(
        "work", "oauth", Login(None), disabled, path, follow
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"credentials": "work.json"}, "no absolute path"),
        ({"credentials": "./:work.json"}, "no absolute path"),
        ({"credentials": None}, "no absolute path"),
        ({"credentials": ""}, "no absolute path"),
        ({"credentials": "/c/w.json", "follow": "sometimes"}, "none of auto, always, never"),
    ],
)
def test_a_reference_that_cannot_be_used_is_said(wrong: dict[str, Any], said: str) -> None:
    file = read(work=wrong)
    assert file.account("work") is None
    assert said in file.problems[0]


def test_the_owners_switch_changes_that_word_alone() -> None:
    file = set_disabled(read(work=WORK), "work", True)
    assert entry(file) == {**WORK, "disabled": True}


def test_a_new_pair_changes_what_it_brings_and_the_kind_is_written_down() -> None:
    """A store of claude-code-proxy has no kinds; a dead login lives again."""
    bare = {key: value for key, value in WORK.items() if key != "kind"}
    dead = declared_dead(read(work=bare), "work", Secret("rt-1"))
    assert dead is not None
    assert entry(dead)["needsLogin"] is True
    assert entry(dead)["needsLoginOf"] == token_digest(Secret("rt-1"))
    pair = Pair(Secret("at-2"), Secret("rt-2"), 1_800_000_000.0, ("a", "b"), "c@d.example")
    after = renewed(dead, "work", Secret("rt-1"), pair)
    assert after is not None
    assert entry(after) == {
        "kind": "oauth",
        "accessToken": "at-2",
        "refreshToken": "rt-2",
        "expiresAt": 1_800_000_000_000,
        "scopes": ["a", "b"],
        "email": "c@d.example",
        "disabled": False,
        "needsLogin": False,
    }


def test_what_an_answer_does_not_say_stays() -> None:
    after = renewed(read(work=WORK), "work", Secret("rt-1"), Pair(Secret("at-2")))
    assert after is not None
    assert entry(after) == {**WORK, "accessToken": "at-2"}


def test_another_credential_of_the_name_keeps_only_what_nobody_here_knows() -> None:
    everything = {**WORK, "clientId": "c", "needsLoginOf": "x", "colour": "green"}
    file = put(read(work=everything), StoredAccount("work", "token", Login(Secret("t"))))
    assert entry(file) == {
        "colour": "green",
        "kind": "token",
        "accessToken": "t",
        "disabled": False,
        "needsLogin": False,
    }
    file = StoredAccount("work", "oauth", Login(None), path="/c/w")
    after = put(read(work={**everything, "needsLogin": True}), file)
    assert set(entry(after)) == {"colour", "kind", "credentials", "follow", "disabled"}
    reference = {"credentials": "/c/w", "follow": "never", "colour": "green"}
    file = put(read(work=reference), StoredAccount("work", "token", Login(Secret("t"))))
    assert set(entry(file)) == {"colour", "kind", "accessToken", "disabled", "needsLogin"}


def test_a_name_that_could_not_be_read_back_is_refused() -> None:
    with pytest.raises(CredentialFileInvalid):
        put(EMPTY, StoredAccount("work", "oauth", Login(None)))
