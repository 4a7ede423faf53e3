"""Where credentials of other programs lie on this machine, for `supervisor auth import`."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping
from pathlib import Path

import msgspec

from protocol import credentials_file, token_file
from protocol.login import CredentialFileInvalid, CredentialsUnusable, Login
from protocol.token_file import StoredAccount
from supervisor.credential_disk import LOGIN_FILE_NAME, of_this_machine
from supervisor.plain_files import is_directory, is_there

CLIENT_FILE = LOGIN_FILE_NAME
ACCOUNTS_FILE = "accounts.json"


class Found(msgspec.Struct, frozen=True):
    """Accounts in one file. `problem`: why the file, or a part of it, cannot be used."""

    path: Path
    accounts: tuple[StoredAccount, ...] = ()
    problem: str = ""


def client_directories(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Claude Code's configuration directories that exist, the current one first (`wire.md` A14)."""
    named = [environ.get("CLAUDE_CONFIG_DIR", ""), "~/.claude"]
    named += environ.get("CLAUDE_CONFIG_DIRS", "").split(",")
    found = [
        Path(os.path.realpath(Path(name.strip()).expanduser())) for name in named if name.strip()
    ]
    return tuple(path for path in dict.fromkeys(found) if is_directory(path))


def look(place: Path) -> Found | None:
    """What there is at `place`: a directory of Claude Code's, its file, or an `accounts.json`.

    None where there is nothing that could be a credential file. On macOS the file of a directory
    stands for its entry in the keychain, where there is no such file.
    """
    place = Path(os.path.realpath(place.expanduser()))
    if is_directory(place):
        for name in (CLIENT_FILE, ACCOUNTS_FILE):
            if is_there(place / name):
                return look(place / name)
        place = place / CLIENT_FILE
    try:
        content = of_this_machine(random.Random()).read(place)
    except CredentialsUnusable as reason:
        return Found(place, problem=str(reason))
    if content is None:
        return None
    if _is_account_list(content.data):
        return _account_list(place, content.data)
    return _client_login(place, content.data)


def name_for(directory: Path) -> str:
    """A name for the login of that directory: `.claude-work` is `work`, `.claude` is `claude`."""
    plain = directory.name.lstrip(".").lower()
    plain = plain.removeprefix("claude-").removeprefix("claude_") or "claude"
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in plain)


def _is_account_list(data: bytes) -> bool:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and isinstance(document.get("accounts"), dict)


def _account_list(path: Path, data: bytes) -> Found:
    """The token store of claude-code-proxy, or another one of ours."""
    try:
        file = token_file.parse(data)
    except CredentialFileInvalid as reason:
        return Found(path, problem=f"{path} cannot be used: {reason}")
    return Found(path, file.accounts, "; ".join(f"{path}: {each}" for each in file.problems))


def _client_login(path: Path, data: bytes) -> Found:
    try:
        login = credentials_file.parse(data)
    except CredentialFileInvalid as reason:
        return Found(path, problem=f"{path} cannot be used: {reason}")
    if login.access_token is None and login.refresh_token is None:
        return Found(path, problem=f"{path} has no login in it; log in with Claude Code there")
    name = name_for(path.parent)
    # By reference: a copy would be logged out by the first renewal of the other.
    account = StoredAccount(name, "oauth", Login(None), path=str(path), follow="auto")
    return Found(path, (account,))
