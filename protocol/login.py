"""A login: a pair of tokens as the credential files keep it, and what all of those files share."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec

from protocol.config.forms import FORMS
from protocol.secrets import Secret

EPOCH_MS_MAX = 4e12
"""Year 2096: past it a date is no date."""


class CredentialFileInvalid(ValueError):
    """A credential file whose content cannot be used; the message names no secret."""


class CredentialFileNewer(CredentialFileInvalid):
    """A credential file that a newer version of the program wrote: it is left alone."""


class CredentialsUnusable(Exception):
    """A credential file cannot be used; the message names it, says why and what to do."""


class CredentialsRefused(CredentialsUnusable):
    """Others than its owner can read or change it: not used until that is put right."""


class CredentialsLocked(CredentialsUnusable):
    """Somebody else keeps the file locked for too long."""


class Content(msgspec.Struct, frozen=True):
    """What a credential file has, and when it was changed last (epoch seconds)."""

    data: bytes
    modified_at: float

    def __repr__(self) -> str:
        return f"Content({len(self.data)} bytes)"


class Login(msgspec.Struct, frozen=True):
    """What a credential file says of one login.

    `expires_at` is in epoch seconds, None when the file does not say. Without a `refresh_token` it
    can be used and not renewed. `owner` names whose it is, as far as the file tells; `client_id`
    is the one it was obtained with. `needs_login`: only its owner can bring it back.
    """

    access_token: Secret | None
    refresh_token: Secret | None = None
    expires_at: float | None = None
    scopes: tuple[str, ...] = ()
    email: str | None = None
    owner: str = ""
    client_id: str = ""
    needs_login: bool = False


class Pair(msgspec.Struct, frozen=True):
    """New tokens from the token endpoint; what is None stays as it was."""

    access_token: Secret
    refresh_token: Secret | None = None
    expires_at: float | None = None
    scopes: tuple[str, ...] | None = None
    email: str | None = None
    owner: str | None = None


def token_digest(token: Secret | None) -> str:
    """Sixteen hex digits that stand for a token where it must not be written; "" for none."""
    if token is None:
        return ""
    return hashlib.sha256(b"refresh token\0" + token.reveal().encode()).hexdigest()[:16]


def document_of(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`, every number and key as written; raises CredentialFileInvalid."""
    try:
        document = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise CredentialFileInvalid("not UTF-8") from None
    except json.JSONDecodeError as error:
        raise CredentialFileInvalid(f"not JSON (line {error.lineno})") from None
    except (RecursionError, ValueError):  # ValueError: a number of thousands of digits
        raise CredentialFileInvalid("not JSON that can be read") from None
    if not isinstance(document, dict):
        raise CredentialFileInvalid("not a JSON object")
    return document


def data_of(document: dict[str, Any], like: bytes = b"{\n") -> bytes:
    """`document` as text, indented if `like`, the old text, was."""
    head = like.lstrip(b"\xef\xbb\xbf \t\r\n")[1:]
    indented = head[: len(head) - len(head.lstrip())]
    lines = b"\n" in indented
    width = len(indented.rpartition(b"\n")[2].expandtabs(2)) if lines else 0
    text = json.dumps(
        document,
        ensure_ascii=True,  # lone surrogates are legal in JSON and not in UTF-8
        indent=(width or 2) if lines else None,
        separators=None if lines else (",", ":"),
    )
    return text.encode() + (b"\n" if lines or like.endswith(b"\n") else b"")


def token_in(entry: dict[str, Any], key: str) -> Secret | None:
    """A token of `entry`; None where there is none or an empty one.

    Raises CredentialFileInvalid for what could not go into a header.
    """
    value = entry.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or FORMS["credential"].check(value) is None:
        raise CredentialFileInvalid(f"{key} is no token: it is visible ASCII without spaces")
    return Secret(value)


def epoch_in(entry: dict[str, Any], key: str) -> float | None:
    """Epoch milliseconds of `entry` as seconds; None where there are none."""
    value = entry.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CredentialFileInvalid(f"{key} is no number of milliseconds")
    if not 0 <= value <= EPOCH_MS_MAX:
        raise CredentialFileInvalid(f"{key} is no date in milliseconds")
    return value / 1000


def milliseconds(epoch: float) -> int:
    """Epoch seconds as the files have them."""
    return round(epoch * 1000)


def texts_in(entry: dict[str, Any], key: str) -> tuple[str, ...]:
    """A list of texts, or one text separated by spaces; empty for anything else."""
    value = entry.get(key)
    if isinstance(value, str):
        return tuple(value.split())
    if isinstance(value, list):
        return tuple(item for item in value if isinstance(item, str))
    return ()


def text_in(entry: dict[str, Any], key: str) -> str | None:
    """A printable text of `entry`; None for anything else."""
    value = entry.get(key)
    return value if isinstance(value, str) and value and value.isprintable() else None
