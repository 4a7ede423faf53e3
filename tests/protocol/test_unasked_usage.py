"""The chunk with nothing but usage is left out of a stream, however the stream is cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.unasked_usage import KEPT_BYTES_MAX, UsageLeftOut

WORDS = b'data: {"choices":[{"delta":{"content":"\\"usage\\""}}],"usage":null}'
LAST = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"total_tokens":1}}'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":30,"completion_tokens":7}}'
ODD = b'data: {"choices":[],"usage":'
DONE = b"data: [DONE]"


def passed(wire: bytes, cuts: list[int]) -> bytes:
    places = [0, *sorted(cut % (len(wire) + 1) for cut in cuts), len(wire)]
    stream = UsageLeftOut()
    pieces = [stream.feed(wire[begin:end]) for begin, end in itertools.pairwise(places)]
    return b"".join(pieces) + stream.finish()


@given(
    st.lists(st.sampled_from([WORDS, LAST, USAGE, ODD, DONE]), max_size=8),
    st.sampled_from([b"\n\n", b"\r\n\r\n"]),
    st.lists(st.integers(min_value=0), max_size=12),
)
def test_all_but_that_chunk_stays_byte_for_byte(
    events: list[bytes], end: bytes, cuts: list[int]
) -> None:
    wire = b"".join(event + end for event in events)
    assert passed(wire, cuts) == b"".join(event + end for event in events if event != USAGE)


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_wherever_the_stream_is_cut_in_two(end: bytes) -> None:
    wire = b"".join(event + end for event in (LAST, USAGE, DONE))
    for cut in range(len(wire)):
        assert passed(wire, [cut]) == LAST + end + DONE + end


@given(st.binary(max_size=200), st.lists(st.integers(min_value=0), max_size=6))
def test_what_is_no_stream_of_events_passes(junk: bytes, cuts: list[int]) -> None:
    assert passed(junk, cuts) == junk


@pytest.mark.parametrize("ended", [True, False])
def test_it_is_left_out_at_the_very_end_too(ended: bool) -> None:
    wire = LAST + b"\n\n" + USAGE + (b"\n\n" if ended else b"")
    assert passed(wire, []) == LAST + b"\n\n"


def test_an_event_that_is_too_long_is_not_kept() -> None:
    stream, long = UsageLeftOut(), b"data: " + b"x" * KEPT_BYTES_MAX
    assert stream.feed(long) == long
    assert stream.feed(b"\n\n" + USAGE + b"\n\n") == b"\n\n" + USAGE + b"\n\n"


def test_a_stream_that_begins_with_an_empty_line_keeps_it() -> None:
    assert passed(b"\n\n" + USAGE + b"\n\n" + DONE, []) == b"\n\n" + DONE
