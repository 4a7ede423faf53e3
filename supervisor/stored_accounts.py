"""What the token store and the configuration have together, as the command line shows it."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from pathlib import Path

import msgspec

from protocol import credentials_file
from protocol.accounts import AccountSpec
from protocol.config import Config
from protocol.credentials import Source, account_specs, login_of, paths, shadowed, sources
from protocol.login import CredentialFileInvalid, CredentialsUnusable
from supervisor import own_logins
from supervisor.credential_disk import of_this_machine
from supervisor.logins import Logins
from supervisor.private_files import read_private
from supervisor.token_store import TokenStore


class Shown(msgspec.Struct, frozen=True):
    """One account. `origin`: configuration | token store | the path of its login; `state` as on
    `/status`, as far as files tell; `expires_at` in epoch seconds."""

    name: str
    kind: str
    origin: str
    state: str
    email: str | None = None
    expires_at: float | None = None
    problem: str = ""


class Useless(msgspec.Struct, frozen=True):
    """What can be forgotten: accounts by name with the reason, and directories of old logins."""

    accounts: Mapping[str, str]
    directories: tuple[Path, ...]


def shown(config: Config, state_directory: Path) -> tuple[list[Shown], tuple[str, ...]]:
    """All accounts, those that are ignored last; and what is wrong with the files."""
    logins = Logins(of_this_machine(random.Random()), state_directory, lambda: config)
    known = logins.known
    by_name = {source.name: source for source in sources(config, known)}
    found: list[Shown] = []
    for spec in account_specs(config, known):
        source = by_name.get(spec.name)
        stored = logins.is_stored(spec.name)
        origin = "token store" if stored else "configuration"
        if source is not None and source.path:
            origin = source.path
        problem = login_of(known, source).problem if source is not None else ""
        found.append(_shown(spec, origin, problem))
    hidden = shadowed(config, known)
    for one in known.stored:
        if one.name in hidden:
            problem = "ignored: the configuration has an account of that name"
            found.append(Shown(one.name, one.kind, "token store", "ignored", problem=problem))
    return found, known.problems


def _shown(spec: AccountSpec, origin: str, problem: str) -> Shown:
    state = "available"
    if spec.needs_login:
        state = "needs_login"
    if not spec.enabled:
        state = "disabled"
    expires_at = spec.credential.expires_at if spec.credential is not None else None
    return Shown(spec.name, spec.kind, origin, state, spec.email, expires_at, problem)


def useless(config: Config, store: TokenStore, logins_directory: Path) -> Useless:
    """Stored accounts that only a new login could bring back, entries that are broken, and
    directories of `auth login` that no account names. Raises CredentialsUnusable.

    A login file that cannot be used as it is (others can read it, a fault of the disk) is not
    among them: its owner can put that right.
    """
    file = store.read()
    logins = Logins(of_this_machine(random.Random()), store.path.parent, lambda: config)
    accounts: dict[str, str] = {}
    for name in file.document["accounts"]:
        account = file.account(name)
        if account is None:
            accounts[name] = "its entry cannot be read"
        elif account.kind == "oauth":
            known = login_of(logins.known, Source(name, account.path, account.follow))
            if known.login.needs_login:
                accounts[name] = "it needs a login"
            elif account.path and _wants_repair(Path(account.path)):
                continue
            elif known.login.access_token is None and known.login.refresh_token is None:
                accounts[name] = known.problem or "it has no login"
    named = {_directory_of(path) for path in paths(config, logins.known)}
    there = own_logins.directories(logins_directory)
    orphans = (path for path in there if Path(os.path.realpath(path)) not in named)
    return Useless(accounts, tuple(orphans))


def _wants_repair(path: Path) -> bool:
    """A file is there, and others can read it or it is broken."""
    try:
        content = read_private(path)
        if content is not None:
            credentials_file.parse(content.data)
    except (CredentialsUnusable, CredentialFileInvalid):
        return True
    return False


def _directory_of(path: str) -> Path:
    return Path(os.path.realpath(Path(path).parent))
