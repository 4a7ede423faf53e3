from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.clients.screen import Screen


def shown(*parts: str | bytes, rows: int = 4, columns: int = 20) -> str:
    screen = Screen(rows, columns)
    for part in parts:
        screen.feed(part if isinstance(part, bytes) else part.encode())
    return screen.text


def test_what_is_printed_is_shown() -> None:
    assert shown("one\r\ntwo") == "one\ntwo"


def test_a_word_painted_cell_by_cell_is_one_word() -> None:
    assert shown("He  o", "\x1b[1;3Hl", "\x1b[1;4Hl") == "Hello"


def test_relative_movement_starts_where_the_last_character_ended() -> None:
    assert shown("\x1b[2Bab\x1b[2Ccd\x1b[1A\x1b[1Gx") == "\nx\nab  cd"


def test_colours_titles_links_and_queries_leave_no_trace() -> None:
    assert shown("\x1b[38;5;174ma\x1b]0;title\x07b\x1b]8;;url\x1b\\c\x1b[>0q\x1b[?25h") == "abc"


def test_an_escape_cut_in_two_is_put_together() -> None:
    assert shown("a\x1b[", "2;1Hb") == "a\nb"
    assert shown("é".encode()[:1], "é".encode()[1:]) == "é"


def test_erasing_takes_what_it_names() -> None:
    assert shown("abcdef\x1b[1;3H\x1b[K") == "ab"
    assert shown("abcdef\x1b[1;3H\x1b[1K") == "   def"
    assert shown("abcdef\r\nxy\x1b[2J") == ""
    assert shown("abcdef\x1b[1;2H\x1b[2X") == "a  def"


def test_the_top_line_scrolls_away() -> None:
    assert shown("1\r\n2\r\n3", rows=2) == "2\n3"


def test_long_lines_wrap() -> None:
    assert shown("abcdef", columns=4) == "abcd\nef"


def test_a_wide_character_takes_two_cells() -> None:
    assert shown("漢\x1b[1;3Hx") == "漢x"


@given(st.lists(st.binary(max_size=40) | st.just(b"\x1b[9999;9999H"), max_size=20))
def test_no_output_whatever_breaks_the_screen(parts: list[bytes]) -> None:
    screen = Screen(3, 10)
    for part in parts:
        screen.feed(part)
    assert len(screen.text.splitlines()) <= 3
