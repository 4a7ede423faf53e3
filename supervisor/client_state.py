"""Whether Claude Code has a login of its own: in a file, or by the word of its `.claude.json`, which also
tells of one that has none. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

LOGIN_FILE = ".credentials.json"
STATE_FILE = ".claude.json"


def has_login(directory: Path, read: Callable[[str], bytes | None], *, beside: bool = True) -> bool:
    """Whether there is one in `directory`; `beside`: its state file may lie next to it (`~/.claude`).

    `read` gives a file's content, None where there is none. What cannot be read is somebody's, and
    counts as one.
    """
    places = (directory, directory.parent) if beside else (directory,)
    try:
        if read(str(directory / LOGIN_FILE)) is not None:
            return True
        return any(_tells_of_a_login(read(str(place / STATE_FILE))) for place in places)
    except OSError:
        return True


def _tells_of_a_login(content: bytes | None) -> bool:
    """Whether it has an account (its tokens may be in a keychain), or a key made by a login."""
    try:
        document = json.loads(content) if content else None
    except (ValueError, RecursionError):
        return False
    known = ("oauthAccount", "primaryApiKey")
    return isinstance(document, dict) and any(document.get(name) for name in known)
