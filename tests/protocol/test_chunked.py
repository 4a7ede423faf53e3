"""The chunked coding: split anywhere, ended exactly, and never read more freely than h11 does."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.chunked import ChunkedBody, MalformedChunks

BEHIND = b"GET / HTTP/1.1\r\n"


def read(data: bytes, cuts: list[int]) -> tuple[bytes, bool, bytes]:
    """What comes out when `data` arrives in pieces that end at `cuts`."""
    body, out, places = ChunkedBody(), b"", sorted({cut % (len(data) + 1) for cut in cuts})
    for start, end in zip([0, *places], [*places, len(data)], strict=True):
        if body.ended:
            body.rest += data[start:end]
        else:
            out += body.feed(data[start:end])
    return out, body.ended, body.rest


def by_h11(data: bytes) -> tuple[bytes, bool, bytes] | None:
    """What h11 makes of it; None when it refuses."""
    parser = h11.Connection(h11.SERVER)
    parser.receive_data(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert isinstance(parser.next_event(), h11.Request)
    parser.receive_data(data)
    out = b""
    while True:
        try:
            event = parser.next_event()
        except h11.RemoteProtocolError:
            return None
        if isinstance(event, h11.Data):
            out += event.data
        elif isinstance(event, h11.EndOfMessage):
            return out, True, parser.trailing_data[0]
        else:
            return out, False, b""


pieces = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
extensions = st.sampled_from([b"", b";x", b";x=y", b"  ", b';a="b;c"'])
trailers = st.lists(st.sampled_from([b"X-A: b", b"x:", b"y: \xff"]), max_size=3)
cuts = st.lists(st.integers(0, 400), max_size=6)


@given(pieces, extensions, trailers, cuts)
def test_a_body_comes_out_whole_however_it_arrives(
    parts: list[bytes], extension: bytes, ends: list[bytes], at: list[int]
) -> None:
    data = b"".join(b"%X%b\r\n%b\r\n" % (len(part), extension, part) for part in parts)
    data += b"0\r\n" + b"".join(end + b"\r\n" for end in ends) + b"\r\n"
    assert read(data + BEHIND, at) == (b"".join(parts), True, BEHIND)


@pytest.mark.promise("C6")
@given(pieces, st.integers(0, 200), st.binary(min_size=0, max_size=3), cuts)
def test_nothing_is_accepted_that_h11_refuses_or_reads_differently(
    parts: list[bytes], place: int, noise: bytes, at: list[int]
) -> None:
    """A proxy in front that is stricter or looser than its neighbour is how smuggling works."""
    data = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    place %= len(data)
    data = data[:place] + noise + data[place + 1 :] + BEHIND
    try:
        out, ended, rest = read(data, at)
    except MalformedChunks:
        return
    expected = by_h11(data)
    assert expected is not None
    if ended:
        assert (out, ended, rest) == expected


@pytest.mark.parametrize(
    "data",
    [
        b"ZZZ\r\n", b"\r\n", b" 5\r\n", b"+5\r\nhello\r\n", b"0x5\r\nhello\r\n", b"-1\r\n",
        b"5\nhello\n0\n\n", b"5\r\nhello0\r\n\r\n", b"2\r\nhello\r\n", b"5\r\nhello\n0\r\n",
        b"5\r\nhello\rX", b"5;a\nb\r\nhello", b"5;\0\r\nhello", b"1" * 21 + b"\r\n",
        b"5;" + b"x" * 70_000, b"0\r\nx: " + b"x" * 70_000, b"0\r\nx y: z\r\n\r\n", b"0\r\n x\r\n\r\n",
        b"0\r\nx: a\nb\r\n\r\n", b"0\r\n" + b"a: b\r\n" * 101, b"0\r\n" + (b"a:" + b"b" * 9000 + b"\r\n") * 9,
        b"5\rhello", b"5 5\r\n", b"q", b"0\r\n:\r\n",
    ],
)  # fmt: skip
def test_what_is_not_validly_framed_is_refused_at_once(data: bytes) -> None:
    with pytest.raises(MalformedChunks):
        ChunkedBody().feed(data)


def test_an_unfinished_body_is_no_error() -> None:
    for data in (
        b"",
        b"5",
        b"5;x",
        b"5\r",
        b"5\r\nhel",
        b"5\r\nhello",
        b"5\r\nhello\r",
        b"0\r\n",
        b"0\r\nX-A",
        b"0\r\nX: a\r\n\r",
    ):
        body = ChunkedBody()
        body.feed(data)
        assert not body.ended
