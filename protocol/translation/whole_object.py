"""Whether pieces of JSON make up one whole object by now, without reading all of it for each piece."""

from __future__ import annotations

import re

_MARKS = re.compile(r'\\.|[{}\[\]"]', re.DOTALL)


class WholeObject:
    """Feed it the pieces; `whole` is true once the outermost bracket was closed.

    Brackets are counted, nothing is validated: who reads the object does that.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._escape = ""
        self.whole = False

    def feed(self, piece: str) -> None:
        """One more piece, cut anywhere."""
        piece = self._escape + piece
        backslashes = len(piece) - len(piece.rstrip("\\"))
        self._escape = "\\" if backslashes % 2 else ""
        for found in _MARKS.finditer(piece, 0, len(piece) - len(self._escape)):
            mark = found[0]
            if mark == '"':
                self._in_string = not self._in_string
            elif not self._in_string and mark in ("{", "["):
                self._depth += 1
                self.whole = False
            elif not self._in_string and mark in ("}", "]"):
                self._depth = max(self._depth - 1, 0)
                self.whole = self._depth == 0
