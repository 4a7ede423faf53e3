"""Opening connections: TLS and its sessions, and forward proxies."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import AsyncGenerator

import pytest
import trio
import trustme

from protocol.verdict import FaultKind
from server.dialing import Dialer, open_tcp, split_url
from server.scripted import ScriptedUpstream, text_message
from server.socket_stream import SocketStream
from server.upstream import (
    DirectUpstream,
    Limits,
    UpstreamFault,
    UpstreamRequest,
    tls_context,
)
from tests.kit.promises import Measured
from tests.kit.rounds import SWEEPING

REQUEST = UpstreamRequest("POST", b"/v1/messages", [(b"x-api-key", b"k")], b"{}")
AUTHORITY = trustme.CA()


def server_context(*names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(*names).configure_cert(context)
    return context


def trusting() -> ssl.SSLContext:
    context = tls_context("")
    AUTHORITY.configure_trust(context)
    return context


async def read(upstream: DirectUpstream) -> int:
    async with upstream.send(REQUEST) as response, response.chunks() as chunks:
        async for _ in chunks:
            pass
    return response.status


class TlsServer:
    """Answers 200 and closes; notes whether a session was resumed and what was agreed on."""

    def __init__(self) -> None:
        self.resumed: list[bool] = []
        self.protocols: list[str | None] = []
        context = server_context("127.0.0.1")
        context.set_alpn_protocols(["h2", "http/1.1"])
        self._context = context

    async def serve(self, stream: trio.abc.Stream) -> None:
        secured = trio.SSLStream(stream, self._context, server_side=True, https_compatible=True)
        async with secured:
            await secured.do_handshake()
            self.resumed.append(secured.session_reused)
            self.protocols.append(secured.selected_alpn_protocol())
            await secured.receive_some()
            await secured.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[str, None]:
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            await nursery.start(trio.serve_listeners, self.serve, listeners)
            yield f"https://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
            nursery.cancel_scope.cancel()


async def test_a_tls_session_is_resumed_and_http_2_is_never_agreed_on() -> None:
    """A new connection to the same upstream saves a round trip and the certificate's proof."""
    server = TlsServer()
    async with server.running() as url:
        upstream = DirectUpstream(url, Limits(), trusting())
        for _ in range(3):
            assert await read(upstream) == 200
            await trio.sleep(0.02)  # for its end to arrive
        await upstream.aclose()
    assert server.resumed == [False, True, True]
    assert server.protocols == ["http/1.1"] * 3


class ForwardProxy:
    """Takes CONNECT, notes what it is told, and pipes to `port` whatever name it was asked for."""

    def __init__(self, port: int, answer: bytes = b"HTTP/1.1 200 Fine\r\nVia: x\r\n\r\n") -> None:
        self.heads: list[bytes] = []
        self._port = port
        self._answer = answer

    async def serve(self, stream: trio.abc.Stream) -> None:
        received = b""
        while not received.endswith(b"\r\n\r\n"):
            data = await stream.receive_some()
            if not data:
                return
            received += data
        self.heads.append(received)
        await stream.send_all(self._answer)
        if b" 200 " not in self._answer:
            await stream.aclose()
            return
        there = await trio.open_tcp_stream("127.0.0.1", self._port)
        async with there, trio.open_nursery() as nursery:
            nursery.start_soon(self._pipe, stream, there)
            await self._pipe(there, stream)
            nursery.cancel_scope.cancel()

    @staticmethod
    async def _pipe(source: trio.abc.Stream, target: trio.abc.Stream) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in source:
                await target.send_all(data)


