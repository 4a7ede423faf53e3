"""A terminal's screen, as far as full-screen programs need it to be read back as text.

Such a program does not print lines: it moves the cursor and repaints the cells that changed, so a
word that is on the screen may never have been written in one piece. Colours are not kept.
"""

from __future__ import annotations

import codecs
import re
import unicodedata

_ESCAPE = re.compile(
    r"""
    \x1b \[ (?P<parameters>[0-?]*) [ -/]* (?P<final>[@-~])      # control sequence
    | \x1b [\]P^_X] .*? (?: \x07 | \x1b\\ )                     # title, link, device string
    | \x1b [ -/]* (?P<single>[0-Z\\^-~])                        # two-character escape
    """,
    re.VERBOSE | re.DOTALL,
)
_UNFINISHED_MAX = 4096
"""Characters after which an escape that never ends is taken for a stray one and dropped."""


class Screen:
    """Feed it what the program writes; `text` is what a person would see."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""
        self._saved = (0, 0)
        self._row = self._column = 0
        self._cells = [self._blank() for _ in range(rows)]

    @property
    def text(self) -> str:
        return "\n".join("".join(row).rstrip() for row in self._cells).rstrip()

    def feed(self, data: bytes) -> None:
        text = self._pending + self._decoder.decode(data)
        self._pending = ""
        position = 0
        while position < len(text):
            if text[position] != "\x1b":
                self._character(text[position])
                position += 1
                continue
            escape = _ESCAPE.match(text, position)
            if escape is None:
                if len(text) - position < _UNFINISHED_MAX:
                    self._pending = text[position:]
                    return
                position += 1
                continue
            self._obey(escape)
            position = escape.end()

    def _blank(self) -> list[str]:
        return [" "] * self.columns

    def _character(self, character: str) -> None:
        if character == "\r":
            self._column = 0
        elif character == "\n":
            self._line_feed()
        elif character == "\b":
            self._column = max(0, self._column - 1)
        elif character == "\t":
            self._column = min(self.columns - 1, (self._column // 8 + 1) * 8)
        elif character >= " " and not unicodedata.combining(character):
            self._put(character)

    def _put(self, character: str) -> None:
        width = 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if self._column + width > self.columns:
            self._column = 0
            self._line_feed()
        self._cells[self._row][self._column] = character
        if width == 2:
            self._cells[self._row][self._column + 1] = ""
        self._column += width

    def _line_feed(self) -> None:
        if self._row + 1 < self.rows:
            self._row += 1
        else:
            self._cells = [*self._cells[1:], self._blank()]

    def _obey(self, escape: re.Match[str]) -> None:
        if escape["final"]:
            self._control(escape["parameters"], escape["final"])
        elif escape["single"] == "7":
            self._saved = (self._row, self._column)
        elif escape["single"] == "8":
            self._move(*self._saved)

    def _control(self, parameters: str, final: str) -> None:
        if parameters[:1] in ("?", ">", "<", "="):
            if (parameters, final) in (("?1049", "h"), ("?1049", "l")):
                self._erase(0, self.rows * self.columns)
            return
        numbers = [int(number) if number.isdigit() else 0 for number in parameters.split(";")]
        count = max(1, numbers[0])
        column = min(self._column, self.columns - 1)
        match final:
            case "A" | "F":
                self._move(self._row - count, column if final == "A" else 0)
            case "B" | "E":
                self._move(self._row + count, column if final == "B" else 0)
            case "C":
                self._move(self._row, column + count)
            case "D":
                self._move(self._row, column - count)
            case "G":
                self._move(self._row, count - 1)
            case "d":
                self._move(count - 1, column)
            case "H" | "f":
                self._move(count - 1, max(1, (*numbers, 1)[1]) - 1)
            case "J":
                self._erase_part(numbers[0], 0, self.rows * self.columns)
            case "K":
                start = self._row * self.columns
                self._erase_part(numbers[0], start, start + self.columns)
            case "X":
                here = self._here()
                self._erase(here, min(here + count, (self._row + 1) * self.columns))

    def _move(self, row: int, column: int) -> None:
        self._row = min(max(0, row), self.rows - 1)
        self._column = min(max(0, column), self.columns - 1)

    def _here(self) -> int:
        return self._row * self.columns + min(self._column, self.columns - 1)

    def _erase_part(self, which: int, start: int, end: int) -> None:
        here = self._here()
        self._erase(start if which else here, here + 1 if which == 1 else end)

    def _erase(self, start: int, end: int) -> None:
        for cell in range(start, end):
            self._cells[cell // self.columns][cell % self.columns] = " "
