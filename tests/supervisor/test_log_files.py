"""Log files, read from their ends and followed."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor import log_files
from supervisor.log_files import Follower, backwards, blocks

TODAY = "requests-2026-03-10.jsonl"
TOMORROW = "requests-2026-03-11.jsonl"


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


@given(
    st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"\n", b"")), max_size=30),
    st.binary(max_size=5).map(lambda b: b.replace(b"\n", b"")),
    st.integers(1, 40),
)
def test_lines_come_back_last_first_whatever_the_size_of_a_read(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], torn: bytes, size: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "backwards"
    path.write_bytes(b"".join(line + b"\n" for line in lines) + torn)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_files, "BACKWARDS_BYTES", size)
        patch.setattr(log_files, "BLOCK_BYTES", size)
        assert list(backwards(path)) == [line for line in reversed(lines) if line]
        assert b"".join(blocks(path)) == path.read_bytes()
        assert all(block.endswith(b"\n") for block in list(blocks(path))[:-1])


def test_only_lines_that_contain_what_is_looked_for_come_back(tmp_path: Path) -> None:
    (tmp_path / TODAY).write_bytes(b"one a\ntwo\nthree a\n")
    assert list(backwards(tmp_path / TODAY, b"a")) == [b"three a", b"one a"]


def test_files_are_those_of_their_kind_from_a_day_on(tmp_path: Path) -> None:
    for name in (TOMORROW, TODAY, "requests-2026-03-09.jsonl", "debug-2026-03-10.jsonl", "x"):
        (tmp_path / name).touch()
    day = datetime.date(2026, 3, 10)
    assert [path.name for path in log_files.log_files(tmp_path, "requests", day)] == [
        TODAY, TOMORROW,
    ]  # fmt: skip


def test_a_follower_begins_at_the_end(tmp_path: Path) -> None:
    append(tmp_path / TODAY, b"old\n" * 100_000)
    follower = Follower(tmp_path, "requests")
    assert follower.poll() == []
    append(tmp_path / TODAY, b"new\n")
    assert follower.poll() == [b"new"]
    assert follower.poll() == []


def test_a_line_is_followed_once_it_is_whole(tmp_path: Path) -> None:
    append(tmp_path / TODAY, b"old\nha")
    follower = Follower(tmp_path, "requests")
    append(tmp_path / TODAY, b"lf\nne")
    assert follower.poll() == [b"half"]
    append(tmp_path / TODAY, b"xt\n")
    assert follower.poll() == [b"next"]


def test_midnight_loses_no_line_of_either_day(tmp_path: Path) -> None:
    append(tmp_path / TODAY, b"old\n")
    follower = Follower(tmp_path, "requests")
    append(tmp_path / TODAY, b"last of the day\n")
    append(tmp_path / TOMORROW, b"first of the next\n")
    assert follower.poll() == [b"last of the day", b"first of the next"]
    append(tmp_path / TOMORROW, b"second\n")
    assert follower.poll() == [b"second"]


def test_a_file_that_was_cut_or_replaced_is_read_from_its_beginning(tmp_path: Path) -> None:
    append(tmp_path / TODAY, b"a long first line\n")
    follower = Follower(tmp_path, "requests")
    (tmp_path / TODAY).write_bytes(b"cut\n")
    assert follower.poll() == [b"cut"]
    (tmp_path / "new").write_bytes(b"replaced, and longer than before\n")
    (tmp_path / "new").replace(tmp_path / TODAY)
    assert follower.poll() == [b"replaced, and longer than before"]


def test_a_directory_and_a_file_may_come_later_or_go(tmp_path: Path) -> None:
    place = tmp_path / "logs"
    follower = Follower(place, "requests")
    assert follower.poll() == []
    place.mkdir()
    append(place / TODAY, b"first\n")
    assert follower.poll() == [b"first"]
    (place / TODAY).unlink()
    assert follower.poll() == []
    append(place / TODAY, b"again\n")
    assert follower.poll() == [b"again"]
