"""Heads of upstreams: what they mean, and which nobody should trust."""

from __future__ import annotations

import math

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.http1_response import Malformed, ResponseBody, head_end, read_head

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("lines", "method", "length", "keeps"),
    [
        (b"Content-Length: 5\r\n", "POST", 5, True),
        (b"content-length: 0\r\n", "POST", 0, True),
        (b"Content-Length: 5\r\n", "HEAD", 0, True),
        (b"Transfer-Encoding: chunked\r\n", "POST", None, True),
        (b"Transfer-Encoding: Chunked\r\n", "HEAD", 0, True),
        (b"", "POST", math.inf, False),
        (b"Content-Length: 5\r\nConnection: close\r\n", "POST", 5, False),
        (b"Content-Length: 5\r\nConnection: x, Close\r\n", "POST", 5, False),
        (b"Content-Length: 5\r\nConnection: upgrade\r\nUpgrade: h2\r\n", "POST", 5, True),
    ],
)
def test_the_head_says_how_the_body_ends(
    lines: bytes, method: str, length: float | None, keeps: bool
) -> None:
    head = read_head(OK + lines + b"\r\n", method)
    assert (head.status, head.length, head.keeps) == (200, length, keeps)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified", b"103 Early Hints"])
def test_some_statuses_have_no_body_whatever_they_say(status: bytes) -> None:
    head = read_head(b"HTTP/1.1 " + status + b"\r\nContent-Length: 7\r\n\r\n", "GET")
    assert head.length == 0


def test_http_1_0_ends_its_connection() -> None:
    head = read_head(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n", "GET")
    assert (head.length, head.keeps) == (2, False)


def test_names_keep_their_case_and_values_lose_the_space_around_them() -> None:
    head = read_head(
        OK + b"X-Odd:  a b \t\r\nx-odd:\r\ny: \xff\r\nContent-Length: 0\r\n\r\n", "GET"
    )
    assert head.headers == (
        (b"X-Odd", b"a b"), (b"x-odd", b""), (b"y", b"\xff"), (b"Content-Length", b"0"),
    )  # fmt: skip


@pytest.mark.parametrize(
    "block",
    [
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        OK + b"Content-Length: 5, 5\r\n\r\n",
        OK + b"Content-Length: +5\r\n\r\n",
        OK + b"Content-Length: -5\r\n\r\n",
        OK + b"Content-Length: 0x5\r\n\r\n",
        OK + b"Content-Length:\r\n\r\n",
        OK + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"Transfer-Encoding:\x0bchunked\r\n\r\n",
        OK + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        OK + b"X: a\nContent-Length: 0\r\n\r\n",
        OK + b"X : a\r\nContent-Length: 0\r\n\r\n",
        OK + b"X\r\n\r\n",
        OK + b"X: a\0b\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 99 Odd\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        OK + b"a: b\r\n" * 201 + b"\r\n",
    ],
)
def test_a_head_that_two_readers_could_understand_differently_is_refused(block: bytes) -> None:
    with pytest.raises(Malformed):
        read_head(block, "POST")


def test_a_head_ends_with_its_empty_line_and_is_bounded() -> None:
    assert head_end(OK) == 0
    assert head_end(OK + b"\r\nbody") == len(OK) + 2
    assert head_end(b"HTTP/1.1 200 OK\nX: y\n\nbody") == len(b"HTTP/1.1 200 OK\nX: y\n\n")
    for data in (b"x" * 70_000, OK + b"x: " + b"y" * 70_000 + b"\r\n\r\n"):
        with pytest.raises(Malformed):
            head_end(data)


def test_what_comes_behind_a_body_is_not_part_of_it() -> None:
    for length, data, piece in ((3, b"abcd", b"abc"), (None, b"3\r\nabc\r\n0\r\n\r\nd", b"abc")):
        body = ResponseBody(length)
        assert body.feed(data) == piece
        assert (body.ended, body.exact) == (True, False)


def test_only_a_body_without_framing_ends_with_its_connection() -> None:
    for length, whole in ((math.inf, True), (6, False), (None, False)):
        body = ResponseBody(length)
        body.feed(b"2\r\nab")
        assert body.close() == whole


def by_h11(block: bytes, method: str) -> h11.Response | h11.InformationalResponse | None:
    """What h11 makes of it; None when it refuses."""
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    parser.send(h11.EndOfMessage())
    parser.receive_data(block)
    try:
        event = parser.next_event()
    except h11.RemoteProtocolError:
        return None
    return event if isinstance(event, h11.Response | h11.InformationalResponse) else None


fields = st.sampled_from(
    [
        b"Content-Length: 5\r\n", b"content-length: 007\r\n", b"Content-Length: 6\r\n",
        b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b"X-A: b\r\n",
        b"x-a:\r\n", b"Y:\t c d \r\n", b"Z: \xff\xfe\r\n", b"Connection: close\r\n", b"X: a\r\n b\r\n",
        b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"Content-Length: 5, 5\r\n", b"X: a\nb\r\n", b"X : a\r\n",
    ]
)  # fmt: skip
firsts = st.sampled_from(
    [
        OK,
        OK,
        b"HTTP/1.1 404 \r\n",
        b"HTTP/1.1 204 No Content\r\n",
        b"HTTP/1.0 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n",
        b"HTTP/1.1 529 Over\xff\r\n",
        b"HTTP/1.1 304\r\n",
    ]
)


@pytest.mark.promise("C6")
@given(
    firsts,
    st.lists(fields, max_size=4),
    st.integers(0, 10_000),
    st.binary(max_size=3),
    st.sampled_from(["GET", "HEAD"]),
)
def test_nothing_is_trusted_that_another_parser_refuses_or_reads_differently(
    first: bytes, found: list[bytes], place: int, noise: bytes, method: str
) -> None:
    block = first + b"".join(found) + b"\r\n"
    if noise:
        place %= len(block)
        block = block[:place] + noise + block[place + 1 :]
    end = block.find(b"\r\n\r\n")
    if end < 0:
        return
    block = block[: end + 4]
    try:
        head = read_head(block, method)
    except Malformed:
        return
    response = by_h11(block, method)
    assert response is not None
    assert head.status == response.status_code
    assert head.headers == tuple(
        (bytes(name), bytes(value)) for name, value in response.headers.raw_items()
    )
    names = {bytes(name): bytes(value) for name, value in response.headers}
    if method == "HEAD" or head.status < 200 or head.status in (204, 304):
        assert head.length == 0
    elif b"transfer-encoding" in names:
        assert head.length is None
    elif b"content-length" in names:
        assert head.length == int(names[b"content-length"])
    else:
        assert head.length == math.inf
