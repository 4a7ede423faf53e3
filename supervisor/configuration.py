"""Finds, reads and joins the configuration: command line, environment, file, defaults.

Everything that touches the disk or the machine is here and in `supervisor.environment_accounts`;
what the text means is decided in `protocol.config`.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import platformdirs

from protocol.config import (
    Config,
    ConfigError,
    ConfigInvalid,
    EnvironmentOverlay,
    Setting,
    decode_with_origins,
    environment_overlay,
    variable_name,
)
from protocol.config.errors import did_you_mean
from protocol.config.schema import settings
from protocol.secrets import scrub
from supervisor.effective import render_effective
from supervisor.environment_accounts import environment_accounts
from supervisor.unset_secrets import with_stand_ins

__all__ = [
    "APPLICATION",
    "AccountSource",
    "ConfigNotPermitted",
    "Loaded",
    "default_file",
    "find_file",
    "load",
    "render_effective",
    "state_directory",
]

APPLICATION = "llm-supervisor"
LARGEST_FILE = 4 * 2**20
"""Bytes. A configuration is a few kilobytes; this stops a mistaken path to something huge."""

AccountSource = Literal["file", "token store", "environment"]


class ConfigNotPermitted(ConfigInvalid):
    """The configuration file may not be read by this user (exit code 77, not 78)."""


class Loaded(msgspec.Struct, frozen=True):
    """A configuration as it will be used, and how it came about."""

    config: Config
    """With the accounts of the environment, where those count; file paths are absolute."""
    path: Path | None
    """The file that was read; None where there is none."""
    origins: Mapping[str, str]
    """Every key's full path -> `default`, `file`, `environment SUPERVISOR_X`, `command line`."""
    warnings: tuple[str, ...]
    accounts_from: tuple[AccountSource, ...]
    """Where accounts come from; empty: none at all, the client's own credential is passed on."""
    unset_secrets: tuple[str, ...] = ()
    """Their full paths, where `load` was told that they may be; each has a stand-in."""


def load(
    argument: Path | None = None,
    *,
    overrides: Mapping[str, object] | None = None,
    environ: Mapping[str, str],
    stored_accounts: Sequence[str] = (),
    looks_only: bool = False,
) -> Loaded:
    """Read the configuration.

    `argument` is the file named on the command line; `overrides` are options given there, by key
    path (`server.port`). `stored_accounts` are the names in the token store. With `looks_only` a
    secret may be `${NAME}` of a variable that is not set here: it has a stand-in then.

    Raises `ConfigInvalid` with every mistake, or its kind `ConfigNotPermitted`. The caller keeps
    what it has: nothing is half loaded.
    """
    path = find_file(argument, environ)
    source = str(path) if path else "no file"
    document = _read(path) if path else {}
    overlay = environment_overlay(environ)
    unset: tuple[str, ...] = ()
    if looks_only:
        document, unset = with_stand_ins(document, environ)
        unset = tuple(one for one in unset if one not in {s.path for s in overlay.settings})
    decoded = decode_with_origins(
        document,
        variables=environ,
        source=source,
        overlay=(*overlay.settings, *_command_line(overrides or {})),
        resolve_path=lambda text: _absolute(text, path),
        further_rules=lambda config: _missing(config, source),
    )
    warnings = (
        *_unknown_variables(overlay),
        *_readable_secrets([one for one in decoded.literal_secrets if one not in unset], path),
        *_shadowed(decoded.config, stored_accounts),
        *_shared_logins(decoded.config),
    )
    loaded = Loaded(decoded.config, path, decoded.origins, warnings, (), unset)
    return _with_accounts(loaded, environ, stored_accounts)


