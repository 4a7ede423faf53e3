"""The OAuth requests for a new pair of tokens (`wire.md` A15, RFC 6749 section 6): pure."""

from __future__ import annotations

import msgspec

from protocol.login import EPOCH_MS_MAX, Login, Pair
from protocol.secrets import Secret, scrub

TOKEN_URL = "https://platform.claude.com/v1/oauth/token"  # noqa: S105 - an address
CLIENT_ID = "9d1c250a-e61b-44d9-88ed-5944d1962f5e"
SCOPES = (
    "user:profile",
    "user:inference",
    "user:sessions:claude_code",
    "user:mcp_servers",
    "user:file_upload",
    "user:plugins",
)
"""What Claude Code asks for when the login does not say what it has."""

EXPIRES_IN_UNTOLD = 3600.0
"""Seconds. An answer should say it; without it a short life is the safe assumption."""

ERROR_CHARACTERS = 120


class OAuthClient(msgspec.Struct, frozen=True):
    """Whom to ask, and as whom: `[oauth]`, or the values of Claude Code."""

    token_url: str = TOKEN_URL
    client_id: str = CLIENT_ID


class EndpointUnreachable(Exception):
    """The token endpoint gave no answer in time; `str` is for logs and carries no credential."""


class Refused(msgspec.Struct, frozen=True):
    """An answer without tokens. `error` is the endpoint's own word, bounded and printable."""

    status: int
    error: str

    @property
    def dead(self) -> bool:
        """The refresh token is not good for anything any more."""
        return self.error == "invalid_grant" and 400 <= self.status < 500

    @property
    def about_scope(self) -> bool:
        """The same may be had with other scopes."""
        return self.error == "invalid_scope" and 400 <= self.status < 500

    @property
    def counts(self) -> bool:
        """Whether it says something against the login. Being too fast or too slow does not, and
        neither does what the endpoint has to answer for itself."""
        return 400 <= self.status < 500 and self.status not in (408, 429)


class _Account(msgspec.Struct):
    uuid: str | None = None
    email_address: str | None = None


class _Tokens(msgspec.Struct):
    access_token: str
    refresh_token: str | None = None
    expires_in: float | None = None
    scope: str | None = None
    account: _Account | None = None


def refresh_body(login: Login, client: OAuthClient, *, scoped: bool = True) -> bytes:
    """The JSON that asks for a new pair; raises ValueError without a refresh token."""
    if login.refresh_token is None:
        raise ValueError("nothing to refresh with")
    wanted = {
        "grant_type": "refresh_token",
        "refresh_token": login.refresh_token.reveal(),
        "client_id": login.client_id or client.client_id,
    }
    if scoped:  # without it the same scopes are meant (RFC 6749 section 6)
        wanted["scope"] = " ".join(login.scopes or SCOPES)
    return msgspec.json.encode(wanted)


def read_answer(status: int, body: bytes, now: float) -> Pair | Refused:
    """What the endpoint answered; `now` in epoch seconds. Never raises."""
    if not 200 <= status < 300:
        return Refused(status, _error(body))
    try:
        tokens = msgspec.json.decode(body, type=_Tokens, strict=False)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Refused(status, "an answer that is none")
    if not _is_token(tokens.access_token):
        return Refused(status, "an answer without a token")
    lasts = EXPIRES_IN_UNTOLD if tokens.expires_in is None else tokens.expires_in
    if not 0 < lasts <= EPOCH_MS_MAX / 1000 - now:
        lasts = EXPIRES_IN_UNTOLD
    told, refresh_token = tokens.account or _Account(), tokens.refresh_token or ""
    return Pair(
        Secret(tokens.access_token),
        Secret(refresh_token) if _is_token(refresh_token) else None,
        now + lasts,
        tuple(tokens.scope.split()) if tokens.scope else None,
        _plain(told.email_address),
        _plain(told.uuid),
    )


def _is_token(text: str) -> bool:
    return bool(text) and all("!" <= character <= "~" for character in text)


def _plain(text: str | None) -> str | None:
    return text if text and text.isprintable() else None


def _error(body: bytes) -> str:
    """`error` of RFC 6749, or the type inside an API error; empty when neither is there."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    word = document.get("error") if isinstance(document, dict) else None
    if isinstance(word, dict):
        word = word.get("type")
    if not isinstance(word, str):
        return ""
    plain = "".join(character if character.isprintable() else "?" for character in word)
    return scrub(plain[:ERROR_CHARACTERS])
