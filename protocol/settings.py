"""Pointing a client's settings here and away again, as functions over bytes. Standard library only.

Claude Code reads environment variables from the object `env` of its `settings.json` (`wire.md`
A12). `point` sets some there and records what stood before; `release` puts back, key by key, what
still is ours. All other bytes stay; where nobody else wrote, the file is what it was, byte for
byte. A file that is no JSON object is refused (NotEditable) and never written over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from protocol.json_text import (
    Braces,
    Member,
    NotEditable,
    braces,
    gap_of,
    inserted,
    inside,
    quoted,
    read,
    removed,
    replaced,
    top,
    value_of,
    with_inside,
)

__all__ = [
    "AUTH_TOKEN",
    "BASE_URL",
    "FileRecord",
    "Found",
    "KeyRecord",
    "NotEditable",
    "Pointed",
    "base_url",
    "holds_ours",
    "inspect",
    "needs_two_steps",
    "point",
    "release",
    "well_formed",
]

BASE_URL = "ANTHROPIC_BASE_URL"
AUTH_TOKEN = "ANTHROPIC_AUTH_TOKEN"  # noqa: S105 - a variable's name
ENVIRONMENT = "env"


class KeyRecord(NamedTuple):
    """One key that we set. `before` is the JSON text that stood there, None for no such key; `ours`
    are the values that may be ours now, the newest first."""

    name: str
    before: str | None
    ours: tuple[str, ...]


class FileRecord(NamedTuple):
    """What `point` did to one file, enough to undo it to the byte.

    `existed`: there was a file. `had_env`: it had an `env`. `env_blank`, `top_blank`: what stood
    between the braces of an `env`, of a document, that had no members; None where there were some.
    """

    path: str
    existed: bool = True
    had_env: bool = True
    env_blank: str | None = None
    top_blank: str | None = None
    keys: tuple[KeyRecord, ...] = ()

    def key(self, name: str) -> KeyRecord | None:
        """The record of that key."""
        return next((key for key in self.keys if key.name == name), None)


class Pointed(NamedTuple):
    """The new content, and what to remember."""

    content: bytes | None
    record: FileRecord


class Found(NamedTuple):
    """What a settings file says now. `env` has the values that are texts."""

    env: Mapping[str, str]
    names: frozenset[str]
    """All keys of `env`, also those whose value is no text."""
    has_helper: bool
    """`apiKeyHelper` is set: a login of the client's own."""


def inspect(content: bytes | None) -> Found:
    """Reads a document; None is a file that does not exist. Raises NotEditable."""
    if content is None:
        return Found({}, frozenset(), False)
    text = read(content)
    outer, env = _objects(text)
    members = {member.key: value_of(text, member) for member in env.members} if env else {}
    texts = {key: value for key, value in members.items() if isinstance(value, str)}
    return Found(texts, frozenset(members), outer.find("apiKeyHelper") is not None)


def base_url(content: bytes | None) -> str | None:
    """Where the client is pointed; None: nowhere. Raises NotEditable."""
    return inspect(content).env.get(BASE_URL)


def well_formed(content: bytes) -> bool:
    """Whether this is a document that can be edited; somebody may be in the middle of writing."""
    try:
        _objects(read(content))
    except NotEditable:
        return False
    return True


def point(path: str, content: bytes | None, values: Mapping[str, str]) -> Pointed:
    """Sets `values` in `env`. A key that has its value already is not ours, and not recorded.

    Raises NotEditable.
    """
    if content is None:
        keys = tuple(KeyRecord(name, None, (value,)) for name, value in values.items())
        text = "{\n  " + _new_env(values, "\n", "  ", "  ") + "\n}\n"
        return Pointed(text.encode(), FileRecord(path, existed=False, had_env=False, keys=keys))
    text = read(content)
    outer, env = _objects(text)
    record = FileRecord(
        path,
        had_env=env is not None,
        env_blank=inside(text, env) if env is not None and not env.members else None,
        top_blank=None if outer.members else inside(text, outer),
    )
    keys = tuple(
        KeyRecord(name, _raw(text, env, name), (value,))
        for name, value in values.items()
        if not _says(text, env, name, value)
    )
    if not keys:
        return Pointed(content, record)
    wanted = {key.name: key.ours[0] for key in keys}
    return Pointed(_with_values(text, wanted).encode(), record._replace(keys=keys))


