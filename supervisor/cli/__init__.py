"""The command line: `supervisor`. One file for each command or two, `main` starts it."""

from __future__ import annotations

from supervisor.cli.group import main

__all__ = ["main"]
