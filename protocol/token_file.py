"""`accounts.json`, the token store (`interface.md`, Files): pure edits of its document.

    {"version": 1, "accounts": {NAME: {"kind", "accessToken", "refreshToken", "expiresAt" (ms),
     "scopes", "email", "disabled", "needsLogin"}}}

`accessToken` holds the secret of every kind, an API key too. The file of claude-code-proxy has the
same shape with only the tokens and the date, so a missing kind is told by them. What this program
does not know stays as it is. `needsLoginOf` says which refresh token `needsLogin` was said of. An
entry with `credentials` (an absolute path) and `follow` in place of tokens is a login in a file of
Claude Code's: two copies of one login would log each other out, so it is used where it lies.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import msgspec

from protocol.config.forms import FORMS
from protocol.login import (
    CredentialFileInvalid,
    CredentialFileNewer,
    Login,
    Pair,
    data_of,
    document_of,
    epoch_in,
    milliseconds,
    text_in,
    texts_in,
    token_digest,
    token_in,
)
from protocol.secrets import Secret

VERSION = 1
KINDS = ("api_key", "token", "oauth")
FOLLOW = ("auto", "always", "never")
_SECRETS = ("accessToken", "refreshToken", "expiresAt", "scopes", "clientId", "email")
KEYS = frozenset(
    ("kind", *_SECRETS, "disabled", "needsLogin", "needsLoginOf", "credentials", "follow")
)
"""What an entry says of its credential: none of it holds for another one."""

API_KEY_PREFIX = "sk-ant-api"


class StoredAccount(msgspec.Struct, frozen=True):
    """One account of the store. `login.access_token` is the secret, whatever its `kind`.

    `path` names the file that has the login, "" when the store has it; `follow` as in `[[account]]`.
    """

    name: str
    kind: str  # api_key | token | oauth
    login: Login
    disabled: bool = False
    path: str = ""
    follow: str = "never"


class TokenFile(msgspec.Struct, frozen=True):
    """The store as read. `problems`: entries that cannot be used, each with its reason; they stay
    in the file."""

    document: Mapping[str, Any]
    accounts: tuple[StoredAccount, ...] = ()
    problems: tuple[str, ...] = ()

    def account(self, name: str) -> StoredAccount | None:
        """The account of that name, if there is a usable one."""
        return next((one for one in self.accounts if one.name == name), None)

    def __contains__(self, name: object) -> bool:
        """Whether an entry of that name is there, usable or not."""
        return name in self.document["accounts"]

    def __repr__(self) -> str:
        # The document has its secrets in the open.
        return f"TokenFile({', '.join(self.document['accounts'])})"


EMPTY = TokenFile({"version": VERSION, "accounts": {}})
"""The store before its first account."""


def parse(data: bytes) -> TokenFile:
    """Raises CredentialFileInvalid where the file as a whole cannot be used, and its kind
    CredentialFileNewer for a later version."""
    document = document_of(data)
    version = document.setdefault("version", VERSION)
    if isinstance(version, bool) or not isinstance(version, int):
        raise CredentialFileInvalid("version is no number")
    if version > VERSION:
        raise CredentialFileNewer(f"version {version}, which only a newer program understands")
    entries = document.setdefault("accounts", {})
    if not isinstance(entries, dict):
        raise CredentialFileInvalid("accounts is no object")
    return _read(document)


def encode(file: TokenFile) -> bytes:
    """The file's content."""
    return data_of(dict(file.document))


def put(file: TokenFile, account: StoredAccount) -> TokenFile:
    """With this account, new or in place of the one of its name, of which only unknown keys stay.

    Raises CredentialFileInvalid for a name or a secret that could not be read back.
    """
    if FORMS["name"].check(account.name) is None:
        raise CredentialFileInvalid(f"an account's name is {FORMS['name'].allowed}")
    no_token = account.login.access_token is None and account.login.refresh_token is None
    if no_token and not account.path:
        raise CredentialFileInvalid(f"account {account.name!r} would have no credential")
    document = copy.deepcopy(dict(file.document))
    known = document["accounts"].get(account.name)
    kept = known if isinstance(known, dict) else {}
    unknown = {key: value for key, value in kept.items() if key not in KEYS}
    document["accounts"][account.name] = unknown | _entry(account)
    return _read(document)


def removed(file: TokenFile, name: str) -> TokenFile:
    """Without that entry, usable or not; raises KeyError where there is none."""
    document = copy.deepcopy(dict(file.document))
    del document["accounts"][name]
    return _read(document)


def set_disabled(file: TokenFile, name: str, disabled: bool) -> TokenFile:
    """Switched on or off by its owner; raises KeyError where there is none."""
    return _patched(file, name, {"disabled": disabled})


