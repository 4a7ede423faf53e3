"""Both lanes, byte for byte: the same exchange through each, in memory and virtual time."""

from __future__ import annotations

import functools
import importlib
import itertools
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest
import trio
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from server.scripted import (
    Answer,
    Cut,
    Pause,
    ScriptedUpstream,
    SeenRequest,
    Send,
    Step,
    error,
    no_answer,
    overloaded,
    rate_limited,
    reply_to,
    text_message,
    text_stream,
    unauthorized,
)
from tests.kit.http_client import MemoryClient
from tests.kit.program import RunningProgram, program_in_memory
from tests.kit.rounds import rounds
from tests.server.test_express_head import DOUBTFUL, FIRST, HOST

ACCOUNTS = "".join(f'[[account]]\nname = "{name}"\napi_key = "key-{name}"\n' for name in "ab")
CONFIG = "[server]\nmax_body_bytes = 3000\nexpress = {express}\n" + ACCOUNTS

QUIET_SECONDS = 30.0
"""Nothing of an exchange comes later than this after what came before."""

_RANDOM_ID = re.compile(rb"[0-9a-f]{32}")

Outcome = tuple[bytes, bool, list[object], list[object]]


async def exchange(
    express: bool, sends: Sequence[bytes | None], answers: Sequence[Answer]
) -> Outcome:
    """What a client receives that sends this (None: a second passes), whether the connection then
    ended, what the upstream saw, and what the log says."""
    upstream = ScriptedUpstream()
    upstream.default(*answers, then=_reply)
    config = CONFIG.format(express=str(express).lower())
    async with program_in_memory(config, upstream) as program:
        stream = await program.connect()
        received, ended = await _talk(stream, sends)
        await stream.aclose()
        await trio.sleep(1)
        lines = await _lines(program)
    seen = [(one.method, one.target, list(one.headers), one.body) for one in upstream.requests]
    return _RANDOM_ID.sub(b"ID", received), ended, list(seen), lines


def _reply(seen: SeenRequest) -> Answer:
    """Streams with pauses: then each event is one read, and so one chunk, on either lane."""
    if b'"stream": true' in seen.body:
        return text_stream("hello", pause=0.5)
    return reply_to(seen)


async def _talk(stream: trio.abc.Stream, sends: Sequence[bytes | None]) -> tuple[bytes, bool]:
    received, ended = bytearray(), False

    async def listen() -> None:
        nonlocal ended
        try:
            while data := await stream.receive_some():
                received.extend(data)
        except trio.BrokenResourceError:
            received.extend(b"<broken>")
        ended = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        try:
            for data in sends:
                if data is None:
                    await trio.sleep(1)
                else:
                    await stream.send_all(data)
        except trio.BrokenResourceError:
            pass  # it was told what it was told
        size = -1
        while not ended and size != len(received):
            size = len(received)
            await trio.sleep(QUIET_SECONDS)
        nursery.cancel_scope.cancel()
    return bytes(received), ended


async def _lines(program: RunningProgram) -> list[object]:
    answer: Any = (await MemoryClient(await program.connect()).get("/status/requests")).json()
    lines: list[dict[str, Any]] = answer["requests"]
    for line in lines:
        for name in ("at", "request_id", "ms_total", "ms_first_byte", "ms_queue"):
            line.pop(name)
    return sorted(
        lines, key=repr
    )  # a pipelined request may begin before the line of the one before


def in_virtual_time(run: Callable[[], Awaitable[Outcome]]) -> Outcome:
    return trio.run(run, clock=MockClock(autojump_threshold=0))


def same_on_both(sends: Sequence[bytes | None], answers: Sequence[Answer] = ()) -> Outcome:
    """Runs it on both lanes; what came of it."""
    outcomes = [
        in_virtual_time(functools.partial(exchange, express, sends, answers))
        for express in (True, False)
    ]
    assert outcomes[0] == outcomes[1]
    return outcomes[0]


BODY = json.dumps({"model": "m", "max_tokens": 9, "messages": []}).encode()
STREAM = json.dumps({"model": "m", "stream": True, "max_tokens": 9, "messages": []}).encode()


