"""Claude Code's own `.claude.json`, where a login shows that has no file. Standard library only."""

from __future__ import annotations

import json

STATE_FILE = ".claude.json"


def tells_of_a_login(content: bytes | None) -> bool:
    """Whether it has an account (its tokens may be in a keychain), or a key made by a login."""
    try:
        document = json.loads(content) if content else None
    except (ValueError, RecursionError):
        return False
    known = ("oauthAccount", "primaryApiKey")
    return isinstance(document, dict) and any(document.get(name) for name in known)
