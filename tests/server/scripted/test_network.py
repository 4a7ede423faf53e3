"""httpx over in-memory connections in virtual time: pauses cost nothing, timeouts hold."""

from __future__ import annotations

import ssl

import httpcore
import httpx
import pytest
import trio
import trustme
from trio.testing import MockClock

from server.scripted import (
    Answer,
    MemoryNetwork,
    Reset,
    ScriptedUpstream,
    Send,
    no_answer,
    reset_before_head,
    stall_before_head,
    text_message,
    text_stream,
)
from tests.kit.httpx_network import Backend, memory_transport
from tests.server.scripted.conversation import ASK, GET, events_of, read_until


async def test_a_stream_with_long_pauses_takes_virtual_time_only(
    upstream: ScriptedUpstream, memory_client: httpx.AsyncClient, autojump_clock: MockClock
) -> None:
    upstream.default(text_stream("Hello world", events=2, pause=100))
    start = trio.current_time()
    response = await memory_client.post("/v1/messages", json=ASK)
    assert len(events_of(response.content)) == 8
    assert trio.current_time() - start == pytest.approx(700)


async def test_a_delay_comes_before_the_head(
    upstream: ScriptedUpstream, memory_client: httpx.AsyncClient, autojump_clock: MockClock
) -> None:
    upstream.default(text_message("Hello").after(50))
    start = trio.current_time()
    async with memory_client.stream("POST", "/v1/messages", json=ASK):
        assert trio.current_time() - start == pytest.approx(50)


async def test_a_stalled_answer_ends_in_the_read_timeout_and_the_upstream_sees_the_client_go(
    upstream: ScriptedUpstream, memory_client: httpx.AsyncClient, autojump_clock: MockClock
) -> None:
    upstream.default(stall_before_head())
    start = trio.current_time()
    with pytest.raises(httpx.ReadTimeout):
        await memory_client.post("/v1/messages", json=ASK, timeout=30)
    assert trio.current_time() - start == pytest.approx(30)
    await upstream.wait_until_closed()
    assert upstream.requests[0].left_at == pytest.approx(start + 30)


async def test_a_client_that_cannot_write_ends_in_the_write_timeout(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def never_reads(stream: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    network = MemoryNetwork(nursery, default=never_reads, buffer_bytes=1000)
    stream = await Backend(network).connect_tcp("upstream.test", 80)
    await stream.write(b"x" * 1000, timeout=20)
    start = trio.current_time()
    with pytest.raises(httpcore.WriteTimeout):
        await stream.write(b"x", timeout=20)
    assert trio.current_time() - start == pytest.approx(20)
    nursery.cancel_scope.cancel()


async def test_a_host_is_refused_silent_or_served_as_told(
    upstream: ScriptedUpstream,
    network: MemoryNetwork,
    memory_client: httpx.AsyncClient,
    autojump_clock: MockClock,
) -> None:
    network.refuse("a.test")
    with pytest.raises(httpx.ConnectError):
        await memory_client.get("http://a.test/v1/models")
    network.go_silent("a.test")
    start = trio.current_time()
    with pytest.raises(httpx.ConnectTimeout):
        await memory_client.get("http://a.test/v1/models", timeout=9)
    assert trio.current_time() - start == pytest.approx(9)
    network.listen("a.test", ScriptedUpstream(Answer(status=418)).serve_stream)
    assert (await memory_client.get("http://a.test/v1/models")).status_code == 418
    assert (await memory_client.get("http://b.test/v1/models")).status_code == 200
    assert upstream.requests_total == 1


async def test_a_network_without_a_default_refuses_strangers(nursery: trio.Nursery) -> None:
    with pytest.raises(ConnectionRefusedError):
        await MemoryNetwork(nursery).open_stream("nobody.test")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (no_answer(), httpx.RemoteProtocolError),
        (reset_before_head(), httpx.ReadError),
        (text_stream("Hello").interrupted(2), httpx.RemoteProtocolError),
        (Answer(parts=(Send(b"x"), Reset())), httpx.ReadError),
    ],
)
async def test_broken_answers_break_as_they_do_over_tcp(
    upstream: ScriptedUpstream,
    memory_client: httpx.AsyncClient,
    answer: Answer,
    expected: type[Exception],
) -> None:
    upstream.default(answer)
    with pytest.raises(expected):
        await memory_client.post("/v1/messages", json=ASK)


async def test_a_connection_is_used_again_and_a_dead_one_is_not(
    upstream: ScriptedUpstream, memory_client: httpx.AsyncClient
) -> None:
    await memory_client.get("/v1/models")
    await memory_client.get("/v1/models")
    assert [(r.connection, r.nth_on_connection) for r in upstream.requests] == [(0, 0), (0, 1)]
    upstream.default(Answer(headers=(("connection", "close"),)), Answer())
    await memory_client.get("/v1/models")
    await memory_client.get("/v1/models")
    assert upstream.requests[-1].connection == 1


async def test_an_idle_connection_that_the_server_closed_is_not_used(
    network: MemoryNetwork, memory_client: httpx.AsyncClient
) -> None:
    async def serve_one(stream: trio.abc.Stream) -> None:
        await read_until(stream, b"\r\n\r\n")
        await stream.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        await stream.aclose()

    network.listen("hasty.test", serve_one)
    for _ in range(3):
        assert (await memory_client.get("http://hasty.test/")).status_code == 204


async def test_a_test_can_talk_over_a_stream_of_its_own(network: MemoryNetwork) -> None:
    async with await network.open_stream() as stream:
        await stream.send_all(GET)
        assert (await read_until(stream, b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_tls_runs_over_memory_and_a_bad_certificate_is_a_connect_error(
    upstream: ScriptedUpstream, nursery: trio.Nursery
) -> None:
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("upstream.test").configure_cert(server_context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def serve(stream: trio.abc.Stream) -> None:
        tls = trio.SSLStream(stream, server_context, server_side=True, https_compatible=True)
        await upstream.serve_stream(tls)

    network = MemoryNetwork(nursery, default=serve)
    async with httpx.AsyncClient(
        transport=memory_transport(network, ssl_context=trusting)
    ) as client:
        response = await client.get("https://upstream.test/v1/models")
        assert response.extensions["network_stream"].get_extra_info("ssl_object") is not None
    async with httpx.AsyncClient(transport=memory_transport(network)) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("https://upstream.test/v1/models")
    await upstream.wait_until_closed()


async def test_the_backend_serves_a_bare_httpcore_pool_too(network: MemoryNetwork) -> None:
    async with httpcore.AsyncConnectionPool(network_backend=Backend(network)) as pool:
        response = await pool.request("GET", "http://upstream.test/v1/models")
    assert response.status == 200