def request(
    body: bytes = BODY,
    *,
    first: bytes = b"POST /v1/messages HTTP/1.1\r\n",
    more: bytes = b"",
    chunks: Sequence[int] = (),
) -> bytes:
    """A request; with `chunks` its body is cut up there and sent in chunks."""
    if not chunks:
        return first + HOST + more + b"Content-Length: %d\r\n\r\n" % len(body) + body
    places = sorted({place % (len(body) + 1) for place in chunks} | {0, len(body)})
    parts = [body[a:b] for a, b in itertools.pairwise(places)]
    data = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part)
    return first + HOST + more + b"Transfer-Encoding: chunked\r\n\r\n" + data + b"0\r\n\r\n"


# ------------------------------------------------------------------------------- what is known


async def each_in_turn(express: bool, corpus: Mapping[str, bytes]) -> dict[str, object]:
    """What comes of each, sent on a connection of its own to one and the same program."""
    upstream = ScriptedUpstream(_reply)
    outcomes: dict[str, object] = {}
    async with program_in_memory(CONFIG.format(express=str(express).lower()), upstream) as program:
        for name, data in corpus.items():
            seen = len(upstream.requests)
            stream = await program.connect()
            received, ended = await _talk(stream, [data])
            await stream.aclose()
            went_up = [(one.target, one.body) for one in upstream.requests[seen:]]
            outcomes[name] = (_RANDOM_ID.sub(b"ID", received), ended, went_up)
        await trio.sleep(1)
        outcomes["log"] = await _lines(program)
    return outcomes


def alike(corpus: Mapping[str, bytes]) -> dict[str, Any]:
    """Both lanes do the same with every one of them: what it is."""
    clock = MockClock(autojump_threshold=0)
    by_express = trio.run(each_in_turn, True, corpus, clock=clock)
    by_reference = trio.run(each_in_turn, False, corpus, clock=MockClock(autojump_threshold=0))
    for name, outcome in by_express.items():
        assert outcome == by_reference[name], name
    return by_express


@pytest.mark.promise("C6")
def test_doubtful_heads_of_relayed_endpoints_are_answered_alike() -> None:
    """A request-smuggling corpus: each has something behind it that one reader takes for its body
    and another for the next request."""
    behind = b"\r\n0\r\n\r\nGET /v1/smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
    outcomes = alike({name: FIRST + HOST + lines + behind for name, lines in DOUBTFUL.items()})
    for name in ("both framings", "both framings, the other way", "two lengths", "two codings"):
        assert outcomes[name][0].startswith(b"HTTP/1.1 ")
        assert outcomes[name][2] == []


CHUNKED = FIRST + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
BODIES = {
    "a chunk without a size": CHUNKED + b"ZZZ\r\n",
    "a chunk longer than it says": CHUNKED + b"2\r\nhello\r\n0\r\n\r\n",
    "a chunk shorter than it says": CHUNKED + b"9\r\nhello\r\n0\r\n\r\n",
    "a bare line feed behind a size": CHUNKED + b"5\nhello\r\n0\r\n\r\n",
    "a bare line feed in an extension": CHUNKED + b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "a space before the size": CHUNKED + b" 5\r\nhello\r\n0\r\n\r\n",
    "a signed size": CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n",
    "a size that overflows": CHUNKED + b"F" * 17 + b"\r\nhello\r\n0\r\n\r\n",
    "an extension without end": CHUNKED + b"5;" + b"x" * 70_000,
    "a trailer without end": CHUNKED + b"0\r\nx: " + b"x" * 70_000,
    "a trailer without a colon": CHUNKED + b"0\r\nx\r\n\r\n",
    "a bad chunk after good ones": CHUNKED + b"1\r\na\r\n1\r\nb\r\nqq\r\n",
    "a body past the limit": request(b"x" * 3001),
    "chunks past the limit": request(b"x" * 3500, chunks=[1, 2000]),
    "a declared body past the limit": FIRST + HOST + b"Content-Length: 999999\r\n\r\nx",
    "a foreign host": request(first=b"POST /v1/messages HTTP/1.1\r\nHost: evil.example\r\n")
    .replace(HOST, b""),
    "a foreign origin": request(more=b"Origin: https://evil.example\r\n"),
    "a foreign origin and a large body": request(b"x" * 2000, more=b"Origin: null\r\n")[:-1000],
    "an expectation and a foreign origin": request(more=b"Expect: 100-continue\r\nOrigin: null\r\n"),
    "an unknown account": request(more=b"X-Account-Name: nobody\r\n"),
    "HTTP/1.0": request(first=b"POST /v1/messages HTTP/1.0\r\n"),
    "HTTP/1.0 and a stream": request(STREAM, first=b"POST /v1/messages HTTP/1.0\r\n"),
    "an odd method": request(first=b"BREW /v1/messages HTTP/1.1\r\n"),
    "OPTIONS": request(b"", first=b"OPTIONS /v1/messages HTTP/1.1\r\n"),
    "garbage": b"\x16\x03\x01\x02\x00" + b"\x01" * 300,
    "half a head": b"POST /v1/messages HTTP/1.1\r\nHost: loc",
    "half a body": request()[:-5],
    "half a chunk": request(chunks=[5])[:-12],
    "a head of 70 kB": FIRST + HOST + b"x: " + b"y" * 70_000 + b"\r\n\r\n",
    "a URL of 70 kB": b"GET /v1/" + b"y" * 70_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "a close": request(more=b"Connection: close\r\n"),
    "a close and a stream": request(STREAM, more=b"Connection: close\r\n"),
    "a close and a refusal": request(more=b"Connection: close\r\nOrigin: null\r\n"),
    "HEAD": b"HEAD /v1/models HTTP/1.1\r\n" + HOST + b"\r\n" + request(),
    "own routes between": b"HEAD /api/hello HTTP/1.1\r\n" + HOST + b"\r\n" + request()
    + b"GET /health/live HTTP/1.1\r\n" + HOST + b"\r\n" + request(STREAM),
    "stray line ends": b"\r\n\r\n" + request() + b"\r\n" + request() + b"\r\n\r\n",
}  # fmt: skip


