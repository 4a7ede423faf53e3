"""Every attack bounces: it ends its own connection at most, and the next client is served."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import trio

from server.scripted import Answer, Send, Stall, stall_before_head
from tests.kit.lanes import lane  # noqa: F401 - a fixture
from tests.kit.live import Live
from tests.kit.raw_client import crashes, first_answer, serving, until, wait_until_left_alone
from tests.kit.wire import Wire

HOST = b"Host: localhost\r\n"
UPGRADE = (
    b"GET /status HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bKdPyn3u98cTfZJSh4TNeQ==\r\n\r\n"
)
H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CHUNKED = b"POST /v1/messages HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
POST = b"POST /v1/messages HTTP/1.1\r\n" + HOST


@pytest.fixture
async def live(tmp_path: Path) -> AsyncGenerator[Live, None]:
    async with serving(tmp_path) as live:
        yield live


def open_descriptors() -> int:
    """How many files and sockets this process has open; 0 where nobody tells."""
    directory = Path("/proc/self/fd")
    return len(list(directory.iterdir())) if directory.exists() else 0


def noise(size: int) -> bytes:
    """The same garbage every time."""
    return random.Random(size).randbytes(size)


def get(target: bytes, *headers: bytes, host: bytes = HOST, version: bytes = b"1.1") -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"GET " + target + b" HTTP/" + version + b"\r\n" + host + lines + b"\r\n"


# What is sent, and the statuses it may be answered with; None: closed without an answer.
ATTACKS: dict[str, tuple[bytes, set[int | None]]] = {
    "garbage": (noise(3000), {408}),
    "garbage with line ends": (noise(500) + b"\r\n\r\n" + noise(500), {400}),
    "a TLS hello": (bytes.fromhex("1603010200010001fc0303") + noise(500), {400, 414}),
    "a websocket upgrade": (UPGRADE, {200}),
    "a websocket upgrade and one byte": (UPGRADE + b"x", {200}),
    "a websocket upgrade and a frame": (UPGRADE + b"\x81\x85abcdhello", {200}),
    "an unknown websocket and a frame": (
        UPGRADE.replace(b"/status", b"/nows") + b"\x81\x85abcdhello",
        {404},
    ),
    "an upgrade to h2c": (
        get(b"/health", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c")[:-2]
        + b"HTTP2-Settings: !!!!\r\n\r\n",
        {200},
    ),
    "an upgrade to h2c without settings": (
        get(b"/health", b"Connection: Upgrade", b"Upgrade: h2c") + H2_PREFACE,
        {200},
    ),
    "HTTP/2 with prior knowledge": (H2_PREFACE + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00", {505}),
    "HTTP/2 and garbage": (H2_PREFACE + noise(500), {505}),
    "HTTP/2 with a path": (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", {505}),
    "HTTP/3 by name": (get(b"/", version=b"3.0"), {505}),
    "HTTP/0.9": (b"GET /\r\n\r\n", {400}),
    "content-length and chunks": (
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        {400},
    ),
    "two different lengths": (
        POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        {400},
    ),
    "two lengths in one header": (POST + b"Content-Length: 5, 6\r\n\r\nhello", {400}),
    "a negative length": (POST + b"Content-Length: -5\r\n\r\n", {400}),
    "a length of letters": (POST + b"Content-Length: 0x5\r\n\r\nhello", {400}),
    "a length of 30 digits": (POST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n", {400}),
    "an unknown coding": (POST + b"Transfer-Encoding: gzip\r\n\r\n", {501}),
    "a chunk without a size": (CHUNKED + b"ZZZ\r\n", {400}),
    "a chunk longer than it says": (CHUNKED + b"2\r\nhello\r\n0\r\n\r\n", {400}),
    "a chunk header without end": (CHUNKED + b"5;" + b"x" * 70_000, {400}),
    "a trailer without end": (CHUNKED + b"0\r\nx: " + b"x" * 70_000, {400}),
    "a lone CR in a header": (get(b"/health", b"x: a\rb: c"), {400}),
    "a lone CR for a line end": (b"GET /health HTTP/1.1\rHost: localhost\r\r", {408}),
    "a lone LF for a line end": (b"GET /health HTTP/1.1\nHost: localhost\n\n", {200, 400}),
    "a header name with a space": (get(b"/health", b"x y: z"), {400}),
    "a header without a colon": (get(b"/health", b"xyz"), {400}),
    "a folded header": (get(b"/health", b"x: a\r\n b"), {200, 400}),
    "a NUL in a header": (get(b"/health", b"x: a\0b"), {400}),
    "a path that is not ASCII": (get(b"/\xff\xfe"), {400}),
    "an escaped path that is not UTF-8": (get(b"/%ff%fe"), {404}),
    "a path with a space": (get(b"/a b"), {400}),
    "a path with a control byte": (get(b"/a\x01"), {400}),
    "two slashes": (get(b"/status//accounts"), {404}),
    "two slashes first": (get(b"//v1/models"), {404}),
    "dots": (get(b"/v1/../status"), {404}),
    "the absolute form": (get(b"http://localhost/health"), {400}),
    "the absolute form for others": (
        get(b"http://example.com/", host=b"Host: example.com\r\n"),
        {403},
    ),
    "CONNECT": (b"CONNECT localhost:443 HTTP/1.1\r\n" + HOST + b"\r\n" + noise(50), {400}),
    "OPTIONS *": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", {404}),
    "TRACE": (b"TRACE /status HTTP/1.1\r\n" + HOST + b"\r\n", {405}),
    "a query and no path": (get(b"?x"), {400}),
    "a star": (get(b"*"), {400}),
    "an unknown method": (b"BREW /health HTTP/1.1\r\n" + HOST + b"\r\n", {405}),
    "no Host": (get(b"/health", host=b""), {400}),
    "two Hosts": (get(b"/health", HOST.strip()), {400}),
    "an empty Host": (get(b"/health", host=b"Host:\r\n"), {403}),
    "a bad Host": (get(b"/health", host=b"Host: a b[:]\xe9\r\n"), {400, 403}),
    "no Host in HTTP/1.0": (get(b"/health", host=b"", version=b"1.0"), {403}),
    "HTTP/1.0": (get(b"/health", version=b"1.0"), {200}),
    "a header of 70 kB": (get(b"/health", b"x: " + b"a" * 70_000), {431}),
    "small headers of 70 kB": (get(b"/health", *[b"x: " + b"a" * 700] * 99), {431}),
    "101 headers": (get(b"/health", *[b"x: y"] * 100), {431}),
    "1500 headers": (get(b"/health", *[b"x: y"] * 1500), {431}),
    "a URL of 9 KiB": (get(b"/health?" + b"a" * 9 * 1024), {414}),
    "a URL of 70 kB": (get(b"/health?" + b"a" * 70_000), {414}),
    "a HEAD with 101 headers": (
        get(b"/health", *[b"x: y"] * 100).replace(b"GET", b"HEAD", 1),
        {431},
    ),
}


@pytest.mark.promise("C5", "C6")
@pytest.mark.parametrize("name", ATTACKS)
async def test_an_attack_ends_its_own_connection_at_most(
    name: str, live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    """It is answered as the table says, and nothing of it went upstream or was logged as ours."""
    data, statuses = ATTACKS[name]
    async with await live.connect() as wire:
        to_head = data.startswith(b"HEAD")
        if to_head:
            await wire.stream.send_all(data)
            answered = await wire.answer(to_head=True)
        else:
            answered = await first_answer(wire, data)
    assert (answered.status if answered else None) in statuses, answered
    if answered is not None and answered.status >= 400 and not to_head:
        assert answered.json()["error"]["type"]  # in both dialects
        assert answered.header("content-type") == "application/json"
    health = await live.ask("GET", "/health")
    assert (health.status, health.json()["status"]) == (200, "ok")
    await wait_until_left_alone(live)
    assert live.upstream.requests == []
    assert crashes(caplog) == []


@pytest.mark.promise("C6")
@pytest.mark.parametrize(
    "name", ["a header of 70 kB", "1500 headers", "a URL of 70 kB", "a TLS hello", "two Hosts"]
)
async def test_a_refused_head_closes_the_connection_and_says_so(name: str, live: Live) -> None:
    async with await live.connect() as wire:
        answered = await first_answer(wire, ATTACKS[name][0])
        assert answered is not None
        assert answered.header("connection") == "close"
        with trio.fail_after(10):
            assert await wire.ended() == b""


PHASES = {
    "at once": b"",
    "in a head": b"POST /v1/mess",
    "in a body": POST + b"Content-Length: 1000\r\n\r\nabc",
    "waiting for an answer": POST + b"Content-Length: 2\r\n\r\n{}",
    "with a pipelined request": POST + b"Content-Length: 2\r\n\r\n{}" + get(b"/health"),
    "with a stray line end": POST + b"Content-Length: 2\r\n\r\n{}\r\n",
    "with half a head": POST + b"Content-Length: 2\r\n\r\n{}POST /v1/mess",
    "with more than is read ahead": POST + b"Content-Length: 2\r\n\r\n{}" + b"x" * 150_000,
}


@pytest.mark.promise("C2")
@pytest.mark.parametrize(
    ("lane", "how"),
    [("express", "reset"), ("express", "close"), ("express", "half-close"), ("reference", "close")],
    indirect=["lane"],
)
@pytest.mark.parametrize("phase", PHASES)
async def test_a_client_that_leaves_is_noticed_in_every_phase(
    phase: str,
    lane: str,  # noqa: F811 - the fixture
    how: str,
    live: Live,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Within a second, whatever else it had sent; and ten of them leave nothing behind."""
    live.upstream.default(stall_before_head())
    tasks = trio.lowlevel.current_statistics().tasks_living
    descriptors = open_descriptors()
    wires = [await live.connect() for _ in range(10)]
    for wire in wires:
        await wire.stream.send_all(PHASES[phase])
    if phase.startswith("w"):
        await until(lambda: live.upstream.active_requests == 10)
    else:
        await trio.sleep(0.2)
    for wire in wires:
        if how == "half-close":
            await wire.stream.send_eof()
        else:
            await wire.leave(reset=how == "reset")
    left = trio.current_time()
    await wait_until_left_alone(live)
    assert trio.current_time() - left < 10  # a second, and what a busy machine takes
    await until(lambda: trio.lowlevel.current_statistics().tasks_living <= tasks)
    for wire in wires:
        await trio.aclose_forcefully(wire.stream)
    await live.upstream.wait_until_closed()
    assert open_descriptors() <= descriptors
    assert crashes(caplog) == []
    assert live.program.parts.door.ports.budget.held == 0


