"""What goes in comes out, byte for byte: bodies, answers and headers, in both directions."""

from __future__ import annotations

import gzip
import hashlib
import json

import pytest

from server.scripted import Answer, Cut, Send, error, gateway_page, message_events, text_block
from tests.clients.conftest import Start
from tests.kit.live import Live
from tests.kit.wire import Headers

JSON: Headers = [("Content-Type", "application/json")]
OWN_KEY = "sk-ant-api03-the-clients-own-0123456789"
EVENTS = b"".join(message_events([text_block("Grüße, 世界 🌍 and \\u escapes")]))

BODIES = {
    "key order and white space": b'{ "z" : 1,\n\t"a":[ ] , "model":"m" }\r\n',
    "spellings of numbers": b'{"a":1.0,"b":1e5,"c":1E+05,"d":-0.0,"e":0.10000000000000000555}',
    "a number past every type": b'{"n":' + b"9" * 400 + b',"f":1e999}',
    "escapes": rb'{"model":"cl\u0061ude","t":"\u00e9\/\u2028\ud83d\ude00"}',
    "duplicate keys": b'{"model":"a","model":"b","stream":true,"stream":false}',
    "a lone surrogate": rb'{"model":"m","messages":[{"role":"user","content":"\ud800"}]}',
    "deep nesting": b'{"model":"m","a":' + b"[" * 2000 + b"]" * 2000 + b"}",
    "malformed": b'{"model":"m","messages":[',
    "empty": b"",
    "white space": b" \r\n\t ",
    "invalid UTF-8": b'{"model":"m","t":"\xff\xfe\xc3("}',
    "invalid UTF-8 in the model": b'{"model":"\xff\xfe","stream":true}',
    "invalid UTF-8 in a name": b'{"mod\xff\xfe":"m"}',
    "a lone surrogate in the model": rb'{"model":"\ud800"}',
    "a byte order mark": b'\xef\xbb\xbf{"model":"m"}',
    "every byte": bytes(range(256)) * 300,
    "not an object": b"[1,2,3]",
}

ANSWERS = {
    "JSON with odd spelling": Answer(
        headers=(("Content-Type", "application/json"),), body=b'{ "b":1.0,\t"a":"\\u00e9" }\n'
    ),
    "an event stream": Answer(
        headers=(("content-type", "text/event-stream"),), parts=(Send(EVENTS),)
    ),
    "an event stream with CRLF": Answer(
        headers=(("content-type", "text/event-stream"),),
        parts=(Send(EVENTS.replace(b"\n", b"\r\n")),),
    ),
    "an event stream that ends in mid-event": Answer(
        headers=(("content-type", "text/event-stream"),), parts=(Send(EVENTS[:-30]),)
    ),
    "an event stream that ends with the connection": Answer(
        headers=(("content-type", "text/event-stream"),), parts=(Send(EVENTS),), framing="close"
    ),
    "events under another type": Answer(
        headers=(("content-type", "application/octet-stream"),), parts=(Send(EVENTS),)
    ),
    "gzip that nobody asked for": Answer(
        headers=(("content-type", "text/event-stream"), ("content-encoding", "gzip")),
        body=gzip.compress(EVENTS),
    ),
    "what says gzip and is not": Answer(headers=(("content-encoding", "gzip"),), body=b"\x00plain"),
    "an error": error(400, message="messages.1.role: Input should be 'user' or 'assistant'"),
    "an error with odd bytes": Answer(status=422, body=b'{"error": {"type":"x\xff"} '),
    "an early error event with odd bytes": Answer(
        headers=(("content-type", "text/event-stream"),),
        parts=(Send(b'event: error\ndata: {"error":{"type":"\xff"}}\n\n'),),
    ),
    "an HTML 503": gateway_page(503),
    "binary": Answer(headers=(("content-type", "image/png"),), body=bytes(range(256)) * 400),
    "nothing": Answer(headers=(("content-type", "application/json"),), body=b""),
    "204": Answer(status=204),
    "a redirect": Answer(status=307, headers=(("location", "/v1/elsewhere?a=1"),)),
}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.promise("C7")
@pytest.mark.parametrize("body", [pytest.param(b, id=n) for n, b in BODIES.items()])
async def test_a_request_body_arrives_as_it_was_sent(live: Live, body: bytes) -> None:
    live.upstream.default(Answer(body=b"{}"))
    answered = await live.ask("POST", "/v1/messages?beta=true", JSON, body)
    (seen,) = live.upstream.requests
    assert digest(seen.body) == digest(body)
    assert seen.header("content-length") == str(len(body))
    assert (answered.status, answered.body) == (200, b"{}")


