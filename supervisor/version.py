"""The version of this program, from its distribution."""

from __future__ import annotations

import importlib.metadata


def version() -> str:
    """For example `0.1.0`; `0+unknown` when it runs from a bare source tree."""
    try:
        return importlib.metadata.version("llm-supervisor")
    except importlib.metadata.PackageNotFoundError:
        return "0+unknown"