@contextlib.asynccontextmanager
async def tunnel(
    *, tls_proxy: bool = False, answer: bytes | None = None
) -> AsyncGenerator[tuple[ForwardProxy, str, ScriptedUpstream], None]:
    """A proxy in front of a TLS upstream for api.test, and the proxy's URL."""
    scripted = ScriptedUpstream(text_message("hello"))
    async with trio.open_nursery() as nursery:
        context = server_context("api.test")

        async def serve(stream: trio.SocketStream) -> None:
            await scripted.serve_stream(
                trio.SSLStream(stream, context, server_side=True, https_compatible=True)
            )

        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(trio.serve_listeners, serve, listeners)
        port = listeners[0].socket.getsockname()[1]
        proxy = ForwardProxy(port) if answer is None else ForwardProxy(port, answer)
        proxies = await trio.open_tcp_listeners(0, host="127.0.0.1")
        scheme, entry = "http", proxies
        if tls_proxy:
            scheme = "https"
            secure = server_context("127.0.0.1")
            entry = [trio.SSLListener(one, secure, https_compatible=True) for one in proxies]  # type: ignore[misc]
        await nursery.start(trio.serve_listeners, proxy.serve, entry)
        yield proxy, f"{scheme}://127.0.0.1:{proxies[0].socket.getsockname()[1]}", scripted
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("tls_proxy", [False, True])
async def test_https_goes_through_a_proxy_by_connect(tls_proxy: bool) -> None:
    """The proxy sees host and port and its own login; the credential it never sees."""
    async with tunnel(tls_proxy=tls_proxy) as (proxy, url, scripted):
        environment = {"HTTPS_PROXY": url.replace("://", "://me:word@")}
        upstream = DirectUpstream("https://api.test", Limits(), trusting(), open_tcp, environment)
        assert await read(upstream) == 200
        assert await read(upstream) == 200
        await upstream.aclose()
    (head,) = proxy.heads
    assert head == (
        b"CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n"
        b"Proxy-Authorization: Basic bWU6d29yZA==\r\n\r\n"
    )
    assert [seen.header("host") for seen in scripted.requests] == ["api.test"] * 2
    assert scripted.requests[0].header("proxy-authorization") is None


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0\r\n\r\n",
        b"",
    ],
)
async def test_a_proxy_that_refuses_is_a_fault_that_names_it(answer: bytes) -> None:
    async with tunnel(answer=answer) as (_, url, scripted):
        environment = {"HTTPS_PROXY": url}
        upstream = DirectUpstream("https://api.test", Limits(), trusting(), open_tcp, environment)
        with pytest.raises(UpstreamFault, match="proxy") as caught:
            await read(upstream)
        assert caught.value.kind is FaultKind.CONNECT
        assert (upstream.pool.idle, upstream.in_use) == (0, 0)
    assert scripted.requests == []


async def test_an_unusable_proxy_variable_is_a_fault_and_nothing_goes_out() -> None:
    environment = {"HTTPS_PROXY": "socks5://me:word@127.0.0.1:9"}
    upstream = DirectUpstream("https://api.test", Limits(), trusting(), open_tcp, environment)
    with pytest.raises(UpstreamFault, match="HTTPS_PROXY") as caught:
        await read(upstream)
    assert "word" not in str(caught.value)


@pytest.mark.promise("U1")
async def test_a_certificate_for_another_name_is_refused() -> None:
    async with tunnel() as (_, url, _scripted):
        environment = {"HTTPS_PROXY": url}
        upstream = DirectUpstream("https://other.test", Limits(), trusting(), open_tcp, environment)
        with pytest.raises(UpstreamFault) as caught:
            await read(upstream)
    assert caught.value.kind is FaultKind.CERTIFICATE


async def test_a_peer_that_does_not_speak_tls_is_told_from_a_bad_certificate() -> None:
    async with trio.open_nursery() as nursery:
        url: str = await nursery.start(ScriptedUpstream().serve_tcp)
        upstream = DirectUpstream(url.replace("http:", "https:"), Limits(), trusting())
        with pytest.raises(UpstreamFault, match="TLS") as caught:
            await read(upstream)
        assert caught.value.kind is FaultKind.CONNECT
        nursery.cancel_scope.cancel()


@pytest.mark.promise("U1")
async def test_a_peer_that_says_nothing_ends_in_the_connect_timeout() -> None:
    listening = await trio.open_tcp_listeners(0, host="127.0.0.1")
    url = f"https://127.0.0.1:{listening[0].socket.getsockname()[1]}"
    upstream = DirectUpstream(url, Limits(connect_timeout=0.2), trusting())
    with pytest.raises(UpstreamFault) as caught:
        await read(upstream)
    assert caught.value.kind is FaultKind.CONNECT
    assert upstream.in_use == 0
    await listening[0].aclose()


@pytest.mark.promise("U1")
@pytest.mark.sweep
@pytest.mark.skipif(not SWEEPING, reason="waits for ten real seconds: TEST_SWEEP=1")
async def test_a_host_that_takes_no_connection_is_given_up_after_ten_seconds(
    measured: Measured,
) -> None:
    """The default, on the real clock: its queue of connections is full, so nobody is answered."""
    with socket.socket() as listening, contextlib.ExitStack() as queued:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(8):
            knocking = queued.enter_context(socket.socket())
            knocking.setblocking(False)
            knocking.connect_ex(listening.getsockname())
        upstream = DirectUpstream(
            f"http://127.0.0.1:{listening.getsockname()[1]}", Limits(), trusting()
        )
        began = trio.current_time()
        with pytest.raises(UpstreamFault) as caught:
            await read(upstream)
        took = trio.current_time() - began
    assert caught.value.kind is FaultKind.CONNECT
    assert 9.9 < took < 10.5
    measured("U1", "given up, a host that takes no connection", took, "s")


