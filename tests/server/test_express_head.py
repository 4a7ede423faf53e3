"""What the express lane reads by itself: never more than the reference lane's parser, and alike."""

from __future__ import annotations

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocol.request import Peer
from server.express_head import Framed, can_begin, read_request

PEER = Peer("10.0.0.1", loopback=False)
FIRST = b"POST /v1/messages?beta=true HTTP/1.1\r\n"
HOST = b"Host: localhost\r\n"


def by_h11(block: bytes) -> h11.Request | None:
    """What the parser of the reference lane makes of it; None when it refuses."""
    parser = h11.Connection(h11.SERVER)
    parser.receive_data(block)
    try:
        event = parser.next_event()
    except h11.RemoteProtocolError:
        return None
    return event if isinstance(event, h11.Request) else None


def agrees(block: bytes, framed: Framed) -> None:
    request = by_h11(block)
    assert request is not None
    assert framed.head.method == request.method.decode()
    assert framed.head.target == request.target
    raw = tuple((bytes(name), bytes(value)) for name, value in request.headers.raw_items())
    assert framed.head.headers == raw
    headers = {bytes(name): bytes(value) for name, value in request.headers}
    if framed.length is None:
        assert headers[b"transfer-encoding"] == b"chunked"
        assert b"content-length" not in headers
    else:
        assert b"transfer-encoding" not in headers
        assert int(headers.get(b"content-length", b"0")) == framed.length
    assert request.http_version == b"1.1"


def test_a_usual_request_is_read_whole() -> None:
    block = (
        FIRST + b"HOST: localhost\r\nX-Odd:  a b \t\r\nx-empty:\r\nContent-Length: 12\r\n"
        b"Expect: 100-Continue\r\nConnection: keep-alive, Close\r\n\r\n"
    )
    framed = read_request(block, PEER)
    assert framed is not None
    assert (framed.length, framed.expects, framed.closes) == (12, True, True)
    assert framed.head.peer is PEER
    assert framed.head.headers[1:3] == ((b"X-Odd", b"a b"), (b"x-empty", b""))
    agrees(block, framed)


