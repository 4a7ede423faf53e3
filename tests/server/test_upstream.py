"""The way to an upstream over real sockets: reuse, faults by their kind, and no leak."""

from __future__ import annotations

import contextlib
import functools
import random
import ssl
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest
import trio
import trustme

from protocol.verdict import FaultKind
from server.scripted import (
    Answer,
    ScriptedUpstream,
    no_answer,
    stall_before_head,
    text_message,
    text_stream,
)
from server.upstream import (
    DirectUpstream,
    Limits,
    Upstream,
    UpstreamFault,
    UpstreamRequest,
    Upstreams,
    tls_context,
)
from tests.kit.rounds import rounds

REQUEST = UpstreamRequest("POST", b"/v1/messages?beta=true", [(b"x-api-key", b"k")], b"{}")


@contextlib.asynccontextmanager
async def serving(
    upstream: ScriptedUpstream, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[str, None]:
    """The scripted upstream's base URL while it serves."""

    async with trio.open_nursery() as nursery:
        yield await nursery.start(functools.partial(upstream.serve_tcp, tls=tls))
        nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def client(base_url: str, **limits: float) -> AsyncGenerator[DirectUpstream, None]:
    """What is tested."""
    upstream = DirectUpstream(base_url, Limits(**limits), tls_context(""))  # type: ignore[arg-type]
    try:
        yield upstream
    finally:
        await upstream.aclose()


def open_descriptors() -> int:
    """Open files and sockets of this process; 0 where nobody tells."""
    directory = Path("/proc/self/fd")
    return len(list(directory.iterdir())) if directory.exists() else 0


async def read(upstream: Upstream, request: UpstreamRequest = REQUEST) -> tuple[int, bytes]:
    """Status and body of one answer."""
    async with upstream.send(request) as response, response.chunks() as chunks:
        pieces = [chunk async for chunk in chunks]
    return response.status, b"".join(pieces)


async def fault_of(base_url: str, **limits: float) -> UpstreamFault:
    """The fault that a request to `base_url` ends with."""
    async with client(base_url, **limits) as upstream:
        with pytest.raises(UpstreamFault) as caught:
            await read(upstream)
    return caught.value


async def test_target_headers_and_body_go_out_as_given() -> None:
    """Only Host and Content-Length are added."""
    scripted = ScriptedUpstream()
    headers = [(b"X-Odd-CASE", b"1"), (b"anthropic-beta", b"a"), (b"anthropic-beta", b"b")]
    async with serving(scripted) as url, client(url) as upstream:
        await read(upstream, UpstreamRequest("POST", b"/v1/m%2Fx?b=%20+&a", headers, b'{"a": 1}'))
    (seen,) = scripted.requests
    assert seen.target == b"/v1/m%2Fx?b=%20+&a"
    assert seen.body == b'{"a": 1}'
    host = url.removeprefix("http://").encode()
    assert list(seen.headers) == [(b"Host", host), *headers, (b"Content-Length", b"8")]


async def test_a_base_url_with_a_path_is_prefixed() -> None:
    """Gateways live below a path."""
    scripted = ScriptedUpstream()
    async with serving(scripted) as url, client(f"{url}/anthropic/") as upstream:
        await read(upstream)
    assert scripted.requests[0].target == b"/anthropic/v1/messages?beta=true"


async def test_connections_are_kept_and_used_again() -> None:
    """Ten requests one after the other need one connection, streams included."""
    scripted = ScriptedUpstream()
    scripted.default(text_stream("hello"))
    async with serving(scripted) as url, client(url) as upstream:
        for _ in range(10):
            await read(upstream)
    assert scripted.connections_total == 1


async def test_connections_are_kept_beside_very_many_streams() -> None:
    """Two hundred open streams do not cost the next requests a new connection each."""
    scripted = ScriptedUpstream()
    scripted.script("k", *[stall_before_head()] * 200, then=text_message("hello"))
    async with serving(scripted) as url, client(url) as upstream, trio.open_nursery() as nursery:
        for _ in range(200):
            nursery.start_soon(read, upstream)
        await scripted.wait_for_requests(200)
        for _ in range(5):
            await read(upstream)
        assert scripted.connections_total == 201
        nursery.cancel_scope.cancel()


async def test_a_kept_connection_that_died_is_replaced_without_a_word() -> None:
    """It closed after an answer; the next request was never read there, so it goes out again."""
    scripted = ScriptedUpstream()
    scripted.default(text_message("one"), no_answer(), then=text_message("three"))
    async with serving(scripted) as url, client(url) as upstream:
        await read(upstream)
        assert (await read(upstream))[0] == 200
    first, again, fresh = (seen.connection for seen in scripted.requests)
    assert first == again != fresh


@pytest.mark.promise("U2")
async def test_a_fresh_connection_that_closes_is_a_fault_and_not_tried_again() -> None:
    """The request may have been read: whether to repeat it is the relay's decision."""
    scripted = ScriptedUpstream()
    scripted.default(no_answer())
    async with serving(scripted) as url:
        fault = await fault_of(url)
    assert fault.kind is FaultKind.DISCONNECT
    assert len(scripted.requests) == 1


@pytest.mark.promise("U8", "X6")
async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    """A credential goes to its own host only."""
    scripted = ScriptedUpstream()
    scripted.default(Answer(status=307, headers=(("location", "http://elsewhere.invalid/"),)))
    async with serving(scripted) as url, client(url) as upstream:
        status, _ = await read(upstream)
    assert status == 307
    assert len(scripted.requests) == 1


@pytest.mark.promise("U1")
async def test_refused_connections_and_unknown_names_are_told_apart() -> None:
    """For the log and the client's message."""
    listening = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listening[0].socket.getsockname()[1]
    await listening[0].aclose()
    assert (await fault_of(f"http://127.0.0.1:{port}")).kind is FaultKind.CONNECT
    assert (await fault_of("http://nowhere.invalid")).kind is FaultKind.NAME


@pytest.mark.promise("U1")
async def test_a_certificate_that_does_not_verify_is_its_own_kind() -> None:
    """Until its authority is given by `ca_file`."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    scripted = ScriptedUpstream()
    scripted.default(text_message("hello"))
    async with serving(scripted, server) as url:
        assert (await fault_of(url)).kind is FaultKind.CERTIFICATE
        with authority.cert_pem.tempfile() as file:
            upstream = DirectUpstream(url, Limits(), tls_context(file))
            assert (await read(upstream))[0] == 200
            await upstream.aclose()


async def test_more_requests_than_connections_wait_and_then_are_refused() -> None:
    """`connect_timeout` is how long a request waits for a place."""
    scripted = ScriptedUpstream()
    scripted.default(stall_before_head())
    async with (
        serving(scripted) as url,
        client(url, max_connections=1, connect_timeout=0.2) as upstream,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(read, upstream)
        await scripted.wait_for_requests(1)
        with pytest.raises(UpstreamFault) as caught:
            await read(upstream)
        assert caught.value.kind is FaultKind.NO_CONNECTION
        nursery.cancel_scope.cancel()


@pytest.mark.promise("X6")
async def test_proxies_of_the_environment_are_honoured_except_for_loopback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A proxy that stands in for the whole network sees the request; one for loopback does not."""
    proxy = ScriptedUpstream()
    proxy.default(text_message("by proxy"))
    async with serving(proxy) as proxy_url:
        monkeypatch.setenv("HTTP_PROXY", proxy_url)
        async with client("http://api.test") as upstream:
            assert b"by proxy" in (await read(upstream))[1]
        local = ScriptedUpstream()
        async with serving(local) as url, client(url) as upstream:
            await read(upstream)
    assert len(proxy.requests) == 1
    assert proxy.requests[0].header("host") == "api.test"
    assert len(local.requests) == 1


async def cancelled_at_random(upstream: Upstream, rng: random.Random, rounds: int) -> None:
    for _ in range(rounds):
        with trio.move_on_after(rng.random() * 0.01), contextlib.suppress(UpstreamFault):
            await read(upstream)


@pytest.mark.promise("A8")
@pytest.mark.sweep
@pytest.mark.parametrize("secured", [False, True])
async def test_cancelled_requests_under_a_contended_limit_leak_nothing(secured: bool) -> None:
    """A thousand in each round, at any moment of a request; afterwards every place is free, every
    request is served, and no descriptor is left."""
    scripted = ScriptedUpstream()
    scripted.default(text_stream("hello", events=3, pause=0.002))
    authority, tls = trustme.CA(), None
    if secured:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(tls)
    trusted = tls_context("")
    authority.configure_trust(trusted)
    async with serving(scripted, tls) as url:
        descriptors = open_descriptors()
        limits = Limits(max_connections=10, connect_timeout=5)
        upstream = DirectUpstream(url, limits, trusted)
        for seed in range(rounds(quick=1, full=20)):
            rng = random.Random(seed)
            async with trio.open_nursery() as nursery:
                for _ in range(40):
                    nursery.start_soon(cancelled_at_random, upstream, rng, 25)
            assert upstream.in_use == 0
            for _ in range(20):
                assert (await read(upstream))[0] == 200
        assert upstream.pool.idle <= 10
        await upstream.aclose()
        with trio.fail_after(5):
            await scripted.wait_until_closed()
        assert open_descriptors() <= descriptors


@pytest.mark.parametrize("secured", [False, True])
async def test_a_wait_for_the_next_piece_that_is_cancelled_loses_nothing(secured: bool) -> None:
    """As the relay does when it shows a stream that is slow with its first content."""
    answer = text_stream("hello", events=5, pause=0.05)
    scripted = ScriptedUpstream(answer)
    authority, tls = trustme.CA(), None
    if secured:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(tls)
    trusted = tls_context("")
    authority.configure_trust(trusted)
    pieces, cancelled = [], 0
    async with serving(scripted, tls) as url:
        upstream = DirectUpstream(url, Limits(), trusted)
        async with upstream.send(REQUEST) as response, response.chunks() as chunks:
            while True:
                with trio.move_on_after(0.01) as patience:
                    piece = await anext(chunks, None)
                if patience.cancelled_caught:
                    cancelled += 1
                elif piece is None:
                    break
                else:
                    pieces.append(piece)
        assert upstream.pool.idle == 1, "the connection is as good as before"
        await upstream.aclose()
    assert cancelled
    assert b"".join(pieces) == answer.whole_body()


@pytest.mark.promise("A8", control=True)
async def test_control_a_contended_pool_of_httpx_itself_dies_under_cancellation() -> None:
    """Why nobody ever waits in httpx's pool. Should this fail one day, httpx has mended it."""
    scripted = ScriptedUpstream()
    scripted.default(text_stream("hello", events=3, pause=0.002))
    rng = random.Random(7)
    limits = httpx.Limits(max_connections=10, max_keepalive_connections=10)

    async def churn(plain: httpx.AsyncClient) -> None:
        for _ in range(25):
            with trio.move_on_after(rng.random() * 0.01), contextlib.suppress(httpx.HTTPError):
                await plain.get("/v1/models")

    async with (
        serving(scripted) as url,
        httpx.AsyncClient(base_url=url, limits=limits, timeout=1) as plain,
    ):
        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(churn, plain)
        failures = 0
        for _ in range(3):
            try:
                await plain.get("/v1/models")
            except httpx.PoolTimeout:
                failures += 1
    assert failures == 3


async def test_an_upstream_is_made_once_per_base_url_and_anew_after_a_change() -> None:
    """Other limits count for new requests; the old client is given back to be closed."""
    made: list[str] = []

    def make(base_url: str) -> DirectUpstream:
        made.append(base_url)
        return DirectUpstream(base_url, Limits(), tls_context(""))

    upstreams = Upstreams(make)
    first = upstreams("http://a.test")
    assert upstreams("http://a.test") is first
    retired = upstreams.renew(make)
    assert retired == [first]
    assert upstreams("http://a.test") is not first
    assert made == ["http://a.test", "http://a.test"]
    for upstream in retired:
        await upstream.aclose()