@pytest.mark.promise("C2", "A8")
@pytest.mark.usefixtures("lane")
async def test_a_reset_in_the_middle_of_a_stream_leaves_nothing(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    live.upstream.default(Answer(parts=(*[Send(b"x" * 5000)] * 50, Stall())))
    for number in range(20):
        async with await live.connect() as wire:
            await wire.send("POST", "/v1/messages", body=b"{}")
            await wire.answer_head()
            await wire.leave(reset=number % 2 == 0)
    await wait_until_left_alone(live)
    assert crashes(caplog) == []


@pytest.mark.promise("C2", "A8")
@pytest.mark.usefixtures("lane")
async def test_twenty_pipelined_streams_and_a_reset_leave_nothing(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(10):
        async with await live.connect() as wire:
            await wire.stream.send_all((POST + b"Content-Length: 2\r\n\r\n{}") * 20)
            await trio.sleep(0.02)
            await wire.leave(reset=True)
    await wait_until_left_alone(live)
    assert crashes(caplog) == []


@pytest.mark.promise("C2")
async def test_fifty_resets_at_once_do_no_harm(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(50):
        wire = await Wire.to(live.url)
        await wire.leave(reset=True)
    assert (await live.ask("GET", "/health")).status == 200
    await wait_until_left_alone(live)
    assert crashes(caplog) == []


@pytest.mark.promise("C6")
@pytest.mark.usefixtures("lane")
async def test_a_bad_chunk_while_the_answer_waits_ends_that_request(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    async with await live.connect() as wire:
        await wire.stream.send_all(CHUNKED + b"5\r\nhello\r\n")
        await trio.sleep(0.05)
        answered = await first_answer(wire, b"ZZZ\r\n")
        assert answered is not None
        assert (answered.status, answered.json()["error"]["type"]) == (400, "invalid_request_error")
    await wait_until_left_alone(live)
    assert live.upstream.requests == []
    assert crashes(caplog) == []


@pytest.mark.usefixtures("lane")
async def test_a_bug_of_ours_is_answered_and_logged_and_ends_nothing_else(
    live: Live, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a crash inside a request is seen by the check that the other tests rely on."""

    async def broken(*arguments: object) -> None:
        raise RuntimeError("injected")

    monkeypatch.setattr("server.front_door.relay", broken)
    answered = await live.ask("POST", "/v1/messages", body=b"{}")
    assert (answered.status, answered.json()["error"]["type"]) == (500, "api_error")
    assert len(crashes(caplog)) == 1
    assert (await live.ask("GET", "/health")).status == 200


@pytest.mark.promise("C6")
async def test_a_crash_of_the_connection_itself_ends_nothing_else(
    live: Live, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("injected")

    with monkeypatch.context() as patch:
        patch.setattr("server.contained_http.check_size", broken)
        async with await live.connect() as wire:
            await wire.send("GET", "/health")
            assert await wire.ended() == b""
    await wait_until_left_alone(live)
    assert len(crashes(caplog)) == 1
    assert (await live.ask("GET", "/health")).status == 200
