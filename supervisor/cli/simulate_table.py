"""`supervisor simulate` as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from supervisor.cli import screen
from supervisor.cli.columns import left, right, table
from supervisor.cli.wording import counted, dollars, printable


def show(rows: Sequence[dict[str, Any]], accounts: Sequence[str], left_out: int) -> None:
    """Prints it."""
    columns = [
        *left("strategy"),
        *right("served", "refused", "waited", "limits met", "moved", "cache kept", "cost"),
    ]
    console = screen.console()
    drawn = table(columns, [_cells(row) for row in rows], console.width)
    remark = f"accounts: {', '.join(accounts)}"
    if left_out:
        remark += (
            f"; {counted(left_out, 'line')} left out: not served by an account, or without tokens"
        )
    screen.put(console, Text(printable(remark), "dim"))
    screen.put(console, drawn)


def _cells(row: dict[str, Any]) -> list[Text]:
    waited = str(row["waited"]) if "waited" in row else "-"
    if row.get("waited"):
        waited += f" ({row['waited_seconds']:.0f} s)"
    kept = row.get("cache_kept")
    cost = dollars(row["cost_usd"])
    if row["unpriced"]:
        cost += f" + {row['unpriced']} unpriced"
    texts = [
        row["strategy"],
        row["served"],
        row.get("refused", "-"),
        waited,
        row.get("limited", "-"),
        row.get("moved", "-"),
        "-" if kept is None else f"{kept:.0%}",
        cost,
    ]
    return [Text(str(text)) for text in texts]
