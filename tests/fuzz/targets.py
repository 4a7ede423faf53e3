"""All targets by name. A target takes any bytes, and raises only when a promise is broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from tests.fuzz import documents, heads, streams

Target = Callable[[bytes], None]

CORPUS = Path(__file__).parent / "corpus"
"""Below it a directory for each target: what it is seeded with, and what once broke it."""

TARGETS: dict[str, Target] = {
    "chunks": streams.chunks,
    "configuration": documents.configuration,
    "events": streams.events,
    "files": documents.files,
    "from_gemini": streams.from_gemini,
    "from_openai": streams.from_openai,
    "limits": heads.limits,
    "request_head": heads.request_head,
    "requests": documents.requests,
    "response_head": heads.response_head,
    "settings": documents.settings,
    "to_openai_clients": streams.to_openai_clients,
}

SPEAKS_JSON = frozenset(
    {
        "configuration",
        "files",
        "from_gemini",
        "from_openai",
        "requests",
        "settings",
        "to_openai_clients",
    }
)
"""Whose inputs are changed node by node, too."""


def inputs(name: str) -> Iterator[Path]:
    """The files of a target's corpus."""
    return (path for path in sorted((CORPUS / name).iterdir()) if path.is_file())
