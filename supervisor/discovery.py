"""What `supervisor setup` finds on a machine: logins and keys that are not accounts yet."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from protocol.config import Config
from protocol.config.forms import FORMS
from protocol.secrets import Secret
from protocol.token_file import StoredAccount, TokenFile
from supervisor import login_sources
from supervisor.login_sources import CLIENT_FILE

_NAMED_KEY = "ANTHROPIC_API_KEY_"


class Login(msgspec.Struct, frozen=True):
    """A login of Claude Code's, in `path`."""

    account: StoredAccount
    path: Path


class Key(msgspec.Struct, frozen=True):
    """A key or token in the variable `variable`; `name` is what an account of it could be called."""

    variable: str
    name: str
    kind: str
    secret: Secret


class Found(msgspec.Struct, frozen=True):
    """`problems` say why something that is there cannot be used."""

    logins: tuple[Login, ...] = ()
    keys: tuple[Key, ...] = ()
    problems: tuple[str, ...] = ()


def discover(environ: Mapping[str, str], config: Config, store: TokenFile) -> Found:
    """Whatever there is that neither the configuration nor the token store has."""
    problems: list[str] = []
    logins: list[Login] = []
    for directory in login_sources.client_directories(environ):
        found = login_sources.look(directory / CLIENT_FILE)
        if found is None:
            continue
        if found.problem:
            problems.append(found.problem)
        logins += [
            Login(account, found.path)
            for account in found.accounts
            if not _is_known(account.path, config, store)
        ]
    known = set(_known_secrets(config, store))
    keys = []
    for key in _keys(environ):
        if FORMS["credential"].check(key.secret.reveal()) is None:
            problems.append(f"{key.variable} is ignored: no credential looks like that")
        elif key.secret.reveal() not in known:
            keys.append(key)
            known.add(key.secret.reveal())
    return Found(tuple(logins), tuple(keys), tuple(problems))


def _is_known(path: str, config: Config, store: TokenFile) -> bool:
    stored = (account.path for account in store.accounts)
    written = (account.credentials for account in config.accounts)
    return path in {os.path.realpath(one) for one in (*stored, *written) if one}


def _known_secrets(config: Config, store: TokenFile) -> Iterator[str]:
    for account in store.accounts:
        if account.login.access_token is not None:
            yield account.login.access_token.reveal()
    for configured in config.accounts:
        for secret in (configured.api_key, configured.token):
            if secret is not None:
                yield secret.reveal()


def _keys(environ: Mapping[str, str]) -> Iterator[Key]:
    usual = {
        "ANTHROPIC_API_KEY": ("api-key", "api_key"),
        "ANTHROPIC_AUTH_TOKEN": ("auth-token", "token"),
        "CLAUDE_CODE_OAUTH_TOKEN": ("oauth-token", "token"),
    }
    for variable, (name, kind) in usual.items():
        # With a base URL the token is that server's, and not for our upstream.
        theirs = variable == "ANTHROPIC_AUTH_TOKEN" and environ.get("ANTHROPIC_BASE_URL")
        if environ.get(variable) and not theirs:
            yield Key(variable, name, kind, Secret(environ[variable]))
    for variable, value in sorted(environ.items()):
        name = variable.removeprefix(_NAMED_KEY).lower().replace("_", "-")
        if variable.startswith(_NAMED_KEY) and value and FORMS["name"].check(name) is not None:
            yield Key(variable, name, "api_key", Secret(value))
