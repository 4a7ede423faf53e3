"""Where the logs are: of the running instance, else of the configuration that would be used."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from supervisor import exit_codes
from supervisor.cli import running
from supervisor.cli.failure import Failure

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def log_directory(named: Path | None) -> Path:
    """`named`, else the configured one. Raises Failure where that is not to be found out."""
    if named is not None:
        return named.expanduser().absolute()
    from supervisor import instance
    from supervisor.cli.configuration_errors import load_or_fail

    state = running.state_directory()
    last = instance.read(state)
    loaded = running.seen_of(last) if last is not None else None
    config = (loaded or load_or_fail(None, {}, looks_only=True)).config
    return Path(config.logs.directory) if config.logs.directory else state / "logs"


def not_readable(directory: Path, error: OSError) -> Failure:
    """For a directory or a file in it that can not be read."""
    if isinstance(error, FileNotFoundError) and not directory.exists():
        return Failure(
            exit_codes.FAILED,
            f"there are no logs: {directory} does not exist",
            "they come with the first request to `supervisor run`;",
            "for logs of another place: --directory DIR, or SUPERVISOR_STATE_DIR.",
        )
    return Failure(
        exit_codes.PERMISSION if isinstance(error, PermissionError) else exit_codes.FAILED,
        f"the logs cannot be read: {error.filename or directory}: {error.strerror or error}",
        "--directory DIR reads those of another place.",
    )


class Since(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """`90m`, `24h`, `7d`, `2w`, or a day; an aware moment. From now on back, days from midnight."""

    name = "since"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        text = str(value).strip()
        number, unit = text[:-1], text[-1:]
        try:
            if unit in _UNITS and number.isascii() and number.isdigit():
                return datetime.now(UTC) - timedelta(**{_UNITS[unit]: int(number)})
            return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            self.fail(f"{text!r}: say 90m, 24h, 7d, 2w or a day such as 2026-11-21", param, ctx)
