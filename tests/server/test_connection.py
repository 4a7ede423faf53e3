"""One connection: how requests follow each other on it, and what is too large for it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import trio

from server.scripted import (
    Answer,
    Send,
    Wait,
)
from tests.kit.lanes import lane  # noqa: F401 - a fixture
from tests.kit.live import Live
from tests.kit.promises import Measured
from tests.kit.raw_client import crashes, serving, until, wait_until_left_alone

pytestmark = pytest.mark.usefixtures("lane")

ACCOUNT = '[[account]]\nname = "work"\napi_key = "key-work"\n'
HEAD = b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\n"


def echo(seen: object) -> Answer:
    return Answer(body=seen.body)  # type: ignore[attr-defined]


@pytest.fixture
async def live(tmp_path: Path) -> AsyncGenerator[Live, None]:
    async with serving(tmp_path) as live:
        live.upstream.default(echo)
        yield live


# --------------------------------------------------------------------- one request after another


async def test_twenty_requests_in_one_packet_are_answered_in_their_order(live: Live) -> None:
    bodies = [b"%d" % number for number in range(20)]
    async with await live.connect() as wire:
        requests = [HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body) for body in bodies]
        await wire.stream.send_all(b"".join(requests))
        assert [(await wire.answer()).body for _ in bodies] == bodies


async def test_a_stray_line_end_after_a_request_is_skipped(live: Live) -> None:
    """Some clients send one after a POST; it is no request, and the next one is served."""
    async with await live.connect() as wire:
        for end in (b"\r\n", b"\n", b"\r\n\r\n", b""):
            await wire.stream.send_all(HEAD + b"Content-Length: 2\r\n\r\n{}" + end)
            assert (await wire.answer()).body == b"{}"
        await wire.stream.send_all(b"\r")
        await trio.sleep(0.05)
        await wire.stream.send_all(b"\n" + HEAD + b"Content-Length: 2\r\n\r\n[]")
        assert (await wire.answer()).body == b"[]"


async def test_a_pipelined_request_of_any_size_waits_for_its_turn(live: Live) -> None:
    """What is read ahead is bounded, but nobody is cut off for being ahead."""
    live.upstream.default(Answer(parts=(Send(b"first"), Wait("go"))), echo)
    large = b"x" * 300_000
    async with await live.connect() as wire, trio.open_nursery() as nursery:
        requests = HEAD + b"Content-Length: 2\r\n\r\n{}" + HEAD
        requests += b"Content-Length: %d\r\n\r\n" % len(large) + large
        nursery.start_soon(wire.stream.send_all, requests)
        await live.upstream.wait_for_requests(1)
        await trio.sleep(0.7)
        live.upstream.gate("go").open()
        assert (await wire.answer()).body == b"first"
        assert (await wire.answer()).body == large


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 200_000, 5_000_000])
async def test_a_connection_is_used_again_after_a_body_of_any_size(live: Live, size: int) -> None:
    body = b"y" * size
    async with await live.connect() as wire:
        for _ in range(3):
            answered = await wire.ask("POST", "/v1/messages", body=body)
            assert (answered.status, answered.body == body) == (200, True)
            assert answered.header("connection") is None


async def test_many_large_posts_on_parallel_connections_all_succeed(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    body = b"z" * 200_000
    done = 0

    async def client() -> None:
        nonlocal done
        async with await live.connect() as wire:
            for _ in range(8):
                answered = await wire.ask("POST", "/v1/messages", body=body)
                assert (answered.status, answered.body == body) == (200, True)
                done += 1

    async with trio.open_nursery() as nursery:
        for _ in range(16):
            nursery.start_soon(client)
    assert done == 16 * 8
    await wait_until_left_alone(live)
    assert live.program.parts.door.ports.budget.held == 0
    assert crashes(caplog) == []


async def test_a_chunked_body_arrives_whole_and_the_connection_goes_on(live: Live) -> None:
    async with await live.connect() as wire:
        for _ in range(2):
            head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
            for piece in (head, b"5\r\nhel", b"lo\r\n1;x=y\r\n!\r\n", b"0\r\nx: y\r\n\r\n"):
                await wire.stream.send_all(piece)
                await trio.sleep(0.01)
            assert (await wire.answer()).body == b"hello!"


@pytest.mark.parametrize("target", ["/health", "/nothing", "/v1/messages"])
async def test_a_client_that_asks_to_close_is_closed(live: Live, target: str) -> None:
    async with await live.connect() as wire:
        method = "POST" if target.startswith("/v1") else "GET"
        answered = await wire.ask(method, target, [("Connection", "close")], b"")
        assert answered.header("connection") == "close"
        with trio.fail_after(10):
            assert await wire.ended() == b""


@pytest.mark.parametrize("target", ["/health", "/v1/messages"])
async def test_http_1_0_is_closed_after_its_answer(live: Live, target: str) -> None:
    async with await live.connect() as wire:
        method = "POST" if target.startswith("/v1") else "GET"
        head = wire.head(method, target, [("Content-Length", "0")], http="1.0")
        await wire.stream.send_all(head)
        with trio.fail_after(10):
            assert (await wire.ended()).startswith(b"HTTP/1.1 200 ")


async def test_a_head_request_has_no_body_and_the_connection_goes_on(live: Live) -> None:
    async with await live.connect() as wire:
        for target, status in [("/health", 200), ("/nothing", 404), ("/status?limit=x", 200)]:
            answered = await wire.ask("HEAD", target)
            assert (answered.status, answered.body) == (status, b"")
        assert (await wire.ask("GET", "/health/live")).json()["status"] == "ok"


async def test_an_own_route_reads_its_body_before_it_answers(live: Live) -> None:
    """Else the connection would end under a client that sends head and body apart."""
    async with await live.connect() as wire:
        for target, status in [("/status/reload", 200), ("/nothing", 404)]:
            headers = [("Content-Type", "application/json"), ("Content-Length", "2")]
            await wire.stream.send_all(wire.head("POST", target, headers))
            await trio.sleep(0.05)
            await wire.stream.send_all(b"{}")
            answered = await wire.answer()
            assert (answered.status, answered.header("connection")) == (status, None)


# ----------------------------------------------------------------------------- too large, too early


@pytest.fixture
async def small(tmp_path: Path) -> AsyncGenerator[Live, None]:
    async with serving(tmp_path, "[server]\nmax_body_bytes = 100000\n") as live:
        live.upstream.default(echo)
        yield live


@pytest.mark.promise("C4")
@pytest.mark.parametrize("framing", [b"Content-Length: 10000000000", b"Transfer-Encoding: chunked"])
async def test_a_body_past_the_limit_is_refused_while_it_is_uploaded(
    small: Live, framing: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that sends on and reads late still reads its 413, not a reset."""
    piece = b"x" * 50_000
    if framing.endswith(b"chunked"):
        piece = b"%x\r\n%b\r\n" % (len(piece), piece)
    async with await small.connect() as wire:
        await wire.stream.send_all(HEAD + framing + b"\r\n\r\n")
        for _ in range(100):
            await wire.stream.send_all(piece)
        with trio.fail_after(10):
            answered = await wire.answer()
        assert (answered.status, answered.json()["error"]["type"]) == (413, "request_too_large")
        assert answered.header("x-should-retry") == "false"
        assert answered.header("connection") == "close"
        with trio.fail_after(10):
            assert await wire.ended() == b""
    (line,) = await small.wait_for_lines()
    assert (line["status"], line["terminal"]) == (413, "refused")
    await wait_until_left_alone(small)
    assert small.upstream.requests == []
    assert small.program.parts.door.ports.budget.held == 0
    assert crashes(caplog) == []