def test_odd_requests_are_answered_alike() -> None:
    alike(BODIES)


@pytest.mark.parametrize("name", ["a close", "own routes between", "HEAD", "stray line ends"])
def test_it_does_not_matter_how_the_bytes_arrive(name: str) -> None:
    data = BODIES[name]
    pieces: list[bytes | None] = []
    for place in range(0, len(data), 37):
        pieces += [data[place : place + 37], None] if place % 3 == 0 else [data[place : place + 37]]
    whole = same_on_both([data])
    assert same_on_both(pieces)[2] == whole[2]


async def test_an_own_route_gives_the_connection_back(autojump_clock: object) -> None:
    """A client's start-up probe does not keep its whole session in the slower lane."""
    async with program_in_memory(CONFIG.format(express="true"), ScriptedUpstream()) as program:
        client = MemoryClient(await program.connect())
        await trio.sleep(1)
        (served,) = program.program.connections._live.values()
        for _ in range(2):
            assert (await client.get("/health/live")).status == 200
            await trio.sleep(1)
            assert served._reference is None  # type: ignore[attr-defined]
            assert served.idle_since is not None
            assert (await client.post("/v1/messages", json.loads(BODY))).status == 200


# ---------------------------------------------------------------------------------- what is not


def answer_of(parts: list[bytes], framing: str, cut: bool, status: int, name: str) -> Answer:
    steps: list[Step] = []
    for part in parts:
        steps += [Pause(2), Send(part)]
    if cut:
        steps += [Pause(1), Cut()]
    length = (("content-length", str(sum(map(len, parts)) + 3 * cut)),)
    headers = (("x-Upstream", name), ("content-type", "application/json"))
    return Answer(
        status=status,
        headers=headers + (length if framing == "content-length" else ()),
        parts=tuple(steps),
        framing=framing,  # type: ignore[arg-type]
    )


answers = st.one_of(
    st.sampled_from(
        [
            text_message("hi"), text_stream("hello", pause=0.5), text_stream("cut", pause=2).interrupted(4),
            text_stream("slow", pause=0.3).after(3), rate_limited(retry_after=1), overloaded(), unauthorized(),
            error(400), no_answer(), Answer(status=204), Answer(status=304), Answer(body=b""),
        ]
    ),
    st.builds(
        answer_of,
        st.lists(st.binary(min_size=1, max_size=30), max_size=3),
        st.sampled_from(["content-length", "chunked", "close"]),
        st.booleans(),
        st.sampled_from([200, 201, 404]),
        st.sampled_from(["a", "b c", "\xff"]),
    ),
)  # fmt: skip

