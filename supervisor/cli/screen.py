"""What tables are printed on."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

PIPED_COLUMNS = 160
"""Where no window limits the width, nothing is shortened to fit one."""


def console() -> Console:
    """On stdout; plain and wide when piped, and without a character that it can not print."""
    from rich.console import Console

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    free_width = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(highlight=False, width=PIPED_COLUMNS if free_width else None)


def put(console: Console, picture: RenderableType) -> None:
    """Prints it. Piped, without the blanks that rich fills each line with."""
    if console.is_terminal:
        console.print(picture)
        return
    with console.capture() as captured:
        console.print(picture)
    # Not click.echo, which would write UTF-8 to an output that says it wants ASCII.
    print(*(line.rstrip() for line in captured.get().splitlines()), sep="\n", flush=True)