def renewed(file: TokenFile, name: str, sent: Secret, pair: Pair) -> TokenFile | None:
    """With the new tokens, if the entry still holds the refresh token that was `sent`; else None:
    somebody else was faster, and theirs must not be overwritten."""
    account = file.account(name)
    if account is None or account.login.refresh_token != sent:
        return None
    changes: dict[str, Any] = {
        "kind": account.kind,
        "accessToken": pair.access_token.reveal(),
        "refreshToken": (pair.refresh_token or sent).reveal(),
        "needsLogin": False,
        "needsLoginOf": None,
    }
    if pair.expires_at is not None:
        changes["expiresAt"] = milliseconds(pair.expires_at)
    if pair.scopes is not None:
        changes["scopes"] = list(pair.scopes)
    if pair.email is not None:
        changes["email"] = pair.email
    return _patched(file, name, changes)


def declared_dead(file: TokenFile, name: str, refresh_token: Secret | None) -> TokenFile | None:
    """Marked as needing a login, if it still holds that refresh token; else None."""
    account = file.account(name)
    if account is None or account.login.refresh_token != refresh_token:
        return None
    return _patched(
        file, name, {"needsLogin": True, "needsLoginOf": token_digest(refresh_token) or None}
    )


def _patched(file: TokenFile, name: str, changes: Mapping[str, Any]) -> TokenFile:
    document = copy.deepcopy(dict(file.document))
    entry = document["accounts"][name]
    for key, value in changes.items():
        if value is None:
            entry.pop(key, None)
        else:
            entry[key] = value
    return _read(document)


def _entry(account: StoredAccount) -> dict[str, Any]:
    login = account.login
    entry: dict[str, Any] = {"kind": account.kind}
    if account.path:
        entry |= {"credentials": account.path, "follow": account.follow}
        return entry | {"disabled": account.disabled}
    if login.access_token is not None:
        entry["accessToken"] = login.access_token.reveal()
    if login.refresh_token is not None:
        entry["refreshToken"] = login.refresh_token.reveal()
    if login.expires_at is not None:
        entry["expiresAt"] = milliseconds(login.expires_at)
    if login.scopes:
        entry["scopes"] = list(login.scopes)
    if login.email:
        entry["email"] = login.email
    if login.client_id:
        entry["clientId"] = login.client_id
    return entry | {"disabled": account.disabled, "needsLogin": login.needs_login}


def _read(document: dict[str, Any]) -> TokenFile:
    accounts: list[StoredAccount] = []
    problems: list[str] = []
    for name, entry in document["accounts"].items():
        try:
            accounts.append(_account(name, entry))
        except CredentialFileInvalid as reason:
            problems.append(f"account {name[:80]!r}: {reason}")
    return TokenFile(document, tuple(accounts), tuple(problems))


def _account(name: str, entry: object) -> StoredAccount:
    if FORMS["name"].check(name) is None:
        raise CredentialFileInvalid(f"the name is not {FORMS['name'].allowed}")
    if not isinstance(entry, dict):
        raise CredentialFileInvalid("not an object")
    if "credentials" in entry:
        return _reference(name, entry)
    access_token, refresh_token = token_in(entry, "accessToken"), token_in(entry, "refreshToken")
    kind = entry.get("kind")
    if kind is None:
        kind = _kind(access_token, refresh_token)
    elif kind not in KINDS:
        raise CredentialFileInvalid(f"kind is none of {', '.join(KINDS)}")
    if access_token is None and (refresh_token is None or kind != "oauth"):
        raise CredentialFileInvalid("no accessToken")
    dead_token = text_in(entry, "needsLoginOf")
    needs_login = entry.get("needsLogin") is True and dead_token in (
        None,
        token_digest(refresh_token),
    )
    email = text_in(entry, "email")
    login = Login(
        access_token,
        refresh_token if kind == "oauth" else None,
        epoch_in(entry, "expiresAt"),
        texts_in(entry, "scopes"),
        email,
        email or "",
        text_in(entry, "clientId") or "",
        needs_login,
    )
    return StoredAccount(name, kind, login, entry.get("disabled") is True)


def _reference(name: str, entry: dict[str, Any]) -> StoredAccount:
    path, follow = text_in(entry, "credentials"), entry.get("follow", "auto")
    if path is None or not (path.startswith(("/", "\\")) or path[1:2] == ":"):
        raise CredentialFileInvalid("credentials is no absolute path")
    if follow not in FOLLOW:
        raise CredentialFileInvalid(f"follow is none of {', '.join(FOLLOW)}")
    return StoredAccount(name, "oauth", Login(None), entry.get("disabled") is True, path, follow)


def _kind(access_token: Secret | None, refresh_token: Secret | None) -> str:
    if refresh_token is not None:
        return "oauth"
    key = access_token is not None and access_token.reveal().startswith(API_KEY_PREFIX)
    return "api_key" if key else "token"
