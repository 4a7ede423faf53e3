"""Accounts from the variables that Claude Code and the SDKs read.

They count only where nobody configured an account and Claude Code has no login of its own: a user
who is logged in pays with that login, and a key left in the shell must not silently take its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from protocol.config import Account, Config, leaves
from protocol.config.forms import FORMS
from protocol.secrets import Secret
from supervisor.client_state import has_login
from supervisor.plain_files import read_plain

VARIABLES = {
    "ANTHROPIC_API_KEY": ("env-api-key", "api_key"),
    "ANTHROPIC_AUTH_TOKEN": ("env-auth-token", "token"),
    "CLAUDE_CODE_OAUTH_TOKEN": ("env-oauth-token", "token"),
}
"""Variable -> account name and the account's key."""


class EnvironmentAccounts(msgspec.Struct, frozen=True):
    """What the environment gave."""

    accounts: tuple[Account, ...] = ()
    origins: Mapping[str, str] = msgspec.field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def environment_accounts(environ: Mapping[str, str]) -> EnvironmentAccounts:
    """The accounts in `environ`; none where Claude Code has a login of its own.

    With an ANTHROPIC_BASE_URL, the ANTHROPIC_AUTH_TOKEN is that server's and not for our upstream.
    """
    if claude_code_has_login(environ):
        return EnvironmentAccounts()
    accounts: list[Account] = []
    variables: list[str] = []
    warnings: list[str] = []
    for variable, (name, key) in VARIABLES.items():
        value = environ.get(variable, "")
        if not value or (variable == "ANTHROPIC_AUTH_TOKEN" and environ.get("ANTHROPIC_BASE_URL")):
            continue
        if FORMS["credential"].check(value) is None:
            warnings.append(f"{variable} is ignored: a credential is visible ASCII without spaces")
            continue
        secret = Secret(value)
        accounts.append(
            Account(name, api_key=secret) if key == "api_key" else Account(name, token=secret)
        )
        variables.append(variable)
    return EnvironmentAccounts(
        tuple(accounts), _origins(tuple(accounts), variables), tuple(warnings)
    )


def claude_code_directory(environ: Mapping[str, str]) -> Path:
    """Claude Code's configuration directory: `$CLAUDE_CONFIG_DIR`, else `~/.claude`."""
    named = environ.get("CLAUDE_CONFIG_DIR")
    if named:
        return Path(named).expanduser()
    home = environ.get("HOME") or environ.get("USERPROFILE")
    return (Path(home) if home else Path.home()) / ".claude"


def claude_code_has_login(environ: Mapping[str, str]) -> bool:
    """Whether Claude Code has a login: in its directory, or by the word of its `.claude.json`."""
    beside = not environ.get("CLAUDE_CONFIG_DIR")
    return has_login(claude_code_directory(environ), _content, beside=beside)


def _content(path: str) -> bytes | None:
    try:
        return read_plain(path)
    except NotADirectoryError:
        return None


def _origins(accounts: tuple[Account, ...], variables: list[str]) -> dict[str, str]:
    origins = {}
    for path, _ in leaves(Config(accounts=accounts)):
        if path.startswith("account["):
            position = int(path.partition("[")[2].partition("]")[0])
            entry, key = accounts[position], path.rpartition(".")[2]
            given = key == "name" or (key in ("api_key", "token") and getattr(entry, key))
            origins[path] = f"environment {variables[position]}" if given else "default"
    return origins
