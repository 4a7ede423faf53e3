"""Programs with logins: files of Claude Code and a token store, before a scripted token endpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from server.scripted import Granted

STORE = Path("/state/accounts.json")
TOKEN_URL = "http://api.test/v1/oauth/token"

SETTINGS = f"""
[access]
subscription_use = "any"
[oauth]
token_url = "{TOKEN_URL}"
"""


def login_path(name: str) -> str:
    """Where the login file of a configured account lies."""
    return f"/home/{name}/.claude/.credentials.json"


def login(name: str, follow: str = "never") -> str:
    """Configuration of an account with a login file."""
    return (
        f'[[account]]\nname = "{name}"\ncredentials = "{login_path(name)}"\nfollow = "{follow}"\n'
    )


def login_file(granted: Granted, **more: Any) -> bytes:
    """Claude Code's file with these tokens."""
    entry = {
        "accessToken": granted.access_token,
        "refreshToken": granted.refresh_token,
        "expiresAt": round(granted.expires_at * 1000),
        "scopes": ["user:inference"],
        "subscriptionType": "max",
        **more,
    }
    return json.dumps({"claudeAiOauth": entry, "mcpOAuth": {"kept": 1}}).encode()


def store_entry(granted: Granted, **more: Any) -> dict[str, Any]:
    """An account of the token store."""
    return {
        "kind": "oauth",
        "accessToken": granted.access_token,
        "refreshToken": granted.refresh_token,
        "expiresAt": round(granted.expires_at * 1000),
        **more,
    }


def store_file(**accounts: Any) -> bytes:
    """The token store."""
    return json.dumps({"version": 1, "accounts": accounts}).encode()
