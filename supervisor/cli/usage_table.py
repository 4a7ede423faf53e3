"""`supervisor usage` as a table."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.text import Text

from supervisor.cli import screen
from supervisor.cli.columns import flexible, right, table
from supervisor.cli.wording import amount, dollars, printable

if TYPE_CHECKING:
    from protocol.usage_report import Report, Sums


def show(report: Report, by: str, since: datetime, place: Path) -> None:
    """Prints it, or that there is nothing."""
    rows = report.rows()
    day = since.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    if not rows:
        click.echo(f"no requests since {day} in {printable(place)}")
        return
    total = report.total()
    columns = [
        *flexible(by),
        *right("requests", "errors", "input", "cached", "written", "output", "cost"),
    ]
    if total.unpriced:
        columns += right("unpriced")
    lines = [_row(key, sums, unpriced=bool(total.unpriced)) for key, sums in rows]
    lines.append(_row("total", total, unpriced=bool(total.unpriced), style="bold"))
    console = screen.console()
    drawn = table(columns, lines, console.width)
    screen.put(console, Text(f"since {day}", "dim"))
    screen.put(console, drawn)


def _row(key: str, sums: Sums, *, unpriced: bool, style: str = "") -> list[Text]:
    share = sums.cache_share
    everything = sums.input_tokens + sums.cache_read_tokens + sums.cache_write_tokens
    cells = [
        printable(key),
        str(sums.requests),
        str(sums.errors),
        amount(everything),
        "-" if share is None else f"{share:.0%}",
        amount(sums.cache_write_tokens),
        amount(sums.output_tokens),
        dollars(sums.cost_usd),
    ]
    if unpriced:
        cells.append(str(sums.unpriced))
    return [Text(cell, style) for cell in cells]
