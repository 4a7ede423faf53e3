"""`supervisor usage`."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from supervisor import exit_codes
from supervisor.cli.log_place import Since, log_directory, not_readable
from supervisor.cli.manual import NEEDS_A_CONFIGURATION, PLACE_VARIABLES, Documented, Manual

if TYPE_CHECKING:
    from protocol.usage_report import Report

_DIMENSIONS = ("account", "model", "day", "client", "session")  # not imported for `--help` alone

_MANUAL = Manual(
    examples={
        "supervisor usage": "The last seven days, by account.",
        "supervisor usage --by model --since 24h": "What each model cost since yesterday.",
        "supervisor usage --by day --since 30d": "Day by day (UTC, as the logs).",
        "supervisor usage --by session --json": "For programs.",
    },
    exits={exit_codes.FAILED: "there are no logs, or they cannot be read", **NEEDS_A_CONFIGURATION},
    files={"logs/requests-*.jsonl": "in the state directory, or in logs.directory"},
    environment=PLACE_VARIABLES,
    see=("supervisor logs", "docs/operating.md#usage", "docs/operating.md#costs"),
)


@click.command(
    short_help="Sum up requests, tokens and cost from the logs.", cls=Documented, manual=_MANUAL
)
@click.option(
    "--by",
    type=click.Choice(_DIMENSIONS),
    default="account",
    show_default=True,
    metavar="KIND",
    help=f"What makes a row: {', '.join(_DIMENSIONS)}. A provider that served counts as an account.",
)
@click.option(
    "--since",
    type=Since(),
    default="7d",
    show_default=True,
    metavar="TIME",
    help="How far back: 90m, 24h, 7d, 2w, or a day such as 2026-11-21 (UTC).",
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The logs of this directory, instead of the configured one.",
)
def usage(by: str, since: datetime, as_json: bool, directory: Path | None) -> None:
    """Sum up requests, tokens and cost from the request logs.

    It reads the files alone: nothing has to run. How far back they go is logs.keep_days.

    cached is the part of all input that came from a prompt cache. cost is the list price in US
    dollars, whatever a subscription has paid; unpriced counts the requests whose model has no known
    price, or whose line is older than prices.
    """
    place = log_directory(directory)
    report = _report(place, by, since)
    if as_json:
        click.echo(json.dumps(_document(report, by, since, place), indent=2))
    else:
        from supervisor.cli.usage_table import show

        show(report, by, since, place)
    for found in report.unreadable:
        lines = f"{found.lines} lines are" if found.lines > 1 else "1 line is"
        where = f"{place / found.file}, {'the first is ' if found.lines > 1 else ''}line"
        click.echo(
            f"warning: {lines} no whole line of ours and not counted: {where} {found.first}",
            err=True,
        )


def _report(place: Path, by: str, since: datetime) -> Report:
    from protocol.usage_report import Report
    from supervisor.log_files import blocks, log_files

    since = since.astimezone(UTC)
    report = Report(by, since.isoformat(timespec="milliseconds").replace("+00:00", "Z"))
    try:
        for path in log_files(place, "requests", since.date()):
            number = 1
            for block in blocks(path):
                number += report.read(path.name, block, number)
    except OSError as error:
        raise not_readable(place, error) from error
    return report


def _document(report: Report, by: str, since: datetime, place: Path) -> dict[str, object]:
    return {
        "by": by,
        "since": since.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "directory": str(place).encode(sys.getfilesystemencoding(), "replace").decode(),
        "rows": [{by: key, **sums.view()} for key, sums in report.rows()],
        "total": report.total().view(),
        "unreadable": [
            {"file": found.file, "lines": found.lines, "first": found.first}
            for found in report.unreadable
        ],
    }