# What two readers could understand differently, as sent after the first line and Host.
DOUBTFUL = {
    "both framings": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "both framings, the other way": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6\r\n",
    "the same length twice": b"Content-Length: 5\r\nContent-Length: 5\r\n",
    "lengths in a list": b"Content-Length: 5, 5\r\n",
    "a signed length": b"Content-Length: +5\r\n",
    "a negative length": b"Content-Length: -5\r\n",
    "a hexadecimal length": b"Content-Length: 0x5\r\n",
    "an underscored length": b"Content-Length: 1_0\r\n",
    "a length with a space": b"Content-Length: 1 0\r\n",
    "an empty length": b"Content-Length:\r\n",
    "a length of other digits": "Content-Length: \u0665\r\n".encode(),
    "a length of 30 digits": b"Content-Length: " + b"9" * 30 + b"\r\n",
    "two codings": b"Transfer-Encoding: gzip, chunked\r\n",
    "chunked twice": b"Transfer-Encoding: chunked, chunked\r\n",
    "chunked in two headers": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "identity and chunked": b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
    "a coding that looks alike": b"Transfer-Encoding: xchunked\r\n",
    "a quoted coding": b'Transfer-Encoding: "chunked"\r\n',
    "a coding after a vertical tab": b"Transfer-Encoding:\x0bchunked\r\n",
    "a coding with a parameter": b"Transfer-Encoding: chunked;x=y\r\n",
    "a coding and a comma": b"Transfer-Encoding: chunked,\r\n",
    "a folded coding": b"Transfer-Encoding:\r\n chunked\r\n",
    "a space before the colon": b"Transfer-Encoding : chunked\r\n",
    "a tab before the colon": b"Content-Length\t: 5\r\n",
    "a space before the name": b" Content-Length: 5\r\n",
    "a name with a NUL": b"Content-Length\0: 5\r\n",
    "a NUL in a value": b"X: a\0b\r\n",
    "a folded value": b"X: a\r\n b\r\n",
    "a bare line feed": b"X: a\nContent-Length: 5\r\n",
    "a bare carriage return": b"X: a\rContent-Length: 5\r\n",
    "no colon": b"X\r\n",
    "no name": b": x\r\n",
    "another Host": b"Host: evil.example\r\n",
    "an upgrade": b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    "an unknown expectation": b"Expect: something\r\n",
    "101 headers": b"x: y\r\n" * 100,
    "70 kB of headers": (b"x: " + b"y" * 7000 + b"\r\n") * 10,
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_doubtful_heads_are_left_to_the_reference_lane(name: str) -> None:
    assert read_request(FIRST + HOST + DOUBTFUL[name] + b"\r\n", PEER) is None


@pytest.mark.parametrize(
    "first",
    [
        b"POST /v1/messages HTTP/1.0\r\n", b"POST /v1/messages HTTP/2.0\r\n", b"POST /v1/messages\r\n",
        b"POST  /v1/messages HTTP/1.1\r\n", b"POST /v1/messages HTTP/1.1 \r\n", b"POST\t/v1 HTTP/1.1\r\n",
        b"post /v1/messages HTTP/1.1\r\n", b"BREW /v1/messages HTTP/1.1\r\n", b"CONNECT a:1 HTTP/1.1\r\n",
        b"GET http://localhost/v1/models HTTP/1.1\r\n", b"OPTIONS * HTTP/1.1\r\n", b"GET ?x HTTP/1.1\r\n",
        b"GET /v1/m\xff HTTP/1.1\r\n", b"GET /v1/\x01 HTTP/1.1\r\n", b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n",
        b"GET /v1/models RTSP/1.0\r\n", b"\r\nGET /v1/models HTTP/1.1\r\n", b"GET /v1/a b HTTP/1.1\r\n",
    ],
)  # fmt: skip
def test_doubtful_first_lines_are_left_to_the_reference_lane(first: bytes) -> None:
    assert read_request(first + HOST + b"\r\n", PEER) is None


@pytest.mark.parametrize("host", [b"", b"Host: a\r\nHost: a\r\n"])
def test_a_request_names_exactly_one_host(host: bytes) -> None:
    assert read_request(FIRST + host + b"\r\n", PEER) is None


lines = st.sampled_from(
    [
        HOST,
        b"Content-Length: 5\r\n",
        b"content-length: 007\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"X-A: b\r\n",
        b"x-a:\r\n",
        b"Y:\t c d \r\n",
        b"Z: \xff\xfe\r\n",
        b"Expect: 100-continue\r\n",
        b"Connection: close\r\n",
        b"Connection: keep-alive\r\n",
        *DOUBTFUL.values(),
    ]
)


@pytest.mark.promise("C6")
@given(st.lists(lines, max_size=5), st.integers(0, 10_000), st.binary(max_size=3))
@example([], 0, b"")
def test_nothing_is_read_that_the_other_parser_refuses_or_reads_differently(
    found: list[bytes], place: int, noise: bytes
) -> None:
    block = FIRST + HOST + b"".join(found) + b"\r\n"
    if noise:
        place %= len(block)
        block = block[:place] + noise + block[place + 1 :]
    end = block.find(b"\r\n\r\n")
    if end < 0:
        return
    block = block[: end + 4]
    framed = read_request(block, PEER)
    if framed is not None:
        agrees(block, framed)


@given(st.integers(0, 200))
def test_an_unfinished_head_is_waited_for(size: int) -> None:
    block = FIRST + HOST + b"X: y\r\n\r\n"
    assert can_begin(block[: 1 + size % (len(block) - 1)])


@pytest.mark.parametrize(
    "received",
    [
        b"\x16\x03\x01",
        b"GET  /",
        b"get /",
        b"PROPPATCH /",
        b"POST http://",
        b"GET /\nHost: x",
        b"\r\nG",
    ],
)
def test_what_can_become_nothing_here_is_not_waited_for(received: bytes) -> None:
    assert not can_begin(received)
