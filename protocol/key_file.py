"""`keys.json` (`interface.md`, Files): pure edits of its document.

    {"version": 1, "keys": [{"id", "name", "salt", "hash", "owner", "created", "expires", "revoked",
     "last_used", "requests_per_minute", "tokens_per_minute", "budget_per_day",
     "spent": {"day", "usd"}}]}

Times are RFC 3339 UTC, salt and hash are hex. What this program does not know stays as it is. An
entry that says anything unclear lets nobody in.
"""

from __future__ import annotations

import copy
import datetime
import hashlib
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from protocol.inbound_keys import InboundKey, KeyLimits, Keyring
from protocol.key_limits import KeyUse
from protocol.login import CredentialFileInvalid, CredentialFileNewer, data_of, document_of
from protocol.status_view import utc

VERSION = 1

_ID = re.compile(r"[0-9a-f]{8}")
_HEX = re.compile(r"(?:[0-9a-f]{2})+")


class Note(msgspec.Struct, frozen=True):
    """What is written down of a key's use."""

    last_used: float
    spent_day: str = ""
    spent: float = 0.0


class KeyFile(msgspec.Struct, frozen=True):
    """`keys.json` as read. `problems`: entries that cannot be used; they let nobody in, and stay."""

    document: Mapping[str, Any]
    keys: tuple[InboundKey, ...] = ()
    problems: tuple[str, ...] = ()

    def key(self, key_id: str) -> InboundKey | None:
        return next((key for key in self.keys if key.id == key_id), None)

    def __repr__(self) -> str:
        return f"KeyFile({len(self.keys)} keys)"


EMPTY = KeyFile({"version": VERSION, "keys": []})


def ring_of(file: KeyFile) -> Keyring:
    """What the door looks keys up in."""
    return Keyring({key.id: key for key in file.keys})


def key_view(key: InboundKey, now: float, used: KeyUse | None = None) -> dict[str, Any]:
    """One key for `/status/keys` and `keys list --json`, without what it is proven with. `used` is
    null where nothing runs that counts."""

    def shown(epoch: float | None) -> str | None:
        return utc(epoch) if epoch is not None else None

    return {
        "id": key.id,
        "name": key.name,
        "state": key.state(now),
        "owner": key.owner,
        "created": utc(key.created),
        "expires": shown(key.expires),
        "revoked": shown(key.revoked),
        "last_used": shown(used.last_used if used is not None else key.last_used),
        "requests_per_minute": key.limits.requests_per_minute,
        "tokens_per_minute": key.limits.tokens_per_minute,
        "budget_per_day": key.limits.budget_per_day,
        "used": None
        if used is None
        else {
            "requests_last_minute": used.requests_last_minute,
            "tokens_last_minute": used.tokens_last_minute,
            "cost_today": used.cost_today,
        },
    }


# ------------------------------------------------------------------------------------- the file


def parse(data: bytes) -> KeyFile:
    """Raises CredentialFileInvalid where the file as a whole cannot be used, and its kind
    CredentialFileNewer for a later version."""
    document = document_of(data)
    version = document.setdefault("version", VERSION)
    if isinstance(version, bool) or not isinstance(version, int):
        raise CredentialFileInvalid("version is no number")
    if version > VERSION:
        raise CredentialFileNewer(f"version {version}, which only a newer program understands")
    if not isinstance(document.setdefault("keys", []), list):
        raise CredentialFileInvalid("keys is no list")
    return _read(document)


def encode(file: KeyFile) -> bytes:
    """The file's content."""
    return data_of(dict(file.document))


def added(file: KeyFile, key: InboundKey) -> KeyFile:
    """With one key more. Raises CredentialFileInvalid where its name is a valid key's already."""
    if any(one.name == key.name and one.state(key.created) == "valid" for one in file.keys):
        raise CredentialFileInvalid(f"there is a valid key named {key.name!r} already")
    if any(_id_of(entry) == key.id for entry in file.document["keys"]):
        raise CredentialFileInvalid(f"there is a key with the id {key.id} already; try again")
    document = copy.deepcopy(dict(file.document))
    document["keys"].append(_entry(key))
    return _read(document)


def revoked(file: KeyFile, key_id: str, now: float) -> KeyFile:
    """With that key revoked; one that was revoked before keeps its time. Raises KeyError."""
    key = file.key(key_id)
    if key is None:
        raise KeyError(key_id)
    if key.revoked is not None:
        return file
    return _patched(file, key_id, {"revoked": utc(now)})


