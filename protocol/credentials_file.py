"""Claude Code's `.credentials.json` (`wire.md` A14), read and patched: pure.

    {"claudeAiOauth": {"accessToken", "refreshToken", "expiresAt" (ms), "scopes", ...}, ...}

It is somebody else's file: a patch changes the tokens and their date and nothing else. A logged-out
client leaves the object empty or away; that is a file without a login, not a broken one.
"""

from __future__ import annotations

import msgspec

from protocol.login import (
    CredentialFileInvalid,
    Login,
    Pair,
    data_of,
    document_of,
    epoch_in,
    milliseconds,
    text_in,
    texts_in,
    token_in,
)
from protocol.secrets import Secret

SECTION = "claudeAiOauth"
NO_LOGIN = Login(None)


def parse(data: bytes) -> Login:
    """The login in the file, `NO_LOGIN` if there is none; raises CredentialFileInvalid."""
    entry = document_of(data).get(SECTION)
    if entry is None:
        return NO_LOGIN
    if not isinstance(entry, dict):
        raise CredentialFileInvalid(f"{SECTION} is no object")
    return Login(
        token_in(entry, "accessToken"),
        token_in(entry, "refreshToken"),
        epoch_in(entry, "expiresAt"),
        texts_in(entry, "scopes"),
        owner=text_in(entry, "accountUuid") or text_in(entry, "organizationUuid") or "",
        client_id=text_in(entry, "clientId") or "",
    )


def renewed(data: bytes, sent: Secret, pair: Pair) -> bytes | None:
    """The file with the new tokens, if it still holds the refresh token that was `sent`; else
    None. Raises CredentialFileInvalid."""
    if parse(data).refresh_token != sent:
        return None
    document = document_of(data)
    entry = document[SECTION]
    entry["accessToken"] = pair.access_token.reveal()
    entry["refreshToken"] = (pair.refresh_token or sent).reveal()
    if pair.expires_at is not None:
        entry["expiresAt"] = milliseconds(pair.expires_at)
    if pair.scopes is not None and "scopes" in entry:
        entry["scopes"] = list(pair.scopes)
    return data_of(document, like=data)


def with_owner(login: Login, client_file: bytes) -> Login:
    """`login` with whose it is, where Claude Code's own `~/.claude.json` (`oauthAccount`) says so;
    unchanged where that file cannot be read."""
    try:
        account = document_of(client_file).get("oauthAccount")
    except CredentialFileInvalid:
        return login
    if not isinstance(account, dict):
        return login
    return msgspec.structs.replace(
        login,
        email=login.email or text_in(account, "emailAddress"),
        owner=login.owner or text_in(account, "accountUuid") or "",
    )
