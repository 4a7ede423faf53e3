"""Everything that the checks look at, as plain data. The defaults are a machine on which all is well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from protocol.config import Config


class SettingsFact(msgspec.Struct, frozen=True):
    """A settings file of Claude Code's. `url`: where it points; `dead`: a port of this machine
    where nobody answers; `environment`: the names of the variables that it sets."""

    path: str
    url: str = ""
    dead: bool = False
    problem: str = ""
    advice: str = ""
    environment: tuple[str, ...] = ()
    writable: bool = True
    has_directory: bool = True
    """Claude Code makes it with its first start: without it nobody uses Claude Code here."""


class AccountFact(msgspec.Struct, frozen=True):
    """An account as the files have it, without its secrets: `mark` tells whether two have the same
    refresh token."""

    name: str
    kind: str
    state: str = "available"
    expires_at: float | None = None
    problem: str = ""
    mark: str = ""
    renewable: bool = True


class FileFact(msgspec.Struct, frozen=True):
    """A file or directory of ours. `secret`: nobody else may read it; `open_to_others`: they may."""

    path: str
    secret: bool = True
    open_to_others: bool = False
    writable: bool = True
    directory: bool = False
    modified_at: float = 0.0


class UpstreamFact(msgspec.Struct, frozen=True):
    """One unauthenticated request to the upstream. `kind`: of the fault, "" where it answered;
    `date`: what its clock said (epoch seconds), `asked_at` ours at that moment."""

    base_url: str
    kind: str = ""
    detail: str = ""
    date: float | None = None
    asked_at: float = 0.0


class PickerFact(msgspec.Struct, frozen=True):
    """Claude Code's cache of models. `path` "" where there is none."""

    path: str = ""
    base_url: str = ""
    models: tuple[str, ...] = ()
    problem: str = ""


class Breach(msgspec.Struct, frozen=True):
    """A rule of the gateway contract (`peers.md` 1) that was not kept, and what was found."""

    rule: str
    found: str


class Facts(msgspec.Struct, frozen=True):
    """`status` is `GET /status` of the running instance, empty where none runs; `url` its address.

    None stands for what was not looked at: `upstream`, `breaches`.
    """

    config: Config
    now: float = 0.0
    environ: Mapping[str, str] = {}
    config_path: str = ""
    config_errors: tuple[str, ...] = ()
    installed: str = ""
    url: str = ""
    running_version: str = ""
    silent: str = ""
    """Who holds the lock and does not answer; "" for nobody."""
    status: Mapping[str, Any] = {}
    front_door: str = ""
    """What was wrong with what the running instance answered."""
    port_owner: str = ""
    """Which other program has the port; "" where it is free, or ours."""
    settings: tuple[SettingsFact, ...] = ()
    shell_settings: str = ""
    """The settings file that Claude Code uses when it is started from this shell."""
    has_login: bool = False
    """Claude Code has a login of its own."""
    picker: PickerFact = PickerFact()
    models: tuple[str, ...] = ()
    """Those that the running instance adds to Anthropic's own and Claude Code would show."""
    service_stale: str = ""
    accounts: tuple[AccountFact, ...] = ()
    account_problems: tuple[str, ...] = ()
    files: tuple[FileFact, ...] = ()
    free_bytes: int = 2**40
    free_files: int | None = None
    state_directory: str = ""
    certificate_files: tuple[tuple[str, str], ...] = ()
    """Where it is named, and what is wrong with it."""
    own_certificate: tuple[str, float | None] = ("", None)
    """Of [server] tls_certificate: what is wrong with it, and when it ends (epoch seconds)."""
    upstream: UpstreamFact | None = None
    breaches: tuple[Breach, ...] | None = None
