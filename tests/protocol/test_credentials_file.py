"""Claude Code's own login file: read, and changed in nothing but its tokens."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.credentials_file import NO_LOGIN, parse, renewed, with_owner
from protocol.login import CredentialFileInvalid, Pair
from protocol.secrets import Secret

LOGIN = {
    "accessToken": "sk-ant-oat01-a",
    "refreshToken": "sk-ant-ort01-a",
    "expiresAt": 1_790_000_000_123,
    "scopes": ["user:inference", "user:profile"],
    "subscriptionType": "max",
    "rateLimitTier": "default_claude_max_20x",
    "organizationUuid": "org-1",
}
PAIR = Pair(Secret("at-new"), Secret("rt-new"), 1_790_028_800.0)


def text(entry: object = LOGIN, **more: object) -> bytes:
    return json.dumps({"claudeAiOauth": entry, **more}, separators=(",", ":")).encode()


def test_a_login_is_read() -> None:
    login = parse(text())
    assert login.access_token == Secret("sk-ant-oat01-a")
    assert login.refresh_token == Secret("sk-ant-ort01-a")
    assert login.expires_at == 1_790_000_000.123
    assert login.scopes == ("user:inference", "user:profile")
    assert login.owner == "org-1"


@pytest.mark.parametrize("data", [b"{}", b'{"claudeAiOauth": null}', b'{"mcpOAuth": {}}'])
def test_a_logged_out_client_has_no_login_and_no_broken_file(data: bytes) -> None:
    assert parse(data) == NO_LOGIN


@pytest.mark.parametrize("data", [b"", b"[]", b"{", text(7), text(LOGIN | {"accessToken": 7})])
def test_what_is_no_login_file_is_refused(data: bytes) -> None:
    with pytest.raises(CredentialFileInvalid):
        parse(data)


@pytest.mark.parametrize("indent", [None, 1, 2, 4])
def test_a_patch_changes_tokens_and_date_and_keeps_layout_and_order(indent: int | None) -> None:
    separators = (",", ":") if indent is None else None
    document = {"mcpOAuth": {"x": [1, 1.5]}, "claudeAiOauth": LOGIN, "z": None}
    data = json.dumps(document, indent=indent, separators=separators).encode()
    patched = renewed(data, Secret("sk-ant-ort01-a"), PAIR)
    assert patched is not None
    changed = LOGIN | {
        "accessToken": "at-new",
        "refreshToken": "rt-new",
        "expiresAt": 1_790_028_800_000,
    }
    expected = json.dumps(
        document | {"claudeAiOauth": changed}, indent=indent, separators=separators
    )
    assert patched.decode().rstrip("\n") == expected


def test_a_patch_meant_for_another_refresh_token_is_not_made() -> None:
    assert renewed(text(), Secret("sk-ant-ort01-older"), PAIR) is None
    assert renewed(b"{}", Secret("sk-ant-ort01-a"), PAIR) is None


def test_whose_login_it_is_comes_from_the_clients_own_file() -> None:
    login = parse(text({"accessToken": "a"}))
    told = with_owner(
        login, b'{"oauthAccount": {"emailAddress": "a@b.example", "accountUuid": "u"}}'
    )
    assert (told.email, told.owner) == ("a@b.example", "u")
    for nothing in (b"", b"{}", b'{"oauthAccount": 5}'):
        assert with_owner(login, nothing) == login


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=6), json_values, max_size=4), json_values)
def test_whatever_else_is_in_the_file_stays_as_it_was(more: dict[str, Any], extra: Any) -> None:
    document = {**more, "claudeAiOauth": {**LOGIN, "extra": extra}}
    patched = renewed(json.dumps(document).encode(), Secret("sk-ant-ort01-a"), PAIR)
    assert patched is not None
    written = json.loads(patched)
    for key in ("accessToken", "refreshToken", "expiresAt"):
        written["claudeAiOauth"][key] = LOGIN[key]
    assert written == document


@pytest.mark.parametrize("key", ["accessToken", "refreshToken"])
def test_a_token_that_is_none_is_not_quoted(key: str) -> None:
    data = json.dumps({"claudeAiOauth": {key: "sk-ant-canary and more"}}).encode()
    with pytest.raises(CredentialFileInvalid) as refused:
        parse(data)
    assert "canary" not in str(refused.value)


def test_an_answer_without_a_refresh_token_keeps_the_old_one() -> None:
    data = json.dumps({"claudeAiOauth": {"accessToken": "a", "refreshToken": "r"}}).encode()
    changed = renewed(data, Secret("r"), Pair(Secret("new")))
    assert changed is not None
    assert json.loads(changed) == {"claudeAiOauth": {"accessToken": "new", "refreshToken": "r"}}


def test_whose_login_it_is_and_how_it_was_obtained_is_read_where_it_stands() -> None:
    login = parse(text({**LOGIN, "accountUuid": "person-1", "clientId": "client-9"}))
    assert (login.owner, login.client_id) == ("person-1", "client-9")
    assert parse(text()).client_id == ""


def test_scopes_are_changed_where_there_are_some_and_not_added() -> None:
    pair = Pair(Secret("at-new"), Secret("rt-new"), None, ("a", "b"))
    sent = Secret("sk-ant-ort01-a")
    changed = renewed(text(), sent, pair)
    assert changed is not None
    assert json.loads(changed)["claudeAiOauth"]["scopes"] == ["a", "b"]
    bare = {key: value for key, value in LOGIN.items() if key != "scopes"}
    without = renewed(text(bare), sent, pair)
    assert without is not None
    assert "scopes" not in json.loads(without)["claudeAiOauth"]
    silent = renewed(text(), sent, PAIR)
    assert silent is not None
    assert json.loads(silent)["claudeAiOauth"]["scopes"] == LOGIN["scopes"]
