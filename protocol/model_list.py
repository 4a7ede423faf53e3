"""One list of models: Anthropic's first, then the providers', then the aliases.

Anthropic is also the gate: who is refused there sees that refusal and no list. A provider that is
out takes its own models away, never the list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from protocol.model_names import LONG_CONTEXT, has_long_context, wrap

Json = dict[str, Any]

CREATED_AT = "1970-01-01T00:00:00Z"
"""For models whose provider does not say since when it has them."""


class Listed(msgspec.Struct, frozen=True):
    """A foreign model and who has it."""

    name: str
    provider: str


def merged(
    anthropic: Iterable[Json],
    foreign: Iterable[Listed],
    aliases: Mapping[str, str],
    long_context: tuple[str, ...],
) -> list[Json]:
    """Entries in Anthropic's shape, every id once, the first one of an id kept."""
    entries = [entry for entry in anthropic if isinstance(entry.get("id"), str)]
    for model in foreign:
        shown = f"{model.name} ({model.provider})"
        entries.append(_entry(wrap(model.name), shown))
        if has_long_context(model.name, long_context):
            entries.append(_entry(wrap(model.name) + LONG_CONTEXT, f"{shown}, 1M context"))
    entries += [_entry(wrap(alias), f"{alias} = {target}") for alias, target in aliases.items()]
    unique: dict[str, Json] = {}
    for entry in entries:
        unique.setdefault(entry["id"], entry)
    return list(unique.values())


def anthropic_page(entries: list[Json]) -> Json:
    """The whole list as one page: clients ask for a thousand at once (`wire.md` A13)."""
    return {
        "data": entries,
        "has_more": False,
        "first_id": entries[0]["id"] if entries else None,
        "last_id": entries[-1]["id"] if entries else None,
    }


def openai_page(entries: list[Json], created: int) -> Json:
    """The same list in OpenAI's shape; `created` in epoch seconds."""
    data = [
        {"id": entry["id"], "object": "model", "created": created, "owned_by": _owner(entry)}
        for entry in entries
    ]
    return {"object": "list", "data": data}


def read_page(document: object) -> list[str]:
    """The names on a provider's own list, in OpenAI's, Anthropic's or Gemini's shape."""
    if not isinstance(document, dict):
        return []
    found = document.get("data") or document.get("models") or []
    names: list[str] = []
    for entry in found if isinstance(found, list) else ():
        name = (entry.get("id") or entry.get("name")) if isinstance(entry, dict) else None
        if isinstance(name, str) and name:
            names.append(name.removeprefix("models/"))  # Gemini's
    return names


def _entry(model_id: str, shown: str) -> Json:
    return {"type": "model", "id": model_id, "display_name": shown, "created_at": CREATED_AT}


def _owner(entry: Json) -> str:
    return "anthropic" if entry.get("created_at") != CREATED_AT else "llm-supervisor"