def find_file(argument: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The configuration file: the argument, else `$SUPERVISOR_CONFIG`, else the user's own.

    Only the last may be absent, which gives None; a named file that is absent is found by `load`.
    """
    if argument is not None:
        return argument.expanduser().absolute()
    if environ.get("SUPERVISOR_CONFIG"):
        return Path(environ["SUPERVISOR_CONFIG"]).expanduser().absolute()
    path = default_file()
    return path if os.path.lexists(path) else None


def default_file() -> Path:
    """Where the configuration is looked for when nobody names one."""
    return Path(platformdirs.user_config_dir(APPLICATION, appauthor=False)) / "config.toml"


def state_directory(environ: Mapping[str, str]) -> Path:
    """`$SUPERVISOR_STATE_DIR`, else the platform's place for state. Not created here."""
    named = environ.get("SUPERVISOR_STATE_DIR")
    if named:
        return Path(named).expanduser().absolute()
    return Path(platformdirs.user_state_dir(APPLICATION, appauthor=False))


def _read(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except PermissionError:
        raise ConfigNotPermitted((_whole(path, "a file that this user may not read"),)) from None
    except OSError as error:
        found = error.strerror or type(error).__name__
        raise ConfigInvalid((_whole(path, found[:1].lower() + found[1:]),)) from None
    if len(content) > LARGEST_FILE:
        raise ConfigInvalid((_whole(path, f"more than {LARGEST_FILE} bytes"),))
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigInvalid((_whole(path, f"bytes that are not UTF-8 (line {line})"),)) from None
    except (ValueError, RecursionError) as error:  # ValueError: also a number of 4300 digits
        text = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "too large a value"
        raise ConfigInvalid((_whole(path, f"a syntax error: {scrub(text)}"),)) from None


def _whole(path: Path, found: str) -> ConfigError:
    return ConfigError(str(path), "", found, "a readable file of TOML text")


def _command_line(overrides: Mapping[str, object]) -> Iterator[Setting]:
    return (Setting(path, value, "command line") for path, value in overrides.items())


def _absolute(text: str, file: Path | None) -> str:
    """`~` expanded; a relative path is relative to the file it stands in, else to here.

    "auto" and the empty text never come here.
    """
    base = file.parent if file else Path.cwd()
    try:
        return str(base / Path(text).expanduser())
    except RuntimeError:  # ~nobody-of-that-name
        return str(base / text)


def _missing(config: Config, source: str) -> Iterator[ConfigError]:
    """Files that must be there for us to start."""
    named = {
        "server.tls_certificate": config.server.tls_certificate,
        "server.tls_key": config.server.tls_key,
        "upstream.ca_file": config.upstream.ca_file,
    }
    for path, text in named.items():
        if text and not os.access(text, os.R_OK):
            yield ConfigError(source, path, f"{text}, which cannot be read", "a readable file")


def _unknown_variables(overlay: EnvironmentOverlay) -> Iterator[str]:
    known = [variable_name(path) for path in settings()]
    for name in overlay.unknown:
        hint = did_you_mean(name, known)
        yield f"{name} is not a setting; it is ignored" + (f" ({hint})" if hint else "")


def _readable_secrets(literal: Sequence[str], path: Path | None) -> Iterator[str]:
    if path is None or not literal or os.name == "nt":
        return
    try:
        mode = path.stat().st_mode
    except OSError:  # it was there a moment ago; the next reload tells
        return
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        keys = ", ".join(literal)
        yield (
            f"{path} has secrets written out ({keys}) and can be read by other users "
            f"of this machine: chmod 600 it, or use ${{VARIABLE}}"
        )


def _shadowed(config: Config, stored: Sequence[str]) -> Iterator[str]:
    configured = {account.name for account in config.accounts}
    for name in stored:
        if name in configured:
            yield (
                f"the stored account {name!r} is ignored: the configuration has one of that name; "
                "rename one of them"
            )


def _shared_logins(config: Config) -> Iterator[str]:
    by_file: dict[str, list[str]] = {}
    for account in config.accounts:
        if account.credentials is not None:
            by_file.setdefault(os.path.realpath(account.credentials), []).append(account.name)
    for file, names in by_file.items():
        if len(names) > 1:
            yield (
                f"accounts {', '.join(names)} have the same login, {file}: they share its limits, so "
                "none of them can stand in for another"
            )


def _with_accounts(loaded: Loaded, environ: Mapping[str, str], stored: Sequence[str]) -> Loaded:
    """`loaded` with the accounts of the environment, where nobody configured any."""
    sources: list[AccountSource] = []
    if loaded.config.accounts:
        sources.append("file")
    if stored:
        sources.append("token store")
    if sources:
        return msgspec.structs.replace(loaded, accounts_from=tuple(sources))
    found = environment_accounts(environ)
    config = msgspec.structs.replace(loaded.config, accounts=found.accounts)
    return Loaded(
        config,
        loaded.path,
        {**loaded.origins, **found.origins},
        (*loaded.warnings, *found.warnings),
        ("environment",) if found.accounts else (),
        loaded.unset_secrets,
    )