@pytest.mark.promise("C4")
async def test_an_endless_upload_is_cut_in_the_end(small: Live) -> None:
    """The patience for a client that has its answer is bounded in bytes and seconds."""
    async with await small.connect() as wire:
        await wire.stream.send_all(HEAD + b"Content-Length: 10000000000\r\n\r\n")
        with trio.fail_after(8), contextlib.suppress(trio.BrokenResourceError):
            while True:
                await wire.stream.send_all(b"x" * 1_000_000)


@pytest.mark.promise("C4")
async def test_the_limit_itself_is_allowed(small: Live) -> None:
    assert (await small.ask("POST", "/v1/messages", body=b"x" * 100_000)).status == 200
    assert (await small.ask("POST", "/v1/messages", body=b"x" * 100_001)).status == 413


EXPECT = b"Expect: 100-continue\r\n"


async def test_a_client_is_told_to_go_on_only_when_its_head_is_acceptable(small: Live) -> None:
    async with await small.connect() as wire:
        for _ in range(2):
            await wire.stream.send_all(HEAD + EXPECT + b"Content-Length: 2\r\n\r\n")
            assert (await wire.answer()).status == 100
            await wire.stream.send_all(b"{}")
            assert (await wire.answer()).body == b"{}"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (HEAD + b"Content-Length: 100001\r\n", 413),
        (HEAD.replace(b"localhost", b"evil.example") + b"Content-Length: 2\r\n", 403),
        (HEAD + b"Origin: http://evil.example\r\nContent-Length: 2\r\n", 403),
    ],
)
async def test_a_refused_head_is_never_told_to_go_on(small: Live, head: bytes, status: int) -> None:
    async with await small.connect() as wire:
        await wire.stream.send_all(head + EXPECT + b"\r\n")
        with trio.fail_after(10):
            assert (await wire.answer()).status == status
            assert await wire.ended() == b""
    assert small.upstream.requests == []


@pytest.mark.promise("C4")
async def test_bodies_past_the_common_bound_are_told_to_come_again(tmp_path: Path) -> None:
    config = "[server]\nmax_inflight_bytes = 100000\n"
    async with serving(tmp_path, config) as live:
        live.upstream.default(Answer(parts=(Wait("go"),)), echo)
        async with await live.connect() as first, await live.connect() as second:
            await first.send("POST", "/v1/messages", body=b"x" * 90_000)
            await live.upstream.wait_for_requests(1)
            refused = await second.ask("POST", "/v1/messages", body=b"x" * 20_000)
            assert (refused.status, refused.header("retry-after")) == (503, "1")
            assert refused.json()["error"]["type"] == "overloaded_error"
            live.upstream.gate("go").open()
            assert (await first.answer()).status == 200
            await until(lambda: not live.program.parts.door.ports.budget.held)
            assert (await first.ask("POST", "/v1/messages", body=b"x" * 20_000)).status == 200
        await wait_until_left_alone(live)
        assert live.program.parts.door.ports.budget.held == 0
        assert len(live.upstream.requests) == 2


@pytest.mark.promise("C3")
async def test_slow_heads_do_not_delay_others(live: Live, measured: Measured) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(200):
            wire = await stack.enter_async_context(await live.connect())
            await wire.stream.send_all(b"POST /v1/mess")
        took: list[float] = []
        for _ in range(20):
            began = trio.current_time()
            answered = await live.ask("POST", "/v1/messages", body=b"{}")
            assert answered.status == 200
            took.append(trio.current_time() - began)
    assert max(took) < 10
    # The quickest: the others may have met a machine that was busy with something else.
    assert min(took) < 0.1
    measured(
        "C3", "good requests beside 200 slow heads, middle one", sorted(took)[10], "s", rounds=20
    )
