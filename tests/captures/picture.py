"""What a terminal shows, as a picture: colours and all, in SVG, with no address of another server in it."""

from __future__ import annotations

import io
import re
from typing import NamedTuple

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

COLUMNS = 100
_WEB_FONT = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)


class Shown(NamedTuple):
    """A command line as it was typed, and what came of it."""

    line: str
    said: str


class Picture(NamedTuple):
    """What one file shows."""

    name: str
    title: str
    shown: tuple[Shown, ...]
    columns: int = COLUMNS


def svg(picture: Picture) -> str:
    """The file's content; the same for the same picture."""
    console = Console(
        record=True,
        width=picture.columns,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
        highlight=False,
    )
    for number, shown in enumerate(picture.shown):
        if number:
            console.print()
        console.print(Text.assemble(("$ ", "dim"), (shown.line, "bold")))
        for line in Text.from_ansi(shown.said.rstrip("\n")).split("\n", allow_blank=True):
            for piece in _folded(line, picture.columns):
                console.print(piece, no_wrap=True, overflow="ignore", crop=False)
    drawn = console.export_svg(
        title=picture.title, theme=MONOKAI, unique_id=f"capture-{picture.name}"
    )
    return _WEB_FONT.sub("", drawn)


def _folded(line: Text, columns: int) -> list[Text]:
    """As a terminal folds it: in the middle of a word, where that is where the screen ends."""
    line = line.copy()
    line.rstrip()
    return list(line.divide(range(columns, line.cell_len, columns)))
