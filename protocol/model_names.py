"""Names of models on their way in and out: aliases, wrapped foreign names, the `[1m]` suffix.

Claude Code's picker shows only names with "claude" in them (`wire.md` A13), so a foreign model is
listed as `claude-supervisor-<name>`.
"""

from __future__ import annotations

from collections.abc import Mapping

from protocol.names import matches_any

WRAPPED = "claude-supervisor-"
LONG_CONTEXT = "[1m]"
LONG_CONTEXT_BETA = "context-1m-"
"""How the beta that goes with the suffix begins."""


def wrap(name: str) -> str:
    """As the picker takes it; a name that it takes anyway stays."""
    lowered = name.lower()
    return name if "claude" in lowered or "anthropic" in lowered else f"{WRAPPED}{name}"


def unwrap(name: str) -> str:
    """The model that a wrapped name stands for."""
    return name.removeprefix(WRAPPED)


def resolve(asked: str, aliases: Mapping[str, str]) -> str:
    """Alias first, then unwrap (`interface.md` rule 12). An alias is on the list in its wrapped form
    too; each step happens once, so no circle is possible."""
    if asked not in aliases:
        asked = unwrap(asked)
    return unwrap(aliases.get(asked, asked))


def without_long_context(name: str) -> str:
    """For upstreams other than Anthropic, which know no such suffix."""
    return name.removesuffix(LONG_CONTEXT)


def has_long_context(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether `[models] long_context` offers a long variant of this foreign model."""
    return matches_any(patterns, name)