async def test_the_kernel_watches_a_silent_connection() -> None:
    listening = await trio.open_tcp_listeners(0, host="127.0.0.1")
    stream = await open_tcp("127.0.0.1", listening[0].socket.getsockname()[1])
    assert isinstance(stream, SocketStream)
    assert stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
        idle, between, probes, most = (
            stream.socket.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names
        )
        assert most == 60_000
        # Linux goes by it for lost probes, too, whatever their number may be: all have to be sent.
        assert idle + probes * between <= most / 1000
        assert probes >= 3
    stream.close()
    await listening[0].aclose()


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("https://api.test", ("https", "api.test", 443, b"api.test"), b""),
        ("https://api.test:443/", ("https", "api.test", 443, b"api.test"), b""),
        ("http://API.test:8080/a/b/", ("http", "api.test", 8080, b"api.test:8080"), b"/a/b"),
        ("http://[::1]:9/x y", ("http", "::1", 9, b"[::1]:9"), b"/x%20y"),
        ("https://b\xfccher.test/%41", ("https", "xn--bcher-kva.test", 443, b"xn--bcher-kva.test"), b"/%41"),
    ],
)  # fmt: skip
def test_a_base_url_is_an_origin_and_a_path(
    url: str, origin: tuple[str, str, int, bytes], path: bytes
) -> None:
    found, prefix = split_url(url)
    assert (found.scheme, found.host, found.port, found.authority) == origin
    assert prefix == path


@pytest.mark.parametrize("url", ["ftp://a.test", "api.test", "http://", "https:///x"])
def test_what_is_no_base_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base URL"):
        split_url(url)


def eager_server(listening: socket.socket, size: int) -> int:
    """Answers one request when `size` bytes of it are there. Unlike trio's it sends its session
    tickets as soon as the handshake is over, as servers do. The bytes that it read."""
    context = server_context("127.0.0.1")
    connection, _ = listening.accept()
    with context.wrap_socket(connection, server_side=True) as secured:
        received = 0
        while received < size and (data := secured.recv(65536)):
            received += len(data)
        secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    return received


async def test_a_large_body_goes_out_whole_over_a_new_tls_connection() -> None:
    """The server's session tickets lie in the socket unread meanwhile; they are no early answer."""
    size = 5_000_000
    large = UpstreamRequest("POST", b"/v1/messages", [], b"x" * size)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        upstream = DirectUpstream(url, Limits(response_timeout=10), trusting())
        received = 0

        async def serve() -> None:
            nonlocal received
            received = await trio.to_thread.run_sync(eager_server, listening, size)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            async with upstream.send(large) as response:
                assert response.status == 200
            await upstream.aclose()
        assert received >= size


class Corked(trio.abc.Stream):
    """Sends what it is given in one piece, when it is let go."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._held: bytes | None = None

    def hold(self) -> None:
        self._held = b""

    async def let_go(self) -> None:
        held, self._held = self._held or b"", None
        await self._stream.send_all(held)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._held is None:
            await self._stream.send_all(data)
        else:
            self._held += bytes(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


async def test_a_tls_record_that_nobody_asked_for_is_no_answer_to_the_next_request() -> None:
    """It came in one packet with the answer before it, so the socket itself is silent."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n%b"

    async def serve(stream: trio.abc.Stream) -> None:
        corked = Corked(stream)
        secured = trio.SSLStream(
            corked, server_context("127.0.0.1"), server_side=True, https_compatible=True
        )
        async with secured:
            await secured.receive_some()
            await secured.send_all(b"")
            corked.hold()
            await secured.send_all(answer % b"good")
            await secured.send_all(answer % b"evil")
            await corked.let_go()
            await secured.receive_some()

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(trio.serve_listeners, serve, listeners)
        url = f"https://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        upstream = DirectUpstream(url, Limits(), trusting())
        for _ in range(3):
            async with upstream.send(REQUEST) as response, response.chunks() as chunks:
                assert b"".join([chunk async for chunk in chunks]) == b"good"
        await upstream.aclose()
        nursery.cancel_scope.cancel()
    assert upstream.pool.opened == 3


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (OSError("all attempts failed"), "all attempts failed"),
        (OSError(), "OSError"),
    ],
)
async def test_why_nobody_is_there_is_told_in_words_and_not_in_numbers(
    cause: OSError, told: str
) -> None:
    async def refuse(host: str, port: int) -> trio.abc.Stream:
        raise cause

    origin, _ = split_url("http://api.test")
    dialer = Dialer(origin, tls_context(""), {}, refuse)
    with pytest.raises(UpstreamFault) as fault:
        await dialer.dial(1.0)
    assert fault.value.detail == told
