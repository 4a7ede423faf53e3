"""The commands of the README, as it has them: what a test runs cannot differ from what is promised."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"

_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands_with(command: str, text: str | None = None) -> list[str]:
    """All commands of the one block of shell that has `command`, without their comments."""
    blocks = _BLOCK.findall(README.read_text() if text is None else text)
    stripped = [[_plain(line) for line in block.splitlines()] for block in blocks]
    found = [[line for line in block if line] for block in stripped if command in block]
    if len(found) != 1:
        raise AssertionError(f"{len(found)} blocks of the README have {command!r}, not one")
    return found[0]


def _plain(line: str) -> str:
    return re.sub(r"(^|\s+)#.*", "", line).strip()
