"""Who sends a request: its id, its owner, and a name for a credential that is not ours."""

from __future__ import annotations

import hashlib
import re

import msgspec

from protocol.gate import is_local
from protocol.inbound_keys import InboundKey
from protocol.request import RequestHead, Route
from protocol.secrets import Secret

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

SESSION_CHARACTERS = 128
"""Claude Code's are 36; what is longer would only fill the memory of sessions."""


def given_request_id(head: RequestHead) -> str | None:
    """The client's `x-request-id`, if it may be used (`interface.md` rule 11)."""
    given = head.text(b"x-request-id")
    return given if given is not None and _REQUEST_ID.fullmatch(given) else None


def is_owner(head: RequestHead, route: Route, key: InboundKey | None = None) -> bool:
    """Whether subscription credentials may serve it: the owner's own Claude Code, on this machine
    or with an owner's key. Somebody else's `key` is not the owner, wherever it comes from.

    Listing models and counting tokens cost nothing and carry no session (rule 19).
    """
    if not (key.owner if key is not None else is_local(head)):
        return False
    if route in (Route.MODELS, Route.COUNT_TOKENS):
        return True
    return bool(head.header(b"x-claude-code-session-id"))


def session_of(head: RequestHead) -> str | None:
    """What Claude Code calls its conversation; None for other clients and for nonsense."""
    session = head.text(b"x-claude-code-session-id")
    return session if session and len(session) <= SESSION_CHARACTERS else None


def client_credential(head: RequestHead) -> Secret | None:
    """The credential that a client brought along, wrapped so that no log can show it."""
    key = head.text(b"x-api-key")
    value = key or (head.text(b"authorization") or "").partition(" ")[2].strip()
    return Secret(value) if value else None


def client_name(head: RequestHead, salt: bytes) -> str:
    """`client-` and eight hex digits: the same for the same credential, and nothing of it.

    Whichever header carries it. `salt` is random per process, so that the name cannot be found by
    trying credentials.
    """
    key = head.header(b"x-api-key")
    if key:
        return _name_of(key, salt)
    given = head.header(b"authorization") or b""
    return _name_of(given.partition(b" ")[2].strip() or given, salt)


def login_name(credentials: bytes, salt: bytes) -> str | None:
    """The name of a client that sends the login of this `.credentials.json` (`wire.md` A14).

    None where there is none in it: logged out, half written, of another form.
    """
    try:
        token = msgspec.json.decode(credentials, type=_Credentials).login.access_token
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return _name_of(token.encode("utf-8", "replace"), salt) if token else None


class _Login(msgspec.Struct, frozen=True):
    access_token: str = msgspec.field(default="", name="accessToken")


class _Credentials(msgspec.Struct, frozen=True):
    login: _Login = msgspec.field(default=_Login(), name="claudeAiOauth")


def _name_of(credential: bytes, salt: bytes) -> str:
    return f"client-{hashlib.sha256(salt + credential).hexdigest()[:8]}"
