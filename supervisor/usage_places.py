"""Where the usage files are: by the configuration, and by where Claude Code keeps its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from actors.usage_places import UsagePlaces
from protocol.config import Config
from protocol.usage_file import FILE_NAME
from supervisor.environment_accounts import claude_code_directory

SEVERAL_LOGINS = "CLAUDE_CONFIG_DIRS"
AUTO = "auto"


def usage_places(config: Config, environ: Mapping[str, str] | None) -> UsagePlaces:
    """`environ` None: a program that must not look for Claude Code (tests, the demo)."""
    wanted = config.client.usage_file
    if not wanted:
        return UsagePlaces()
    logins = () if environ is None else login_directories(environ)
    if wanted != AUTO:
        return UsagePlaces(Path(wanted).expanduser(), optional=False, logins=logins)
    if environ is None:
        return UsagePlaces()
    return UsagePlaces(claude_code_directory(environ) / FILE_NAME, optional=True, logins=logins)


def login_directories(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The directories of `CLAUDE_CONFIG_DIRS` (comma-separated), each once."""
    names = (name.strip() for name in environ.get(SEVERAL_LOGINS, "").split(","))
    return tuple(dict.fromkeys(Path(name).expanduser() for name in names if name))