@pytest.mark.promise("U5")
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("answer", [pytest.param(a, id=n) for n, a in ANSWERS.items()])
async def test_an_answer_arrives_as_it_was_sent(live: Live, answer: Answer, stream: bool) -> None:
    live.upstream.default(answer)
    body = json.dumps({"model": "m", "stream": stream}).encode()
    answered = await live.ask("POST", "/v1/messages", JSON, body)
    assert (answered.status, answered.complete) == (answer.status, True)
    assert digest(answered.body) == digest(answer.whole_body())
    assert not live.upstream.script_errors


@pytest.mark.promise("U5")
@pytest.mark.parametrize("piece_bytes", [1, 7])
@pytest.mark.parametrize("events", [EVENTS, EVENTS.replace(b"\n", b"\r\n")], ids=["LF", "CRLF"])
async def test_events_in_pieces_of_few_bytes_arrive_whole(
    live: Live, events: bytes, piece_bytes: int
) -> None:
    answer = Answer(headers=(("content-type", "text/event-stream"),), parts=(Send(events),))
    live.upstream.default(answer.in_pieces(piece_bytes))
    answered = await live.ask("POST", "/v1/messages", JSON, b'{"model":"m","stream":true}')
    assert (digest(answered.body), answered.complete) == (digest(events), True)


@pytest.mark.promise("U8")
async def test_a_compressed_answer_keeps_the_header_that_says_so(live: Live) -> None:
    live.upstream.default(ANSWERS["gzip that nobody asked for"])
    answered = await live.ask("POST", "/v1/messages", JSON, b'{"model":"m","stream":true}')
    assert answered.header("content-encoding") == "gzip"
    assert gzip.decompress(answered.body) == EVENTS


@pytest.mark.promise("U3")
@pytest.mark.parametrize("framing", ["content-length", "chunked"])
async def test_an_answer_that_breaks_off_is_never_completed(live: Live, framing: str) -> None:
    headers = (("content-type", "text/event-stream"),)
    if framing == "content-length":
        headers += (("content-length", str(len(EVENTS))),)
    cut = Answer(headers=headers, parts=(Send(EVENTS[:700]), Cut()))
    live.upstream.default(cut)
    answered = await live.ask("POST", "/v1/messages", JSON, b'{"model":"m","stream":true}')
    assert (answered.status, answered.body) == (200, EVENTS[:700])
    assert not answered.complete
    (line,) = await live.wait_for_lines()
    assert (line["status"], line["terminal"]) == (200, "upstream_closed")


# ------------------------------------------------------------------------------------ headers

UNKNOWN: Headers = [
    ("X-Zebra", "first"),
    ("anthropic-version", "2023-06-01"),
    ("Anthropic-Beta", "one-2025-01-01, two-2026-02-02"),
    ("x-stainless-retry-count", "0"),
    ("anthropic-future-thing", "yes; q=0.5"),
    ("anthropic-beta", "three-2026-03-03"),
    ("X-Zebra", "second"),
    ("user-agent", "test/1.0 (über)"),
    ("x-empty", ""),
    ("Content-Type", "application/json"),
]


async def test_unknown_headers_reach_the_upstream_in_their_order_and_spelling(live: Live) -> None:
    await live.ask("POST", "/v1/messages", UNKNOWN, b"{}")
    (seen,) = live.upstream.requests
    sent = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in UNKNOWN]
    assert [pair for pair in seen.headers if pair in sent] == sent


async def test_nothing_is_added_to_a_request_but_what_its_way_needs(live: Live) -> None:
    await live.ask("POST", "/v1/messages", [*JSON, ("x-api-key", OWN_KEY)], b"{}")
    (seen,) = live.upstream.requests
    assert sorted(name.lower() for name, _ in seen.headers) == [
        b"accept-encoding",
        b"content-length",
        b"content-type",
        b"host",
        b"x-api-key",
    ]
    assert seen.header("host") == live.upstream_url.removeprefix("http://")


async def test_the_upstream_is_asked_for_a_body_that_can_be_read(live: Live) -> None:
    await live.ask("POST", "/v1/messages", [("Accept-Encoding", "gzip, br, zstd"), *JSON], b"{}")
    (seen,) = live.upstream.requests
    values = [value for name, value in seen.headers if name.lower() == b"accept-encoding"]
    assert values == [b"identity"]