requests = st.builds(
    lambda body, first, more, chunks: request(body, first=first, more=b"".join(more), chunks=chunks),
    st.sampled_from([BODY, STREAM, b"", b"x" * 2999, b"\xff", b"not json"]),
    st.sampled_from(
        [b"POST /v1/messages HTTP/1.1\r\n"] * 3
        + [b"POST /v1/messages/count_tokens?a=%20 HTTP/1.1\r\n", b"GET /v1/models HTTP/1.1\r\n"]
        + [b"HEAD /v1/models HTTP/1.1\r\n", b"DELETE /api/v1/files/x HTTP/1.1\r\n"]
        + [b"PUT /v1/%66iles HTTP/1.1\r\n", b"GET /health/live HTTP/1.1\r\n", b"GET /nothing HTTP/1.1\r\n"]
        + [b"POST /v1/messages HTTP/1.0\r\n", b"POST /v1/../status HTTP/1.1\r\n"]
    ),
    st.lists(
        st.sampled_from(
            [b"X-A: b\r\n", b"x-a:  c \r\n", b"Connection: close\r\n", b"Connection: x-a\r\n", b"Expect: 100-continue\r\n", b"Accept-Encoding: br\r\n", b"x-api-key: mine\r\n", b"X-Request-Id: given\r\n", b"X-Account-Name: b\r\n", b"Origin: null\r\n", b"TE: x\r\n"]
        ),
        max_size=3,
    ),
    st.lists(st.integers(0, 3000), max_size=3),
)  # fmt: skip


@pytest.mark.parametrize("method", [b"HEAD", b"GET"])
def test_a_head_that_comes_too_slowly_is_told_so_whatever_was_asked_before(method: bytes) -> None:
    asked = method + b" /v1/models HTTP/1.1\r\n" + HOST + b"\r\n"
    received = same_on_both([asked, None, b"GET /health/live HTTP/1.1\r\nHo", None])[0]
    assert (
        b"\r\n\r\nHTTP/1.1 408 " in received if method == b"HEAD" else b"HTTP/1.1 408 " in received
    )
    assert b"the request head came too slowly" in received


def test_the_head_of_an_answer_that_breaks_off_is_shown_to_who_wants_no_more() -> None:
    asked = b"HEAD /v1/models HTTP/1.1\r\n" + HOST + b"\r\n"
    cut = answer_of([b"a", b"b"], "content-length", cut=True, status=201, name="c")
    assert same_on_both([asked, None], [cut])[0].startswith(b"HTTP/1.1 201 ")


@pytest.mark.promise("C6")
@pytest.mark.sweep
@pytest.mark.timeout(900)
@settings(
    max_examples=rounds(quick=12, full=1000), deadline=None, phases=[Phase.explicit, Phase.generate]
)
@given(
    st.lists(requests, min_size=1, max_size=3),
    st.lists(st.integers(0, 10_000), max_size=4),
    st.integers(0, 40),
    st.lists(answers, max_size=4),
)
def test_any_exchange_is_the_same_on_both_lanes(
    asked: list[bytes], cuts: list[int], missing: int, answered: list[Answer]
) -> None:
    """Cut anywhere on its way, perhaps never finished, and whatever the upstream makes of it."""
    data = b"".join(asked)
    data = data[: len(data) - missing] if missing < 20 else data
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    sends: list[bytes | None] = []
    for start, end in itertools.pairwise(places):
        sends += [data[start:end], None]
    same_on_both(sends, answered)


@pytest.mark.parametrize("express", ["true", "false"])
async def test_the_configuration_says_which_lane_serves(
    express: str, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the rest of this file might compare a lane with itself."""
    used: list[str] = []

    def noting(name: str, original: Callable[..., object]) -> Callable[..., object]:
        def called(*arguments: object, **named: object) -> object:
            used.append(name)
            return original(*arguments, **named)

        return called

    for name, place in (
        ("express", "server.express_lane.ExpressExchange"),
        ("reference", "server.reference_lane.AsgiExchange"),
    ):
        module, _, attribute = place.rpartition(".")
        original = getattr(importlib.import_module(module), attribute)
        monkeypatch.setattr(place, noting(name, original))
    async with program_in_memory(CONFIG.format(express=express), ScriptedUpstream()) as program:
        client = MemoryClient(await program.connect())
        assert (await client.post("/v1/messages", json.loads(BODY))).status == 200
        assert (await client.get("/health/live")).status == 200
    assert used == (["express", "reference"] if express == "true" else ["reference"] * 2)
