"""What a service manager has to know of one installation of the program."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from protocol.client_plan import LONGEST_RELEASE
from protocol.config import Config, variable_name
from protocol.config.schema import settings
from supervisor import configuration

NAME = "llm-supervisor"
WATCHDOG_SECONDS = 30
STOP_MARGIN_SECONDS = 20.0
"""After the drain: the worker's guard, the keeper's, and a little more."""

CARRIED = (
    "CLAUDE_CONFIG_DIR", "CLAUDE_CONFIG_DIRS", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "XDG_CONFIG_HOME", "XDG_STATE_HOME",
    "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy",
    "NO_PROXY", "no_proxy",
)  # fmt: skip
"""Variables of the shell that the service gets too, beside those of ours."""

_PASSWORD_IN_URL = re.compile(r"//[^/\s]*@")


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """One service. `command` begins with an absolute path; `run` are the arguments that start it.

    `environment` has no secrets: files of service managers can be read by others. Secrets go into
    `environment_file`, which may be missing. `address` is where it listens, `HOST:PORT`.
    """

    command: tuple[str, ...]
    run: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    environment_file: str
    state_directory: str
    log_file: str
    stop_seconds: float
    address: str
    writes: tuple[str, ...] = ()
    """Directories that it writes in."""


def described(
    config: Config,
    environ: Mapping[str, str],
    *,
    argument: Path | None = None,
    port: int | None = None,
) -> Description:
    """The service that runs this program with this configuration."""
    state = configuration.state_directory(environ)
    run = ["run"]
    run += [str(argument.expanduser().absolute())] if argument is not None else []
    run += ["--port", str(port)] if port is not None else []
    carried, _ = sorted_out(environ)
    wait = config.server.drain_seconds + min(config.client.release_after, LONGEST_RELEASE)
    host = config.server.host
    chosen = config.server.port if port is None else port
    return Description(
        command=own_command(),
        run=tuple(run),
        environment=tuple(carried.items()),
        environment_file=str(environment_file()),
        state_directory=str(state),
        log_file=str(state / "service.log"),
        stop_seconds=wait + STOP_MARGIN_SECONDS,
        address=f"[{host}]:{chosen}" if ":" in host else f"{host}:{chosen}",
        writes=tuple(_directories(config, state, environ)),
    )


def environment_file() -> Path:
    """`NAME=value` lines for the service alone, its secrets among them."""
    return configuration.default_file().parent / "service.env"


def sorted_out(environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The variables that the service gets, and the names of those that it would need but that are
    secrets."""
    ours = {variable_name(path): rule.is_secret for path, rule in settings().items()}
    known = {
        **dict.fromkeys((*CARRIED, "SUPERVISOR_STATE_DIR", "SUPERVISOR_CONFIG"), False),
        **ours,
    }
    wanted = {name: environ[name] for name in sorted(known) if environ.get(name)}
    secret = [
        name for name, value in wanted.items() if known[name] or _PASSWORD_IN_URL.search(value)
    ]
    return {name: value for name, value in wanted.items() if name not in secret}, secret


def own_command() -> tuple[str, ...]:
    """What starts this program again. Not what is called `supervisor` on the PATH: that name
    belongs to another program too."""
    started = Path(sys.argv[0])
    if started.name == "supervisor" and os.access(started, os.X_OK) and started.is_file():
        return (str(started.absolute()),)
    beside = Path(sys.executable).with_name("supervisor")
    if os.access(beside, os.X_OK) and beside.is_file():
        return (str(beside),)
    python = sys.executable or shutil.which("python3") or "python3"
    return (python, "-P", "-m", "supervisor")


def _directories(config: Config, state: Path, environ: Mapping[str, str]) -> list[str]:
    """Where the program writes: its state, its logs, the client's settings and logins."""
    from supervisor.client_side import default_settings_file

    files = config.client.settings or (default_settings_file(environ),)
    found = [str(state), config.logs.directory, *(str(Path(file).parent) for file in files)]
    found += [str(Path(one.credentials).parent) for one in config.accounts if one.credentials]
    return [path for path in dict.fromkeys(found) if path]