@pytest.mark.promise("X6")
async def test_hop_by_hop_and_our_own_headers_stay_behind(live: Live) -> None:
    dropped: Headers = [
        ("Connection", "keep-alive, X-Nominated"),
        ("X-Nominated", "1"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Authorization", "Basic eA=="),
        ("Proxy-Connection", "keep-alive"),
        ("TE", "trailers"),
        ("Trailer", "x-sum"),
        ("Upgrade", "h2c"),
        ("x-request-id", "given-by-the-client"),
        ("x-supervisor-key", "secret"),
    ]
    answered = await live.ask("POST", "/v1/messages", [*dropped, *JSON], b"{}")
    (seen,) = live.upstream.requests
    left = {name.lower().encode() for name, _ in dropped} - {b"connection"}
    assert not left & {name.lower() for name, _ in seen.headers}
    assert "x-nominated" not in (seen.header("connection") or "").lower()
    assert answered.header("x-supervisor-request-id") == "given-by-the-client"


async def test_the_upstreams_headers_reach_the_client_in_their_order_and_spelling(
    live: Live,
) -> None:
    sent: Headers = [
        ("Content-Type", "application/json"),
        ("Request-Id", "req_1"),
        ("Set-Cookie", "a=1; Path=/"),
        ("anthropic-ratelimit-unified-5h-utilization", "0.5"),
        ("X-Unknown", "one"),
        ("set-cookie", "b=2"),
        ("x-unknown", "two, three"),
        ("Date", "Sat, 21 Nov 2026 07:00:00 GMT"),
        ("Server", "cloudflare"),
    ]
    hops = [("Keep-Alive", "timeout=9"), ("Connection", "x-hop"), ("x-hop", "1")]
    live.upstream.default(Answer(headers=(*sent, *hops), body=b"{}"))
    answered = await live.ask("POST", "/v1/messages", JSON, b"{}")
    assert [pair for pair in answered.headers if pair in sent] == sent
    assert answered.header("x-hop") is None
    assert answered.header("keep-alive") is None
    added = [name for name, _ in answered.headers[len(sent) :] if name.startswith("x-supervisor-")]
    assert added == ["x-supervisor-request-id", "x-supervisor-account", "x-supervisor-attempts"]


CREDENTIALS: list[Headers] = [
    [("x-api-key", OWN_KEY)],
    [("Authorization", f"Bearer {OWN_KEY}")],
    [("X-Api-Key", OWN_KEY), ("authorization", f"bearer {OWN_KEY}"), ("Cookie", "session=1")],
    [("x-api-key", OWN_KEY), ("x-api-key", OWN_KEY + "2")],
]


@pytest.mark.promise("X6")
@pytest.mark.parametrize("own", CREDENTIALS)
async def test_with_accounts_one_credential_goes_upstream_and_never_the_clients(
    start: Start, own: Headers
) -> None:
    live = await start("first")
    await live.ask("POST", "/v1/messages", [*own, *JSON], b"{}")
    (seen,) = live.upstream.requests
    names = {b"x-api-key", b"authorization", b"cookie"}
    sent = [(name.lower(), value) for name, value in seen.headers if name.lower() in names]
    assert sent == [(b"x-api-key", b"key-first")]
    assert OWN_KEY.encode() not in b"".join(value for _, value in seen.headers)


async def test_a_token_is_sent_as_a_bearer_with_its_beta(start: Start) -> None:
    token = '[[account]]\nname = "token"\ntoken = "made-up-token"'
    live = await start(extra=token)
    betas = ("anthropic-beta", "one-2025-01-01,two-2026-02-02")
    await live.ask("POST", "/v1/messages", [("x-api-key", OWN_KEY), betas, *JSON], b"{}")
    (seen,) = live.upstream.requests
    assert (seen.bearer, seen.api_key) == ("made-up-token", None)
    assert seen.header("anthropic-beta") == f"{betas[1]},oauth-2025-04-20"


@pytest.mark.parametrize("own", CREDENTIALS)
async def test_without_accounts_the_clients_credential_goes_upstream_as_it_is(
    start: Start, own: Headers
) -> None:
    live = await start()
    await live.ask("POST", "/v1/messages", [*own, *JSON], b"{}")
    (seen,) = live.upstream.requests
    sent = [(name.encode(), value.encode()) for name, value in own]
    assert [pair for pair in seen.headers if pair in sent] == sent