def release(
    content: bytes | None, record: FileRecord, instead: Mapping[str, str] | None = None
) -> bytes | None:
    """Puts back every key that still holds our value; None: the file is to go.

    `instead` leaves a key there with another value (the first of two steps). Raises NotEditable.
    """
    if content is None:
        return None
    text = read(content)
    emptied = False
    for key in reversed(record.keys):
        _, env = _objects(text)
        member = env.find(key.name) if env else None
        if env is None or member is None or value_of(text, member) not in key.ours:
            continue
        if instead and key.name in instead:
            text = replaced(text, member, quoted(instead[key.name]))
        elif key.before is not None:
            text = replaced(text, member, key.before)
        else:
            text = removed(text, env, member)
            emptied = len(env.members) == 1
    return _without_our_frame(text, record) if emptied else text.encode()


def holds_ours(content: bytes | None, record: FileRecord, name: str) -> bool:
    """Whether that key still has a value of ours. Raises NotEditable."""
    key = record.key(name)
    return key is not None and inspect(content).env.get(name) in key.ours


def needs_two_steps(content: bytes | None, record: FileRecord) -> bool:
    """Running sessions follow a changed base URL, but not a removed one (`wire.md` A12): so where
    the key would be removed, another value comes first. Not beside a token of ours, which must not
    meet another server (`interface.md` rule 15). Raises NotEditable."""
    key = record.key(BASE_URL)
    if key is None or key.before is not None or record.key(AUTH_TOKEN) is not None:
        return False
    return holds_ours(content, record, BASE_URL)


def _objects(text: str) -> tuple[Braces, Braces | None]:
    """The document and its `env`. Raises NotEditable when `env` is something else."""
    outer = top(text)
    member = outer.find(ENVIRONMENT)
    if member is None:
        return outer, None
    if text[member.value] != "{":
        raise NotEditable('has an "env" that is not an object')
    return outer, braces(text, member.value)


def _raw(text: str, env: Braces | None, name: str) -> str | None:
    member = env.find(name) if env else None
    return text[member.value : member.end] if member else None


def _says(text: str, env: Braces | None, name: str, value: str) -> bool:
    member = env.find(name) if env else None
    return member is not None and value_of(text, member) == value


def _with_values(text: str, values: Mapping[str, str]) -> str:
    outer, env = _objects(text)
    if env is None:
        return _with_env(text, outer, values)
    if not env.members:
        place = outer.find(ENVIRONMENT)
        assert place is not None
        line, indent, unit = _layout(text, outer)
        new = _new_members(values, line, indent + unit) + (line + indent if line else "")
        return with_inside(text, env, new)
    for name, value in values.items():
        _, env = _objects(text)
        assert env is not None
        member = env.find(name)
        if member is None:
            text = inserted(text, env, name, quoted(value))
        else:
            text = replaced(text, member, quoted(value))
    return text


def _with_env(text: str, outer: Braces, values: Mapping[str, str]) -> str:
    if outer.members:
        line, indent, unit = _layout(text, outer)
        new = _new_env(values, line, indent, unit)
        return inserted(text, outer, ENVIRONMENT, new.partition(": ")[2])
    line = "\r\n" if "\r\n" in text else "\n"
    return with_inside(text, outer, line + "  " + _new_env(values, line, "  ", "  ") + line)


def _layout(text: str, outer: Braces) -> tuple[str, str, str]:
    """Line end, indentation of the top's members, and one step of it; "" for all on one line."""
    gap = gap_of(text, outer)
    if "\n" not in gap:
        return "", "", ""
    line = "\r\n" if "\r\n" in gap else "\n"
    indent = gap.rpartition("\n")[2]
    return line, indent, indent or "  "


def _new_env(values: Mapping[str, str], line: str, indent: str, unit: str) -> str:
    end = line + indent if line else ""
    return f'"{ENVIRONMENT}": {{{_new_members(values, line, indent + unit)}{end}}}'


def _new_members(values: Mapping[str, str], line: str, indent: str) -> str:
    each = [f"{quoted(name)}: {quoted(value)}" for name, value in values.items()]
    if not line:
        return ", ".join(each)
    return line + indent + f",{line}{indent}".join(each)


def _without_our_frame(text: str, record: FileRecord) -> bytes | None:
    """After the last key of `env` went: what we had made around it goes as well."""
    outer, env = _objects(text)
    if env is None or env.members:
        return text.encode()
    if record.had_env:
        return with_inside(text, env, record.env_blank or "").encode()
    member: Member | None = outer.find(ENVIRONMENT)
    assert member is not None
    text = removed(text, outer, member)
    outer = top(text)
    if outer.members:
        return text.encode()
    if not record.existed:
        return None
    return with_inside(text, outer, record.top_blank or "").encode()