def deleted(file: KeyFile, key_id: str) -> KeyFile:
    """Without that entry, usable or not. Raises KeyError where there is none."""
    document = copy.deepcopy(dict(file.document))
    kept = [entry for entry in document["keys"] if _id_of(entry) != key_id]
    if len(kept) == len(document["keys"]):
        raise KeyError(key_id)
    document["keys"] = kept
    return _read(document)


def noted(file: KeyFile, notes: Mapping[str, Note]) -> KeyFile:
    """With what is known of their use; nothing is written of keys that are gone."""
    for key_id, note in notes.items():
        if file.key(key_id) is not None:
            change: dict[str, Any] = {"last_used": utc(note.last_used)}
            if note.spent_day:
                change["spent"] = {"day": note.spent_day, "usd": round(note.spent, 6)}
            file = _patched(file, key_id, change)
    return file


def _patched(file: KeyFile, key_id: str, change: Mapping[str, Any]) -> KeyFile:
    document = copy.deepcopy(dict(file.document))
    for entry in document["keys"]:
        if _id_of(entry) == key_id:
            entry.update(change)
    return _read(document)


def _id_of(entry: object) -> str:
    found = entry.get("id") if isinstance(entry, dict) else None
    return found if isinstance(found, str) else ""


def _read(document: dict[str, Any]) -> KeyFile:
    keys: list[InboundKey] = []
    problems: list[str] = []
    for place, entry in enumerate(document["keys"]):
        try:
            key = _key_in(entry)
            if any(one.id == key.id for one in keys):
                raise CredentialFileInvalid("its id is another key's as well")
        except CredentialFileInvalid as reason:
            problems.append(f"key {_id_of(entry)[:16] or place + 1} cannot be used: {reason}")
        else:
            keys.append(key)
    return KeyFile(document, tuple(keys), tuple(problems))


def _entry(key: InboundKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "salt": key.salt.hex(),
        "hash": key.digest.hex(),
        "owner": key.owner,
        "created": utc(key.created),
        "expires": utc(key.expires) if key.expires is not None else None,
        "revoked": None,
        "last_used": None,
        "requests_per_minute": key.limits.requests_per_minute,
        "tokens_per_minute": key.limits.tokens_per_minute,
        "budget_per_day": key.limits.budget_per_day,
    }


def _key_in(entry: object) -> InboundKey:
    """Whatever could let more in than its owner meant makes the entry unusable."""
    if not isinstance(entry, dict):
        raise CredentialFileInvalid("it is no object")
    if _ID.fullmatch(_id_of(entry)) is None:
        raise CredentialFileInvalid("its id is not eight hex digits")
    name = entry.get("name")
    if not isinstance(name, str) or not name.isprintable():
        raise CredentialFileInvalid("its name is no printable text")
    owner = entry.get("owner", False)
    if not isinstance(owner, bool):
        raise CredentialFileInvalid("owner is neither true nor false")
    digest = _bytes_in(entry, "hash")
    if len(digest) != hashlib.sha256().digest_size:
        raise CredentialFileInvalid("hash is no SHA-256")
    day, spent = _spent_in(entry.get("spent"))
    return InboundKey(
        _id_of(entry),
        name,
        _bytes_in(entry, "salt"),
        digest,
        owner,
        _time_in(entry, "created") or 0.0,
        _time_in(entry, "expires"),
        _time_in(entry, "revoked"),
        _time_in(entry, "last_used"),
        KeyLimits(
            int(_number_in(entry, "requests_per_minute")),
            int(_number_in(entry, "tokens_per_minute")),
            _number_in(entry, "budget_per_day"),
        ),
        day,
        spent,
    )


def _bytes_in(entry: dict[str, Any], name: str) -> bytes:
    value = entry.get(name)
    if not isinstance(value, str) or _HEX.fullmatch(value) is None:
        raise CredentialFileInvalid(f"{name} is not hex digits")
    return bytes.fromhex(value)


def _time_in(entry: dict[str, Any], name: str) -> float | None:
    value = entry.get(name)
    if value is None:
        return None
    try:
        moment = datetime.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise CredentialFileInvalid(f"{name} is no time") from None
    if moment.tzinfo is None:
        raise CredentialFileInvalid(f"{name} is a time without its zone")
    return moment.timestamp()


def _number_in(entry: dict[str, Any], name: str) -> float:
    value = entry.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        raise CredentialFileInvalid(f"{name} is no limit")
    return value


def _spent_in(found: object) -> tuple[str, float]:
    """Of its use, where nonsense costs nothing but the memory of it."""
    if not isinstance(found, dict) or not isinstance(found.get("day"), str):
        return "", 0.0
    spent = found.get("usd")
    if isinstance(spent, bool) or not isinstance(spent, int | float) or not 0 <= spent < 1e12:
        return "", 0.0
    return found["day"], float(spent)
