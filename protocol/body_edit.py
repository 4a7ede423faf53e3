"""A request's body with one thing in it changed, and every other byte as the client wrote it."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from protocol.cut_characters import edited
from protocol.peek import read_json
from protocol.translation.read_anthropic import ATTRIBUTION, IDENTITY

_top_level = msgspec.json.Decoder(dict[str, msgspec.Raw])
_value = msgspec.json.Decoder()


def with_model(body: bytes, model: str) -> bytes:
    """`body` asking for `model`; the body itself when it asks for that already, or for no text.

    The name is replaced in place. Only where it stands in several places (a tool's schema has such
    a field too) is the outermost object written anew, its values still byte for byte.
    """
    fields = _fields(body)
    given = fields.get("model") if fields is not None else None
    if fields is None or given is None:
        return body
    before, after = bytes(given), msgspec.json.encode(model)
    asked = read_json(_value, before)
    if asked == model or not isinstance(asked, str):
        return body  # however it is written; and what is no text is its upstream's to refuse
    places = list(re.finditer(rb'"model"\s*:\s*' + re.escape(before), body))
    if len(places) == 1:
        edited = body[: places[0].end() - len(before)] + after + body[places[0].end() :]
        found = _fields(edited)
        if found is not None and bytes(found["model"]) == after:
            return edited  # not where the key itself is written with escapes
    return msgspec.json.encode({**fields, "model": msgspec.Raw(after)})


def asking_for_usage(body: bytes) -> bytes:
    """`body` with `stream_options.include_usage`; the body itself where it is asked for already,
    where it asks for no stream, or cannot be read. The other values stay byte for byte."""
    fields = _fields(body)
    if fields is None or bytes(fields.get("stream", b"")) != b"true":
        return body
    given = bytes(fields.get("stream_options", b"null"))
    options = {} if given == b"null" else read_json(_top_level, given)
    if options is None or bytes(options.get("include_usage", b"")) == b"true":
        return body
    told = {**options, "include_usage": msgspec.Raw(b"true")}
    return msgspec.json.encode({**fields, "stream_options": told})


def without_identity(body: bytes) -> bytes:
    """`body` without what says who the client is: the block in which Claude Code tells Anthropic
    about itself, and the fields that name user, device, session and payer (`wire.md` A6, B4).

    `body` itself when there is nothing of the kind, or when it cannot be read.
    """
    return edited(body, _without_identity)


def _without_identity(body: bytes) -> bytes:
    fields = _fields(body)
    if fields is None:
        return body
    kept: dict[str, msgspec.Raw] = {}
    for name, given in fields.items():
        value = _without_attribution(given) if name == "system" else given
        if value is not None and name not in IDENTITY:
            kept[name] = value
    if all(kept.get(name) is given for name, given in fields.items()):
        return body
    return msgspec.json.encode(kept)


def _without_attribution(given: msgspec.Raw) -> msgspec.Raw | None:
    """`given` itself when there is none in it; None when there is nothing else."""
    system = read_json(_value, bytes(given))
    if _attributes(system):
        return None
    if not isinstance(system, list):
        return given
    others = [block for block in system if not _attributes(_text(block))]
    if len(others) == len(system):
        return given
    return msgspec.Raw(msgspec.json.encode(others)) if others else None


def _fields(body: bytes) -> dict[str, msgspec.Raw] | None:
    return read_json(_top_level, body)


def _text(block: Any) -> object:
    return block.get("text") if isinstance(block, dict) else None


def _attributes(text: object) -> bool:
    return isinstance(text, str) and text.startswith(ATTRIBUTION)
