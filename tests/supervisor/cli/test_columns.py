"""Rigid columns are never cut; flexible ones share what is left."""

from __future__ import annotations

import io

from rich.console import Console
from rich.text import Text

from supervisor.cli.columns import Column, flexible, left, right, table


def drawn(columns: list[Column], rows: list[list[str]], width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(table(columns, [[Text(cell) for cell in row] for row in rows], width))
    output = console.file
    assert isinstance(output, io.StringIO)
    return [line.rstrip() for line in output.getvalue().splitlines()]


def test_what_fits_is_shown_whole() -> None:
    assert drawn([*left("name"), *right("n")], [["abc", "12"], ["abcdef", "3"]], 40) == [
        "name     n",
        "abc     12",
        "abcdef   3",
    ]


def test_the_widest_flexible_column_gives_way_first_and_numbers_stay_whole() -> None:
    columns = [*flexible("name", "reason"), *right("number")]
    lines = drawn(columns, [["short", "a long reason that never ends", "1234567890"]], 36)
    assert lines[1] == "short  a long reason th…  1234567890"


def test_flexible_columns_keep_enough_to_be_told_apart() -> None:
    lines = drawn([*flexible("name"), *left("x")], [["abcdefghijkl", "y" * 12]], 20)
    assert lines[1] == "abcde…  yyyyyyyyyyyy"


def test_a_window_too_narrow_for_anything_is_never_overrun() -> None:
    lines = drawn([*flexible("name"), *left("x")], [["abcdefghijkl", "y" * 30]], 20)
    assert max(map(len, lines)) <= 20
    assert len(lines) == 2


def test_the_widest_line_of_a_cell_counts() -> None:
    assert drawn(left("a", "b"), [["one\nthree", "x"]], 40)[1:] == ["one    x", "three"]


def test_wide_characters_take_two_columns() -> None:
    assert drawn(left("a", "b"), [["漢字", "x"], ["abc", "y"]], 40)[1:] == ["漢字  x", "abc   y"]


def test_markup_in_a_cell_is_only_text() -> None:
    assert drawn(left("a"), [["[red]x[/red]"]], 40)[1] == "[red]x[/red]"
