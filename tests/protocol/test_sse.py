"""Events out of bytes that may be split, framed and broken in any way."""

from __future__ import annotations

import re
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocol import sse
from protocol.sse import EVENT_BYTES_MAX, Event, EventScanner


def scan(*chunks: bytes) -> list[Event]:
    scanner = EventScanner()
    return [event for chunk in chunks for event in scanner.feed(chunk)]


def reference(stream: bytes) -> list[Event]:
    """The whole stream at once, line by line, as the standard describes it."""
    events: list[Event] = []
    name, data = b"", list[bytes]()
    *lines, _unfinished = re.split(b"\r\n|\r|\n", stream)
    for number, line in enumerate(lines):
        if number == 0:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line:
            field, _, value = line.partition(b":")
            value = value[1:] if value[:1] == b" " else value
            if field == b"event":
                name = value
            elif field == b"data":
                data.append(value)
        elif name or data:
            events.append(Event(name.decode("utf-8", "replace"), b"\n".join(data)))
            name, data = b"", []
    return events


tokens = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b"\n\n", b"event", b"data", b"id", b":", b": ", b" ", b"x", b"\0",
     b"\xef\xbb\xbf", b"\xff", b"event: ping", b"data: {}", b": comment"]
)  # fmt: skip


@pytest.mark.promise("U5")
@given(st.lists(st.lists(tokens).map(b"".join)))
@example([b"data: x\r", b"\n", b"\n"])
@example([b"data: x\r", b"\ndata: y\r", b"\n\n"])
@example([b"data: x\n\r", b"data: y\n\n"])
@example([b"\n", b"\xef\xbb\xbfdata: x\n\n"])
@example([b"data: x\r", b"", b"\n", b"\r"])
@example([b"\xef", b"\xbb", b"\xbfdata: x\n\n"])
def test_it_reads_what_the_standard_says_however_the_bytes_are_cut(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    assert scan(*chunks) == reference(whole)
    assert scan(whole) == reference(whole)
    assert scan(*(whole[i : i + 1] for i in range(len(whole)))) == reference(whole)


@pytest.mark.promise("U5")
@given(st.lists(st.binary()))
def test_no_bytes_make_it_raise(chunks: list[bytes]) -> None:
    assert scan(*chunks) == reference(b"".join(chunks))


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_the_three_line_ends_mean_the_same(end: bytes) -> None:
    lines = [
        b"event: a",
        b"data: 1",
        b"data:2",
        b"data",
        b"",
        b": ping",
        b"",
        b"data: {}",
        b"",
        b"",
    ]
    assert scan(end.join(lines)) == [Event("a", b"1\n2\n"), Event("", b"{}")]


def test_an_event_that_is_not_finished_is_not_reported() -> None:
    assert scan(b"event: error\ndata: {}\n") == []


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sse, "EVENT_BYTES_MAX", 100)
    monkeypatch.setattr(sse, "SHORT_LINE_BYTES", 20)
    return 100


@pytest.mark.promise("U5")
@pytest.mark.parametrize("piece", [1, 7, 1000])
@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data:" + b"x" * 94 + b"\n\n", [Event("", b"x" * 94)]),
        ((b"data:" + b"x" * 94 + b"\n\n") * 2, [Event("", b"x" * 94)] * 2),
        (b"data:" + b"x" * 95 + b"\n\n", [Event("", b"", cut=True)]),
        (
            b"event: a\ndata:" + b"x" * 300 + b"\n\ndata: y\n\n",
            [Event("a", b"", cut=True), Event("", b"y")],
        ),
        (b"data:" + b"x" * 300 + b"\nevent: late\n\n", [Event("late", b"", cut=True)]),
        (b"data:" + b"x" * 90 + b"\nevent: late\n\n", [Event("late", b"x" * 90)]),
        (b"data:" + b"x" * 90 + b"\ndata: abcdef\n\n", [Event("", b"", cut=True)]),
        (b"data\n" * 21 + b"\n", [Event("", b"", cut=True)]),
        (b":" + b"x" * 300 + b"\ndata: y\n\n", [Event("", b"y")]),
        (b"event: " + b"n" * 300 + b"\n\n", [Event("n" * 20, b"")]),
    ],
)
@pytest.mark.usefixtures("small")
def test_an_event_that_is_too_large_keeps_its_name_and_spoils_no_other(
    stream: bytes, events: list[Event], piece: int
) -> None:
    assert scan(*(stream[i : i + piece] for i in range(0, len(stream), piece))) == events


@pytest.mark.promise("U5")
@pytest.mark.parametrize("line", [b"data: ", b": ", b"", b"event: "])
def test_an_endless_line_costs_bounded_memory(line: bytes) -> None:
    scanner = EventScanner()
    scanner.feed(line)
    chunk = b"x" * 65536
    tracemalloc.start()
    for _ in range(64):  # 4 MiB
        assert scanner.feed(chunk) == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * EVENT_BYTES_MAX
    scanner.feed(b"\n\n")
    assert scanner.feed(b"data: y\n\n")[-1] == Event("", b"y")


@pytest.mark.promise("U5")
def test_an_endless_line_behind_a_large_one_costs_no_more() -> None:
    scanner = EventScanner()
    chunk = b"x" * 65536
    scanner.feed(b"data: " + b"x" * (EVENT_BYTES_MAX - 100_000) + b"\ndata: ")
    tracemalloc.start()
    for _ in range(64):
        scanner.feed(chunk)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < EVENT_BYTES_MAX / 2
