"""The picked events of any stream are those that a scanner of all events finds."""

from __future__ import annotations

import itertools
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocol.event_picker import PICKED_BYTES_MAX, EventPicker
from protocol.sse import Event, EventScanner

NAMES = frozenset({b"start", b"stop"})


def pick(*chunks: bytes) -> list[Event]:
    picker = EventPicker(NAMES)
    return [event for chunk in chunks for event in picker.feed(chunk)]


def scan(whole: bytes) -> list[Event]:
    return [event for event in EventScanner().feed(whole) if event.name in ("", "start", "stop")]


def cut_up(whole: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(whole) + 1) for place in places), len(whole)]
    return [whole[a:b] for a, b in itertools.pairwise(bounds)]


ends = st.sampled_from([b"\n", b"\r", b"\r\n"])
fields = st.sampled_from(
    [b"data: {}", b"data:x", b"data", b"data:  two", b"database: x", b"eventual: stop", b": comment",
     b"id: 1", b"data: \xff", b"data: event: stop", b"\xef\xbb\xbfdata: y", b"retry"]
)  # fmt: skip
names = st.sampled_from(
    [[], [b"event: start"], [b"event:stop"], [b"event"], [b"event: delta"], [b"event:  stop"]]
)


@st.composite
def events(draw: st.DrawFn) -> bytes:
    """One event, named at most once, its name anywhere; its lines all end in the same way."""
    lines = draw(names) + draw(st.lists(fields, max_size=4))
    place = draw(st.integers(0, len(lines)))
    if place and lines[0].startswith(b"event") and lines[0] != b"eventual: stop":
        lines.insert(place - 1, lines.pop(0))
    end = draw(ends)
    return b"".join(line + end for line in [*lines, b""])


@given(st.lists(events()).map(b"".join), st.lists(st.integers(0, 10_000)))
@example(b"\xef\xbb\xbfevent: stop\r\n\r\n", [1, 2, 16, 17, 18])
@example(b"data: x\r\n\r\nevent: stop\r\rdata: y\n\n", list(range(40)))
def test_it_picks_what_the_scanner_of_all_events_finds(whole: bytes, places: list[int]) -> None:
    expected = scan(whole)
    assert pick(whole) == expected
    assert pick(*cut_up(whole, places)) == expected
    assert pick(*(whole[i : i + 1] for i in range(len(whole)))) == expected


@given(
    st.lists(
        st.sampled_from([b"event: delta\ndata: {}\n\n", b"event: start\ndata: 1\n\n"])
        | st.just(b"event: delta\ndata: a\ndata: b\n\n" * 9)
        | events(),
        max_size=60,
    ).map(b"".join),
    st.lists(st.integers(0, 10_000), max_size=6),
)
@example(b"event: start\ndata: 1\n\n" + b"event: delta\ndata: {}\n\n" * 40, [7])
@example(b"event: delta\n" * 60 + b"event: stop\ndata: 1\n\n", [])
@example(b": c\n\n" + b"event: delta\nevent: stop\ndata: 1\n\n" * 30, [])
@example(b": c\n\n" + b"event: delta\ndata: 1\nevent: stop\n\n" * 30, [])
@example(b": c\n\n" + b"event:  stop\ndata: 1\n\nevent: stop \ndata: 1\n\n" * 30, [])
@example(b": c\n\n" + b"event: stopped\ndata: 1\n\nevent: stop\ndata: 2\n\n" * 30, [])
def test_it_picks_the_same_out_of_long_rows_of_others(whole: bytes, places: list[int]) -> None:
    expected = line_by_line(whole)
    assert pick(whole) == expected
    assert pick(*cut_up(whole, places)) == expected


def line_by_line(whole: bytes) -> list[Event]:
    """Fed so that no row of events is ever seen at once."""
    return pick(*(whole[at : at + 1] for at in range(len(whole))))


def test_a_name_that_is_open_takes_the_rows_behind_it_as_its_own() -> None:
    """What could be stepped over between events cannot within one."""
    row = b"event: delta\ndata: 1\n\n"
    start = b"event: start\ndata: 2\n\n"
    assert pick(b"event: stop\n", row + start) == [Event("start", b"2")]
    assert pick(b"data: 0\n", row + start) == [Event("start", b"2")]
    assert pick(b"event: start\ndata: ", row + start) == [
        Event("start", b"event: delta\n1"),
        Event("start", b"2"),
    ]


def test_a_byte_order_mark_is_one_at_the_very_beginning_alone() -> None:
    assert pick(b"\xef\xbb\xbfevent: stop\ndata: 1\n\n") == [Event("stop", b"1")]
    assert pick(b"\n\xef\xbb\xbfevent: stop\ndata: 1\n\n") == [Event("", b"1")]


@pytest.mark.parametrize("pieces", [1, 2])
def test_as_much_as_is_kept_of_one_event_is_kept_of_each(pieces: int) -> None:
    full = b"event: stop\ndata:" + b"x" * (PICKED_BYTES_MAX - 5)
    more = full + b"x"
    chunks = [full, b"\n\n", full, b"\n\n", more, b"\n\n"]
    if pieces == 1:
        chunks = [b"".join(chunks)]
    assert [len(event.data) for event in pick(*chunks)] == [PICKED_BYTES_MAX - 5] * 2 + [0]


@pytest.mark.promise("U5")
@given(st.lists(st.binary() | st.sampled_from([b"event", b": ", b"\r", b"\n", b"data", b"stop"])))
def test_no_bytes_make_it_raise_and_cutting_them_changes_nothing(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    assert pick(*chunks) == pick(whole)
    assert [event.name for event in pick(whole)] == [event.name for event in scan(whole)]


@pytest.mark.parametrize("size", [1, 4096, 2 * PICKED_BYTES_MAX])
def test_an_event_that_is_too_large_is_told_by_its_name_only(size: int) -> None:
    large = b"x" * PICKED_BYTES_MAX
    whole = b"event: stop\ndata: " + large + b"\n\nevent: stop\ndata: small\n\n"
    parts = [whole[at : at + size] for at in range(0, len(whole), size)]
    assert pick(*parts) == [Event("stop", b""), Event("stop", b"small")]


@pytest.mark.promise("U5")
def test_many_lines_of_one_event_are_bounded_too() -> None:
    lines = b"data: " + b"y" * 1000 + b"\n"
    assert pick(b"event: stop\n", lines * 300, b"\n") == [Event("stop", b"")]


@pytest.mark.promise("U5")
def test_the_data_of_what_is_skipped_takes_no_memory() -> None:
    picker = EventPicker(NAMES)
    picker.feed(b"event: delta\n")
    lines = (b"data: " + b"y" * 1000 + b"\n") * 100
    tracemalloc.start()
    try:
        picker.feed(lines)
        kept, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 16 * 1024


@pytest.mark.promise("U5")
@pytest.mark.parametrize("name", [b"delta", b"stop"])
def test_a_line_without_end_takes_no_memory(name: bytes) -> None:
    picker = EventPicker(NAMES)
    picker.feed(b"event: " + name + b"\ndata: ")
    chunk = b"z" * 65536
    tracemalloc.start()
    try:
        for _ in range(400):
            picker.feed(chunk)
        kept, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < (16 * 1024 if name == b"delta" else 2 * PICKED_BYTES_MAX)
