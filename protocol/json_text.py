"""Edits of a JSON object that leave every other byte where it was. Standard library only.

A settings file belongs to somebody else: its order, indentation, line ends, unknown keys and
duplicates are theirs. So a document is never written anew. It is parsed to know that it is valid,
its members are found as spans of the text, and the text is spliced.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple, NoReturn

LARGEST_DOCUMENT = 16 * 2**20
"""Bytes. Settings are a few kilobytes; this stops at a mistaken path."""

BYTE_ORDER_MARK = "\ufeff"

_BLANK = re.compile(r"[ \t\n\r]*")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SCALAR = re.compile(r"[^ \t\n\r,\]}]+")
_STRUCTURE = re.compile(r'["\[\]{}]')


class NotEditable(ValueError):
    """This text is left alone; the message says why, in words that follow the file's name."""


class Member(NamedTuple):
    """One `"key": value`, as positions in the text."""

    key: str
    start: int
    key_end: int
    value: int
    end: int


class Braces(NamedTuple):
    """An object: `start` is at its brace, `end` behind the other one."""

    start: int
    end: int
    members: tuple[Member, ...]

    def find(self, key: str) -> Member | None:
        """The member that counts: of several with one name that is the last."""
        return next((member for member in reversed(self.members) if member.key == key), None)


def read(data: bytes) -> str:
    """The text of a document whose top is a JSON object. Raises NotEditable."""
    if len(data) > LARGEST_DOCUMENT:
        raise NotEditable("is too large for a settings file")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise NotEditable("is not UTF-8 text") from None
    if not text.removeprefix(BYTE_ORDER_MARK).strip(" \t\r\n"):
        raise NotEditable("is empty, which is not valid JSON")
    try:
        document = _parse(text.removeprefix(BYTE_ORDER_MARK))
    except RecursionError:
        raise NotEditable("is nested too deeply") from None
    except ValueError as error:
        place = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise NotEditable(f"is not valid JSON{place}") from None
    if not isinstance(document, dict):
        raise NotEditable("is not a JSON object")
    return text


class Number(NamedTuple):
    """A number as it is written: one of 5,000 digits is valid JSON, and no business of ours."""

    text: str


def _parse(text: str) -> object:
    return json.loads(text, parse_int=Number, parse_float=Number, parse_constant=_no_constant)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def top(text: str) -> Braces:
    """The outermost object of a text that `read` gave."""
    start = _skip_blank(text, 1 if text.startswith(BYTE_ORDER_MARK) else 0)
    return braces(text, start)


def braces(text: str, start: int) -> Braces:
    """The object whose brace is at `start`."""
    members: list[Member] = []
    at = _skip_blank(text, start + 1)
    while text[at] != "}":
        key_end = _value_end(text, at)
        value = _skip_blank(text, _skip_blank(text, key_end) + 1)
        end = _value_end(text, value)
        members.append(Member(json.loads(text[at:key_end]), at, key_end, value, end))
        at = _skip_blank(text, end)
        if text[at] == ",":
            at = _skip_blank(text, at + 1)
    return Braces(start, at + 1, tuple(members))


def value_of(text: str, member: Member) -> object:
    """The decoded value of a member."""
    return _parse(text[member.value : member.end])


def replaced(text: str, member: Member, raw: str) -> str:
    """The text with that member's value replaced by the JSON text `raw`."""
    return text[: member.value] + raw + text[member.end :]


def removed(text: str, within: Braces, member: Member) -> str:
    """The text without that member, its comma, and the blanks that came with it."""
    place = within.members.index(member)
    if place:  # from the comma before it
        comma = text.index(",", within.members[place - 1].end)
        return text[:comma] + text[member.end :]
    if len(within.members) > 1:
        return text[: member.start] + text[within.members[1].start :]
    return text[: member.start] + text[member.end :]


def inserted(text: str, within: Braces, key: str, raw: str) -> str:
    """The text with one more member, behind the last and written like it.

    `removed` of that member gives the same text again. The object must have a member.
    """
    last = within.members[-1]
    gap, colon = gap_of(text, within), text[last.key_end : last.value]
    if not gap and colon.endswith(" "):
        gap = " "
    return f"{text[: last.end]},{gap}{quoted(key)}{colon}{raw}{text[last.end :]}"


def gap_of(text: str, within: Braces) -> str:
    """The blanks in front of the object's last member: its line end and indentation."""
    last = within.members[-1]
    begin = last.start
    while text[begin - 1] in " \t\r\n":
        begin -= 1
    return text[begin : last.start]


def inside(text: str, within: Braces) -> str:
    """All between the two braces."""
    return text[within.start + 1 : within.end - 1]


def with_inside(text: str, within: Braces, new: str) -> str:
    """The text with all between the two braces replaced."""
    return text[: within.start + 1] + new + text[within.end - 1 :]


def quoted(word: str) -> str:
    """`word` as JSON text. ASCII, so that no encoding can change it."""
    return json.dumps(word)


def _skip_blank(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    assert found is not None  # it matches nothing as well
    return found.end()


def _value_end(text: str, at: int) -> int:
    """Behind the value that begins at `at`. Counts brackets instead of descending into them."""
    if text[at] not in '{["':
        found = _SCALAR.match(text, at)
        assert found is not None  # the text is valid
        return found.end()
    depth = 0
    while True:
        found = _STRUCTURE.search(text, at)
        assert found is not None
        at = found.end()
        if found[0] == '"':
            string = _STRING.match(text, found.start())
            assert string is not None
            at = string.end()
        else:
            depth += 1 if found[0] in "[{" else -1
        if depth == 0:
            return at
