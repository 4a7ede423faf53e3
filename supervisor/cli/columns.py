"""A table whose rigid columns are not cut, and whose others share what is left.

Left to itself, rich narrows every column of a table that is too wide, and numbers lose digits.
It is left to itself only where the rigid columns alone are wider than the window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

GAP = 2
NARROWEST = 6
"""Columns of the screen that a flexible column keeps, whatever is missing."""


class Column(NamedTuple):
    heading: str
    right: bool = False
    flexible: bool = False


def left(*headings: str) -> list[Column]:
    return [Column(heading) for heading in headings]


def right(*headings: str) -> list[Column]:
    return [Column(heading, right=True) for heading in headings]


def flexible(*headings: str) -> list[Column]:
    """Columns that give way, with an ellipsis, where there is no room for all."""
    return [Column(heading, flexible=True) for heading in headings]


def table(columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int) -> Table:
    """`rows` below `columns`, in at most `width` columns of the screen."""
    drawn = Table(box=None, pad_edge=False, header_style="dim", padding=(0, GAP, 0, 0))
    for column, cells in zip(columns, _widths(columns, rows, width), strict=True):
        drawn.add_column(
            Text(column.heading),
            justify="right" if column.right else "left",
            width=cells,
            no_wrap=True,
            overflow="ellipsis",
        )
    for row in rows:
        drawn.add_row(*row)
    return drawn


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int) -> list[int]:
    """What each column wants; then the widest flexible ones are narrowed until all fit."""
    widths = [
        max([len(column.heading), *(_lines_width(row[place]) for row in rows)])
        for place, column in enumerate(columns)
    ]
    places = [place for place, column in enumerate(columns) if column.flexible]
    missing = sum(widths) + GAP * (len(columns) - 1) - width
    while missing > 0 and places:
        widest = max(places, key=lambda place: widths[place])
        if widths[widest] <= NARROWEST:
            break
        widths[widest] -= 1
        missing -= 1
    return widths


def _lines_width(text: Text) -> int:
    return max((line.cell_len for line in text.split("\n", allow_blank=True)), default=0)
