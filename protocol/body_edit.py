"""A request's body with one thing in it changed, and every other byte as the client wrote it."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from protocol.peek import read_json
from protocol.translation.read_anthropic import ATTRIBUTION

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


def without_attribution(body: bytes) -> bytes:
    """`body` without the block in which Claude Code tells Anthropic about itself (`wire.md` A6)."""
    if ATTRIBUTION.encode() not in body:
        return body
    fields = _fields(body)
    if fields is None or "system" not in fields:
        return body
    system = read_json(_value, bytes(fields["system"]))
    if _attributes(system):
        del fields["system"]
        return msgspec.json.encode(fields)
    if not isinstance(system, list):
        return body
    kept = [block for block in system if not _attributes(_text(block))]
    if len(kept) == len(system):
        return body
    if kept:
        fields["system"] = msgspec.Raw(msgspec.json.encode(kept))
    else:
        del fields["system"]
    return msgspec.json.encode(fields)


def _fields(body: bytes) -> dict[str, msgspec.Raw] | None:
    return read_json(_top_level, body)


def _text(block: Any) -> object:
    return block.get("text") if isinstance(block, dict) else None


def _attributes(text: object) -> bool:
    return isinstance(text, str) and text.startswith(ATTRIBUTION)
