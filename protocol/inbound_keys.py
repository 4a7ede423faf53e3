"""Inbound keys: what clients show at our own door (`interface.md`, `keys.json`).

A key is `sk-sup-ID-SECRET`. The id finds its entry, so that only one salted hash is compared, in
constant time. The secret has 256 random bits, which no dictionary has, so a plain SHA-256 is
enough; what is stored cannot be turned back into a key.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping

import msgspec

from protocol.login import CredentialFileInvalid
from protocol.secrets import Secret

PREFIX = "sk-sup-"
NAME_CHARACTERS = 64
RANDOM_BYTES = 20
"""Four for the id, sixteen for the salt."""

_KEY = re.compile(r"sk-sup-([0-9a-f]{8})-([A-Za-z0-9_-]{43})")


class KeyLimits(msgspec.Struct, frozen=True):
    """What a key may spend; 0 is no limit. `budget_per_day` is in US dollars a UTC day."""

    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    budget_per_day: float = 0.0

    @property
    def by_usage(self) -> bool:
        """Whether what an answer used counts for one of them."""
        return bool(self.tokens_per_minute or self.budget_per_day)


class InboundKey(msgspec.Struct, frozen=True):
    """One entry; times in epoch seconds, `expires` None for never. An owner's key may manage, and
    may use subscription credentials. `spent` is in US dollars on the UTC day `spent_day`."""

    id: str
    name: str
    salt: bytes
    digest: bytes
    owner: bool = False
    created: float = 0.0
    expires: float | None = None
    revoked: float | None = None
    last_used: float | None = None
    limits: KeyLimits = KeyLimits()
    spent_day: str = ""
    spent: float = 0.0

    def __repr__(self) -> str:
        return f"InboundKey({self.id} {self.name!r})"

    def state(self, now: float) -> str:
        """`valid`, `expired` or `revoked`; `now` in epoch seconds."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "valid"


def made(
    name: str,
    random_bytes: bytes,
    now: float,
    *,
    days: float | None,
    owner: bool,
    limits: KeyLimits,
    text: str,
) -> tuple[InboundKey, Secret]:
    """A new key: its entry, and the key itself, which is told once and never stored.

    `random_bytes` are `RANDOM_BYTES`; `text` is the secret's 43
    characters. Raises CredentialFileInvalid for a name that could not be told from a column.
    """
    if not name or len(name) > NAME_CHARACTERS or not name.isprintable() or name != name.strip():
        raise CredentialFileInvalid(
            f"a key's name is 1 to {NAME_CHARACTERS} printable characters, none of them a space "
            "at its ends"
        )
    key_id, salt = random_bytes[:4].hex(), random_bytes[4:20]
    key = InboundKey(
        key_id,
        name,
        salt,
        digest_of(salt, text),
        owner=owner,
        created=now,
        expires=now + days * 86400 if days else None,
        limits=limits,
    )
    return key, Secret(f"{PREFIX}{key_id}-{text}")


class Keyring(msgspec.Struct, frozen=True):
    """The keys by id, as the door looks them up."""

    by_id: Mapping[str, InboundKey] = {}

    def find(self, offered: bytes | None) -> InboundKey | None:
        """Whose key that is, valid or not; None for what is none of ours."""
        if not offered or not offered.startswith(b"sk-sup-"):
            return None
        found = _KEY.fullmatch(offered.decode("latin-1"))
        if found is None:
            return None
        key_id, text = found.groups()
        key = self.by_id.get(key_id)
        if key is None or not hmac.compare_digest(digest_of(key.salt, text), key.digest):
            return None
        return key


def digest_of(salt: bytes, text: str) -> bytes:
    """What is stored of a secret."""
    return hashlib.sha256(salt + text.encode()).digest()
