"""The connections to an upstream in memory, on a virtual clock: what is kept, and what is trusted."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest
import trio

from protocol.verdict import FaultKind
from server.scripted import MemoryNetwork, ScriptedUpstream, stall_before_head, text_message
from server.upstream import (
    DirectUpstream,
    Limits,
    UpstreamFault,
    UpstreamRequest,
    tls_context,
)
from server.upstream_pool import KEEP_ALIVE_SECONDS

REQUEST = UpstreamRequest("POST", b"/v1/messages", [(b"x-api-key", b"k")], b"{}")
TLS = tls_context("")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Serve = Callable[[trio.abc.Stream], Awaitable[None]]


class Clock:
    """A wall clock that can be set; it runs with the virtual one."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return trio.current_time() + self.ahead


@contextlib.asynccontextmanager
async def upstream_of(
    serve: Serve, clock: Clock | None = None, **limits: float
) -> AsyncGenerator[DirectUpstream, None]:
    """An upstream whose every connection is served by `serve`."""
    async with trio.open_nursery() as nursery:
        network = MemoryNetwork(nursery, default=serve)
        upstream = DirectUpstream(
            "http://api.test",
            Limits(**limits),  # type: ignore[arg-type]
            TLS,
            network.open_tcp,
            environment={},
            wall_clock=clock or Clock(),
        )
        yield upstream
        await upstream.aclose()
        nursery.cancel_scope.cancel()


def saying(*answers: bytes, then_close: bool = False) -> Serve:
    """Serves each connection these bytes, one for each request; then closes or stays silent."""

    async def serve(stream: trio.abc.Stream) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            for answer in answers:
                if not await request_on(stream):
                    return
                await stream.send_all(answer)
            if then_close:
                await stream.aclose()
            await trio.sleep_forever()

    return serve


async def request_on(stream: trio.abc.Stream) -> bytes:
    """One request with the body `{}`; b"" when the connection ended."""
    received = b""
    while not received.endswith(b"\r\n\r\n{}"):
        data = await stream.receive_some()
        if not data:
            return b""
        received += data
    return received


async def read(upstream: DirectUpstream, request: UpstreamRequest = REQUEST) -> tuple[int, bytes]:
    async with upstream.send(request) as response, response.chunks() as chunks:
        pieces = [chunk async for chunk in chunks]
    return response.status, b"".join(pieces)


async def fault_of(upstream: DirectUpstream, request: UpstreamRequest = REQUEST) -> UpstreamFault:
    with pytest.raises(UpstreamFault) as caught:
        await read(upstream, request)
    return caught.value


# ------------------------------------------------------------------------------- what is kept


async def test_a_connection_that_was_idle_for_too_long_is_not_used_again(
    autojump_clock: object,
) -> None:
    async with upstream_of(ScriptedUpstream(text_message("x")).serve_stream) as upstream:
        await read(upstream)
        await trio.sleep(KEEP_ALIVE_SECONDS - 1)
        await read(upstream)
        assert upstream.pool.opened == 1
        await trio.sleep(KEEP_ALIVE_SECONDS + 1)
        await read(upstream)
        assert upstream.pool.opened == 2


async def test_idle_connections_are_closed_without_another_request(autojump_clock: object) -> None:
    scripted = ScriptedUpstream(text_message("x"))
    async with upstream_of(scripted.serve_stream) as upstream:
        await read(upstream)
        upstream.pool.sweep()
        assert upstream.pool.idle == 1
        await trio.sleep(KEEP_ALIVE_SECONDS + 1)
        upstream.pool.sweep()
        assert upstream.pool.idle == 0
        await scripted.wait_until_closed()


@pytest.mark.promise("T1")
async def test_after_a_suspend_no_connection_of_before_is_used(autojump_clock: object) -> None:
    """The monotonic clock stood still while the machine slept; the wall clock did not."""
    clock = Clock()
    async with upstream_of(ScriptedUpstream(text_message("x")).serve_stream, clock) as upstream:
        await read(upstream)
        clock.ahead += 2  # somebody corrected the clock a little
        await read(upstream)
        assert upstream.pool.opened == 1
        clock.ahead += 3600
        await read(upstream)
        assert upstream.pool.opened == 2


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        OK + b"x",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
)
async def test_a_connection_that_said_more_than_its_answer_is_never_used_again(
    answer: bytes, autojump_clock: object
) -> None:
    """Else one client would get what was meant for nobody, or for another."""
    async with upstream_of(saying(answer, OK)) as upstream:
        assert await read(upstream) == (200, b"ok")
        assert upstream.pool.idle == 0
        assert await read(upstream) == (200, b"ok")
        assert upstream.pool.opened == 2


