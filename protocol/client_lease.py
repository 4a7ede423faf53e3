"""The lease on a client's settings: `client.json`, what we changed and who holds it. Standard
library only.

It is written before the settings are, and removed after they are put back. So at any moment the
settings are either as they were, or there is a lease that says how to make them so.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from protocol.settings import FileRecord, KeyRecord

VERSION = 1

NOTE = (
    "llm-supervisor changed the files below, and puts them back when it stops. "
    "If it is gone for good, run `supervisor repair`, or set each key back to what `before` says "
    "by hand (null: remove the key)."
)


class LeaseUnreadable(ValueError):
    """What was changed is not known, so nothing may be changed back. The message says why."""


class ProcessMark(NamedTuple):
    """A process, so that a stranger with the same number is not taken for it. `started` is what the
    system says about its start, "" where it says nothing."""

    pid: int
    started: str = ""


class Holder(NamedTuple):
    """Who pointed the client. `processes`: while one of them lives the lease is in use. `boot`
    names the life of the machine, "" where it has no name; `created` is RFC 3339 UTC."""

    processes: tuple[ProcessMark, ...] = ()
    boot: str = ""
    instance: str = ""
    port: int = 0
    created: str = ""


class Lease(NamedTuple):
    """`released` is false until the first of two steps; `released_at` (epoch seconds) says when
    that was. `direct_url` is where the client goes in between, for `release_after` seconds."""

    holder: Holder
    url: str
    direct_url: str
    release_after: float
    files: tuple[FileRecord, ...]
    released: bool = False
    released_at: float = 0.0

    def file(self, path: str) -> FileRecord | None:
        """The record of that file."""
        return next((file for file in self.files if file.path == path), None)

    def with_file(self, record: FileRecord) -> Lease:
        """The lease with that record in place of an older one of the same file."""
        kept = tuple(file for file in self.files if file.path != record.path)
        return self._replace(files=(*kept, record))

    def without_file(self, path: str) -> Lease:
        """The lease without that file."""
        return self._replace(files=tuple(file for file in self.files if file.path != path))


def joined(old: FileRecord | None, new: FileRecord) -> FileRecord:
    """`new`, which also takes the values of `old` for ours: until the settings are written they
    are what stands there. A key that is no longer wanted stays recorded for the same reason."""
    if old is None:
        return new
    keys = []
    for key in new.keys:
        former = old.key(key.name)
        ours = (*key.ours, *(former.ours if former else ()))
        keys.append(key._replace(ours=tuple(dict.fromkeys(ours))))
    keys += [key for key in old.keys if new.key(key.name) is None]
    return new._replace(keys=tuple(keys))


def encode(lease: Lease) -> bytes:
    """The file's content."""
    document = {
        "version": VERSION,
        "note": NOTE,
        "instance": lease.holder.instance,
        "created": lease.holder.created,
        "boot": lease.holder.boot,
        "processes": [mark._asdict() for mark in lease.holder.processes],
        "port": lease.holder.port,
        "url": lease.url,
        "direct_url": lease.direct_url,
        "release_after": lease.release_after,
        "released": lease.released,
        "released_at": lease.released_at,
        "files": [
            {**file._asdict(), "keys": [key._asdict() for key in file.keys]} for file in lease.files
        ],
    }
    return json.dumps(document, indent=2).encode() + b"\n"


def decode(content: bytes) -> Lease:
    """The lease. Raises LeaseUnreadable for anything that `encode` did not write."""
    try:
        document = json.loads(content)
        version = document["version"]
        if version != VERSION:
            raise LeaseUnreadable(f"it is of version {version!r}, this program knows {VERSION}")
        return _lease(document)
    except LeaseUnreadable:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise LeaseUnreadable("it is damaged") from None


def _lease(document: dict[str, Any]) -> Lease:
    marks = tuple(
        ProcessMark(_is(int, mark["pid"]), _is(str, mark["started"]))
        for mark in _is(list, document["processes"])
    )
    holder = Holder(
        marks,
        _is(str, document["boot"]),
        _is(str, document["instance"]),
        _is(int, document["port"]),
        _is(str, document["created"]),
    )
    return Lease(
        holder,
        _is(str, document["url"]),
        _is(str, document["direct_url"]),
        float(_is((int, float), document["release_after"])),
        tuple(_file(file) for file in _is(list, document["files"])),
        _is(bool, document["released"]),
        float(_is((int, float), document["released_at"])),
    )


def _file(document: dict[str, Any]) -> FileRecord:
    return FileRecord(
        _is(str, document["path"]),
        _is(bool, document["existed"]),
        _is(bool, document["had_env"]),
        _blank(document["env_blank"]),
        _blank(document["top_blank"]),
        tuple(_key(key) for key in _is(list, document["keys"])),
    )


def _key(document: dict[str, Any]) -> KeyRecord:
    before = document["before"]
    if before is not None:
        json.loads(_is(str, before))  # it is put back as it is, so it must be JSON
    ours = tuple(_is(str, value) for value in _is(list, document["ours"]))
    return KeyRecord(_is(str, document["name"]), before, ours)


def _blank(text: Any) -> str | None:
    if text is not None and _is(str, text).strip(" \t\r\n"):
        raise LeaseUnreadable("it is damaged (text between braces)")
    return text if text is None else str(text)


def _is(kind: type | tuple[type, ...], value: Any) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise LeaseUnreadable(f"it is damaged (a {type(value).__name__} in the wrong place)")
    return value
