"""What the checks look at, from files, this shell and the running instance."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from protocol.client_lease import LeaseUnreadable
from protocol.config import Config, ConfigInvalid
from protocol.credentials import Source, account_specs, login_of, sources
from protocol.login import token_digest
from supervisor import client_settings, configuration, instance
from supervisor.client_lease_file import LEASE_FILE
from supervisor.client_side import default_settings_file
from supervisor.credential_disk import of_this_machine
from supervisor.doctor import machine
from supervisor.doctor.facts import AccountFact, Facts, FileFact, SettingsFact
from supervisor.environment_accounts import claude_code_directory, claude_code_has_login
from supervisor.logins import Logins
from supervisor.plain_files import read_plain, trouble
from supervisor.token_store import stored_names
from supervisor.version import version
from supervisor.who_answers import who_answers

if TYPE_CHECKING:
    from supervisor.cli.running import RunningInstance

_VARIABLES = ("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def gathered(
    argument: Path | None,
    environ: Mapping[str, str],
    found: RunningInstance | None,
    *,
    online: bool,
) -> Facts:
    """`found` is the running instance. With `online` the upstream is asked for the time, once and
    without a credential."""
    state = configuration.state_directory(environ)
    config, path, errors = _configured(argument, environ, state, runs=found is not None)
    status = _status(found)
    url = found.instance.url if found is not None else ""
    accounts, problems = _accounts(config, state)
    settings = tuple(_settings(config, state, environ))
    directory = claude_code_directory(environ)
    return Facts(
        config=config,
        now=time.time(),
        environ=environ,
        config_path=path,
        config_errors=errors,
        installed=version(),
        url=url,
        running_version=found.instance.version if found is not None else "",
        silent=_silent(state) if found is None else "",
        status=status,
        front_door=machine.front_door(found) if found is not None else "",
        port_owner="" if found is not None or errors else machine.port_owner(config),
        settings=settings,
        shell_settings=os.path.realpath(default_settings_file(environ)),
        has_login=claude_code_has_login(environ),
        picker=machine.picker_cache(directory),
        models=machine.shown_models(found),
        service_stale=machine.stale_service(config, environ),
        accounts=accounts,
        account_problems=problems,
        files=tuple(_files(config, state, path, environ)),
        free_bytes=_free(state)[0],
        free_files=_free(state)[1],
        state_directory=str(state),
        certificate_files=tuple(machine.certificate_files(config, environ)),
        own_certificate=machine.own_certificate(config),
        upstream=machine.asked_upstream(config, environ) if online and not errors else None,
    )


def _configured(
    argument: Path | None, environ: Mapping[str, str], state: Path, *, runs: bool
) -> tuple[Config, str, tuple[str, ...]]:
    """An instance that runs has the variables of its secrets from where it was started."""
    stored, _ = stored_names(state)
    try:
        loaded = configuration.load(
            argument, environ=environ, stored_accounts=stored, looks_only=runs
        )
    except ConfigInvalid as invalid:
        return Config(), "", tuple(map(str, invalid.errors))
    return loaded.config, str(loaded.path or ""), ()


def _status(found: RunningInstance | None) -> Mapping[str, Any]:
    from supervisor.instance_client import NothingAnswers, Refused

    if found is None:
        return {}
    try:
        status = found.get("/status")
    except (NothingAnswers, Refused):
        return {}
    if not isinstance(status, dict):
        return {}
    try:
        for file in (status.get("client") or {}).get("files", ()):
            file["file"] = os.path.realpath(file["file"])  # as the others here
    except (AttributeError, TypeError, KeyError, ValueError):
        return {}  # of another program, or another version of this one
    return status


def _silent(state: Path) -> str:
    try:
        if not instance.held(state):
            return ""
    except instance.StateDirectoryUnusable:
        return ""  # its rights are looked at too
    said = instance.read(state)
    return f"pid {said.pid} at {said.url}" if said is not None else "another process"


def _accounts(config: Config, state: Path) -> tuple[tuple[AccountFact, ...], tuple[str, ...]]:
    logins = Logins(of_this_machine(random.Random()), state, lambda: config)
    by_name = {source.name: source for source in sources(config, logins.known)}
    found = []
    for spec in account_specs(config, logins.known):
        source = by_name.get(spec.name, Source(spec.name, "", "auto"))
        known = login_of(logins.known, source) if spec.kind == "oauth" else None
        refresh = known.login.refresh_token if known is not None else None
        found.append(
            AccountFact(
                spec.name,
                spec.kind,
                "disabled"
                if not spec.enabled
                else "needs_login"
                if spec.needs_login
                else "available",
                spec.credential.expires_at if spec.credential is not None else None,
                known.problem if known is not None else "",
                (token_digest(refresh) or "") if refresh is not None else "",
                renewable=refresh is not None,
            )
        )
    return tuple(found), tuple(logins.known.problems)


def _settings(config: Config, state: Path, environ: Mapping[str, str]) -> Iterator[SettingsFact]:
    files = config.client.settings or (default_settings_file(environ),)
    try:
        shown = client_settings.show(state, files)
    except (LeaseUnreadable, OSError) as error:
        yield _unread(state, files[0], error)
        return
    for file in shown:
        path = Path(file.path)
        yield SettingsFact(
            file.path,
            file.url,
            dead=_is_loopback(file.url) and who_answers(file.url) == "nobody",
            problem=file.problem,
            advice=file.advice,
            environment=tuple(_variables(path)),
            writable=_writable(path),
            has_directory=os.path.isdir(path.parent),  # noqa: PTH112 - no place is an error
        )


def _unread(state: Path, path: str, error: Exception) -> SettingsFact:
    """Without the lease nothing is known of them."""
    if not isinstance(error, OSError):
        return SettingsFact(path, problem=str(error))
    found = trouble(str(state / LEASE_FILE), error)
    return SettingsFact(path, problem=found.what, advice=found.advice)


def _is_loopback(url: str) -> bool:
    try:
        return (urlsplit(url).hostname or "") in _LOOPBACK
    except ValueError:
        return False


def _variables(path: Path) -> Iterator[str]:
    with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
        document = msgspec.json.decode(read_plain(str(path)) or b"null")
        environment = document.get("env") if isinstance(document, dict) else None
        for name in _VARIABLES:
            value = environment.get(name, "") if isinstance(environment, dict) else ""
            if str(value).lower() not in ("", "0", "false"):
                yield name


def _writable(path: Path) -> bool:
    """An exchange needs the directory; where that is missing, Claude Code makes it."""
    if not os.path.isdir(path.parent):  # noqa: PTH112 - of a place that may not be looked at, too
        return True
    there = os.path.lexists(path)
    return os.access(path.parent, os.W_OK) and (not there or os.access(path, os.W_OK))


def _files(
    config: Config, state: Path, config_path: str, environ: Mapping[str, str]
) -> Iterator[FileFact]:
    from supervisor.service.description import environment_file

    yield from _file(state, secret=True)
    ours = (
        "accounts.json",
        "client.json",
        "client.key",
        "keys.json",
        "logins.json",
        "instance.json",
    )
    secret = [state / name for name in ours]
    secret += [Path(one.credentials) for one in config.accounts if one.credentials]
    secret += [claude_code_directory(environ) / ".credentials.json", environment_file()]
    for path in dict.fromkeys(secret):
        yield from _file(path, secret=True)
    if config.server.tls_key:
        yield from _file(Path(config.server.tls_key), secret=True, group=True)
    if config_path:
        yield from _file(Path(config_path), secret=_has_literal_secret(Path(config_path), environ))


def _has_literal_secret(path: Path, environ: Mapping[str, str]) -> bool:
    try:
        loaded = configuration.load(path, environ=environ)
    except ConfigInvalid:
        return False
    return any("has secrets written out" in warning for warning in loaded.warnings)


def _file(path: Path, *, secret: bool, group: bool = False) -> Iterator[FileFact]:
    """Nothing where there is none, or where this user may not look. `group`: a file's group may
    read it, as systems have groups for the keys of certificates."""
    try:
        found = path.stat()
    except OSError:
        return
    directory = stat.S_ISDIR(found.st_mode)
    others = stat.S_IRWXG | stat.S_IRWXO if directory else stat.S_IROTH
    if not (directory or group):
        others |= stat.S_IRGRP
    yield FileFact(
        str(path),
        secret=secret,
        open_to_others=os.name != "nt" and bool(found.st_mode & others),
        writable=os.access(path, os.W_OK | (os.X_OK if directory else 0)),
        directory=directory,
        modified_at=found.st_mtime,
    )


def _free(state: Path) -> tuple[int, int | None]:
    """Bytes and files that are left where the state is, or would be."""
    place = next(path for path in (state, *state.parents) if os.path.isdir(path))  # noqa: PTH112
    try:
        files = os.statvfs(place) if hasattr(os, "statvfs") else None
        # Some file systems do not count them, and say 0 of 0.
        counted = files is not None and files.f_files > 0
        return shutil.disk_usage(place).free, files.f_favail if files and counted else None
    except OSError:
        return 2**40, None