async def test_what_comes_on_an_idle_connection_is_no_answer_to_the_next_request(
    autojump_clock: object,
) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        await request_on(stream)
        await stream.send_all(OK)
        await trio.sleep(1)
        await stream.send_all(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await trio.sleep_forever()

    async with upstream_of(serve) as upstream:
        assert (await read(upstream))[0] == 200
        await trio.sleep(2)
        assert (await read(upstream))[0] == 200
        assert upstream.pool.opened == 2


async def test_an_answer_that_is_left_early_ends_its_connection(autojump_clock: object) -> None:
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun"
    async with upstream_of(saying(body)) as upstream:
        async with upstream.send(REQUEST) as response, response.chunks() as chunks:
            assert await anext(aiter(chunks)) == b"begun"
        assert (upstream.pool.idle, upstream.in_use) == (0, 0)


# ---------------------------------------------------------------------------- what is tried again


@pytest.mark.promise("U2")
async def test_a_kept_connection_that_dies_unheard_is_replaced_by_a_new_one_once(
    autojump_clock: object,
) -> None:
    """Its request was not read. A new connection that dies as well is a fault."""
    seen = 0

    async def serve(stream: trio.abc.Stream) -> None:
        nonlocal seen
        seen += 1
        await request_on(stream)
        if seen == 1:
            await stream.send_all(OK)
            await request_on(stream)
        await stream.aclose()

    async with upstream_of(serve) as upstream:
        assert (await read(upstream))[0] == 200
        fault = await fault_of(upstream)
        assert fault.kind is FaultKind.DISCONNECT
        assert seen == 2
        assert (upstream.pool.idle, upstream.in_use) == (0, 0)


@pytest.mark.promise("U2")
async def test_a_kept_connection_that_dies_after_one_byte_is_not_replaced(
    autojump_clock: object,
) -> None:
    """The request was read, and may have been carried out."""
    async with upstream_of(saying(OK, b"H", then_close=True)) as upstream:
        assert (await read(upstream))[0] == 200
        assert (await fault_of(upstream)).kind is FaultKind.DISCONNECT
        assert upstream.pool.opened == 1


# ------------------------------------------------------------------------------------- answers


@pytest.mark.promise("U8")
async def test_interim_responses_are_skipped_and_endless_ones_are_not(
    autojump_clock: object,
) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    async with upstream_of(saying(b"HTTP/1.1 100 Continue\r\n\r\n" + hints + OK)) as upstream:
        assert await read(upstream) == (200, b"ok")
    async with upstream_of(saying(hints * 100)) as upstream:
        assert (await fault_of(upstream)).kind is FaultKind.PROTOCOL


@pytest.mark.promise("U8")
async def test_trailers_end_a_body_and_the_connection_goes_on(autojump_clock: object) -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2;x=y\r\nok\r\n0\r\nX-Checksum: 1\r\n\r\n"
    )
    async with upstream_of(saying(answer, answer)) as upstream:
        for _ in range(2):
            assert await read(upstream) == (200, b"ok")
        assert upstream.pool.opened == 1


async def test_chunks_that_came_in_one_read_are_passed_on_in_one_piece(
    autojump_clock: object,
) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    serve = saying(head + b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n")
    async with (
        upstream_of(serve) as upstream,
        upstream.send(REQUEST) as response,
        response.chunks() as chunks,
    ):
        assert [chunk async for chunk in chunks] == [b"abc"]


async def test_a_body_without_length_ends_with_its_connection(autojump_clock: object) -> None:
    answer = b"HTTP/1.1 200 OK\r\n\r\nall of it"
    async with upstream_of(saying(answer, then_close=True)) as upstream:
        assert await read(upstream) == (200, b"all of it")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", FaultKind.DISCONNECT),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", FaultKind.DISCONNECT),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", FaultKind.DISCONNECT),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", FaultKind.PROTOCOL),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", FaultKind.PROTOCOL),
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", FaultKind.PROTOCOL),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000, FaultKind.PROTOCOL),
        (b"HTTP/2.0 200 OK\r\n\r\n", FaultKind.PROTOCOL),
        (b"SSH-2.0-x\r\n\r\n", FaultKind.PROTOCOL),
    ],
)  # fmt: skip
async def test_a_broken_answer_is_a_fault_of_its_kind_and_leaks_nothing(
    answer: bytes, kind: FaultKind, autojump_clock: object
) -> None:
    async with upstream_of(saying(answer, then_close=True)) as upstream:
        assert (await fault_of(upstream)).kind is kind
        assert (upstream.pool.idle, upstream.in_use) == (0, 0)


