"""Claude Code's model picker: the cache in which it keeps what a gateway offers (`wire.md` A13).

With a login of its own Claude Code never asks a gateway for models, but it shows what stands in this
file, if that is for exactly the base URL that it uses.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from supervisor.files import PRIVATE_FILE, replace_file

CACHE = Path("cache") / "gateway-models.json"
"""In Claude Code's configuration directory."""

SHOWN = ("claude", "anthropic")
"""Only ids with one of these words in them are shown."""


def seed(directory: Path, base_url: str, models: Iterable[Mapping[str, object]], now: float) -> int:
    """Writes the cache in Claude Code's `directory` for clients of `base_url`; how many it has now.

    `now` in epoch seconds. Raises OSError; `directory` itself must be there.
    """
    entries = [entry for model in models if (entry := _entry(model)) is not None]
    document = {"baseUrl": base_url, "fetchedAt": int(now * 1000), "models": entries}
    path = directory / CACHE
    path.parent.mkdir(exist_ok=True)
    replace_file(path, json.dumps(document).encode(), PRIVATE_FILE)
    return len(entries)


def _entry(model: Mapping[str, object]) -> dict[str, str] | None:
    name, shown = model.get("id"), model.get("display_name")
    if not isinstance(name, str) or not any(word in name.lower() for word in SHOWN):
        return None
    return {"id": name, "display_name": shown if isinstance(shown, str) else name}
