"""Targets that read heads and headers."""

from __future__ import annotations

import math

import h11

from protocol.asked import asked
from protocol.debug_line import DebugLine, encode_debug_line, shown_headers
from protocol.gate import Rules, check, check_size
from protocol.headers import to_client, to_upstream, with_retry_after
from protocol.hops import Hops, weighed
from protocol.identity import client_name, given_request_id, is_owner, session_of
from protocol.limits_evidence import read_evidence, read_retry_after
from protocol.peek import ErrorInfo
from protocol.quota import WINDOWS_MAX, merged, read
from protocol.request import Headers, Peer, RequestHead, Route, route_of, upstream_target
from protocol.verdict import judge
from server.express_head import can_begin, read_request
from server.http1_response import Malformed, ResponseBody, head_end, read_head
from tests.fuzz.pieces import cut, fields

NOW = 1_790_000_000.0
PEER = Peer("127.0.0.1")


def request_head(data: bytes) -> None:
    """What the express lane frames, the reference lane's parser frames alike; and no head can make
    the door raise."""
    rest, pieces = cut(data)
    block = rest[: end + 4] if (end := rest.find(b"\r\n\r\n")) >= 0 else rest
    framed = read_request(block, PEER) if end >= 0 else None
    if framed is not None:
        seen = b""
        for piece in pieces:
            seen += piece
            if seen and b"\r\n\r\n" not in seen:
                assert can_begin(seen), "it would have been handed over before it was whole"
        theirs = _read_by_h11(block)
        assert theirs is not None, "the other lane refuses this head"
        head = framed.head
        assert (head.method.encode(), head.target) == (theirs.method, theirs.target)
        ours = [(name.lower(), value) for name, value in head.headers]
        assert ours == [(name, value) for name, value in theirs.headers]
        assert not (framed.length is None and head.header(b"content-length") is not None)
        assert check_size(head.target, head.headers) is None
        _judge(head)
    first = block.split(b"\r\n", 1)[0].split(b" ")
    _judge(RequestHead("POST", first[1] if len(first) > 1 else block, fields(block), PEER))


def _read_by_h11(block: bytes) -> h11.Request | None:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=2**20)
    connection.receive_data(block)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError:
        return None
    return event if isinstance(event, h11.Request) else None


def _judge(head: RequestHead) -> None:
    """Every question that is put to a head."""
    route = route_of(head.method, head.path)
    target = upstream_target(head.target)
    if route is not Route.OWN:
        assert target.startswith(b"/")
        assert route_of(head.method, RequestHead("", target, ()).path) is route
    for rules in (Rules(), Rules(pool=False)):
        check(head, route, rules)
    given = given_request_id(head)
    assert given is None or (given.isascii() and len(given) <= 128)
    client_name(head, b"salt")
    is_owner(head, route)
    session_of(head)
    asked(route, None, head.headers)
    sent = to_upstream(head.headers, None)
    assert all(name.lower() not in (b"host", b"connection", b"content-length") for name, _ in sent)


def response_head(data: bytes) -> None:
    """An upstream's answer: the same however it is cut, or refused."""
    rest, pieces = cut(data)
    assert _answer([rest]) == _answer(pieces)


def _answer(pieces: list[bytes]) -> object:
    """Head and body as far as they come. The bytes are read as a connection reads them."""
    received = b""
    head = body = None
    found = b""
    try:
        for piece in pieces:
            if body is None:
                received += piece
                end = head_end(received)
                if not end:
                    continue
                head = read_head(received[:end], "POST")
                body, piece = ResponseBody(head.length), received[end:]
                if not body.ended and piece:
                    found += body.feed(piece)
            elif not body.ended:
                found += body.feed(piece)
    except Malformed:
        return "malformed"
    if head is None or body is None:
        return "unended"
    whole = body.close()
    if head.length not in (None, math.inf):
        assert len(found) <= head.length
        assert whole == (len(found) == head.length)
    to_client(head.headers, [])
    return head.status, head.headers, found, whole


def limits(data: bytes) -> None:
    """What an answer's headers say of limits, and what is made of it."""
    rest, _ = cut(data)
    headers: Headers = fields(rest)
    quota = read(headers, NOW)
    known = merged(merged(quota, read(headers[::-1], NOW + 60)), quota)
    assert len(known.windows) <= WINDOWS_MAX
    for window in known.at(NOW + 3600).values():
        assert window.utilization is None or 0 <= window.utilization <= 1000
        assert window.resets_at is None or 0 < window.resets_at < 1e12
    seconds = read_retry_after(headers)
    assert seconds is None or (math.isfinite(seconds) and seconds >= 0)
    read_evidence(headers)
    hops = Hops()
    for status in (200, 400, 401, 403, 429, 429, 500, 529):
        verdict = judge(status, headers, ErrorInfo("rate_limit_error", "limited"))
        assert verdict.retry_after is None or math.isfinite(verdict.retry_after)
        hops, _ = weighed(hops, verdict, after_burst=False)
    assert all(int(value) <= 7 for _, value in with_retry_after([(b"retry-after", b"9")], 7))
    with_retry_after(list(headers), 7)
    line = DebugLine("", "r", 1, "a", "POST", "u", shown_headers(headers), 0)
    written = encode_debug_line(line)
    assert written.count(b"\n") == 1
    assert len(written.decode().splitlines()) == 1