async def test_silence_before_and_inside_of_an_answer_is_a_timeout_each(
    autojump_clock: object,
) -> None:
    begun = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"
    for answers, seconds in (((), 60), ((begun,), 20)):
        async with upstream_of(saying(*answers), response_timeout=60, idle_timeout=20) as upstream:
            began = trio.current_time()
            assert (await fault_of(upstream)).kind is FaultKind.TIMEOUT
            assert trio.current_time() - began == pytest.approx(seconds)


async def test_an_answer_that_comes_before_the_request_was_written_is_read(
    autojump_clock: object,
) -> None:
    """A body that the upstream refuses by its head is not pushed against a closed door."""

    async def serve(stream: trio.abc.Stream) -> None:
        await stream.receive_some(1000)
        await stream.send_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await trio.sleep(1)
        await stream.aclose()

    large = UpstreamRequest("POST", b"/v1/messages", [], b"x" * 5_000_000)
    async with upstream_of(serve) as upstream:
        assert await read(upstream, large) == (413, b"no")
        assert (upstream.pool.idle, upstream.in_use) == (0, 0)


async def test_an_upstream_that_takes_nothing_is_a_timeout(autojump_clock: object) -> None:
    async def never_reads(stream: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    large = UpstreamRequest("POST", b"/v1/messages", [], b"x" * 1_000_000)
    async with upstream_of(never_reads) as upstream:
        began = trio.current_time()
        assert (await fault_of(upstream, large)).kind is FaultKind.TIMEOUT
        assert trio.current_time() - began == pytest.approx(60)


# ------------------------------------------------------------------------------------- requests


@pytest.mark.parametrize(
    "request_",
    [
        UpstreamRequest("POST", b"/v1/m", [(b"x", b"a\r\nx-api-key: other")], b"{}"),
        UpstreamRequest("POST", b"/v1/m", [(b"x", b"a\nb")], b"{}"),
        UpstreamRequest("POST", b"/v1/m", [(b"x\r\ny", b"a")], b"{}"),
        UpstreamRequest("POST", b"/v1/m", [(b"x", b"a\0b")], b"{}"),
        UpstreamRequest("POST", b"/v1/m HTTP/1.1\r\nx: y", [], b"{}"),
        UpstreamRequest("POST", b"/v1/m x", [], b"{}"),
        UpstreamRequest("GET /x", b"/v1/m", [], b""),
    ],
)
async def test_nothing_in_a_request_can_begin_a_line_of_its_own(
    request_: UpstreamRequest, autojump_clock: object
) -> None:
    async with upstream_of(saying(OK)) as upstream:
        assert (await fault_of(upstream, request_)).kind is FaultKind.PROTOCOL
        assert (upstream.pool.idle, upstream.in_use) == (0, 0)


@pytest.mark.promise("U8", "X6")
async def test_a_request_cannot_name_another_host_or_length(autojump_clock: object) -> None:
    """What goes out on a connection is for the host that it was opened to."""
    heard: list[bytes] = []

    async def serve(stream: trio.abc.Stream) -> None:
        heard.append(await request_on(stream))
        await stream.send_all(OK)

    headers = [(b"Host", b"evil.test"), (b"content-length", b"9"), (b"Transfer-Encoding", b"x")]
    async with upstream_of(serve) as upstream:
        await read(upstream, UpstreamRequest("POST", b"/v1/m", headers, b"{}"))
    assert heard == [b"POST /v1/m HTTP/1.1\r\nHost: api.test\r\nContent-Length: 2\r\n\r\n{}"]


# --------------------------------------------------------------------------------------- places


async def test_a_request_that_is_cancelled_while_it_waits_for_a_place_takes_none(
    autojump_clock: object,
) -> None:
    scripted = ScriptedUpstream(stall_before_head())
    async with upstream_of(scripted.serve_stream, max_connections=1) as upstream:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, upstream)
            await scripted.wait_for_requests(1)
            for _ in range(3):
                with trio.move_on_after(1):
                    await read(upstream)
            nursery.cancel_scope.cancel()
        assert upstream.in_use == 0
        scripted.default(text_message("x"))
        assert (await read(upstream))[0] == 200


async def test_connections_never_exceed_the_limit(autojump_clock: object) -> None:
    open_now = most = 0

    async def serve(stream: trio.abc.Stream) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        try:
            while await request_on(stream):
                await trio.sleep(0.1)
                await stream.send_all(OK)
        except trio.BrokenResourceError:
            return
        finally:
            open_now -= 1

    async with upstream_of(serve, max_connections=5, connect_timeout=60) as upstream:
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(read, upstream)
        assert most == 5
        assert upstream.pool.opened == 5
