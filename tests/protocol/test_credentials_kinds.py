"""Which kind of account comes of which credential, and where it is sent."""

from __future__ import annotations

import msgspec
import pytest

from protocol.config.model import Account
from protocol.credentials import KnownLogin, Source, account_specs, sources, subject
from tests.protocol.test_credentials import configured, known, specs, store

TWO = """
[upstream]
base_url = "https://main.test"
[[account]]
name = "key"
api_key = "sk-ant-api03-1"
[[account]]
name = "bearer"
token = "sk-ant-oat01-1"
base_url = "https://other.test"
"""


def test_a_configured_secret_is_a_key_or_a_bearer_as_its_word_says() -> None:
    found = specs(known(), TWO)
    key, bearer = found["key"], found["bearer"]
    assert (key.kind, key.base_url) == ("api_key", "https://main.test")
    assert key.credential is not None
    assert not key.credential.bearer
    assert (bearer.kind, bearer.base_url) == ("token", "https://other.test")
    assert bearer.credential is not None
    assert bearer.credential.bearer


def test_a_stored_secret_is_sent_as_its_kind_wants_it() -> None:
    now = known(
        store(
            k={"kind": "api_key", "accessToken": "sk-ant-api03-1"},
            t={"kind": "token", "accessToken": "at-1", "expiresAt": 1_790_000_000_000},
            o={"kind": "oauth", "accessToken": "at-2", "refreshToken": "rt-2"},
        )
    )
    found = specs(now, "")
    bearers = {name: one.credential.bearer for name, one in found.items() if one.credential}
    assert bearers == {"k": False, "t": True, "o": True}
    assert {name: one.kind for name, one in found.items()} == {
        "k": "api_key",
        "t": "token",
        "o": "oauth",
    }
    assert found["t"].credential is not None
    assert found["t"].credential.expires_at == 1_790_000_000.0
    assert not any(one.needs_login for one in found.values())
    assert [one.name for one in sources(configured(""), now)] == ["o"]


def test_an_account_without_any_credential_is_a_mistake_of_ours() -> None:
    bare = msgspec.structs.replace(configured(TWO), accounts=(Account(name="bare"),))
    with pytest.raises(ValueError, match="bare has no credential"):
        account_specs(bare, known())


def test_a_login_without_an_access_token_counts_as_expired_for_ever() -> None:
    stored = known(
        store(o={"kind": "oauth", "refreshToken": "rt-2", "expiresAt": 1_900_000_000_000})
    )
    one = subject(stored, Source("o"))
    assert (one.expires_at, one.credential, one.changed_at) == (0.0, None, 50.0)
    whole = known(store(o={"kind": "oauth", "accessToken": "a", "expiresAt": 10**12}))
    assert subject(whole, Source("o")).expires_at == 1e9


def test_of_a_file_that_was_never_read_nothing_is_known() -> None:
    assert KnownLogin().changed_at == known().stored_at == 0.0
