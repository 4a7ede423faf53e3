"""httpx and httpcore over the in-memory network, for tests that need a client of another make.

transport = memory_transport(network)
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import httpcore
import httpx
import trio

from server.scripted.memory import MemoryStream
from server.scripted.network import MemoryNetwork

SocketOption: TypeAlias = (
    tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
)


class Backend(httpcore.AsyncNetworkBackend):
    """`network` as httpcore wants to have it."""

    def __init__(self, network: MemoryNetwork) -> None:
        self._network = network

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """As httpcore asks for it; ports, addresses and socket options mean nothing here."""
        with _mapped(httpcore.ConnectError, httpcore.ConnectTimeout, timeout):
            return NetworkStream(await self._network.open_stream(host))

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """As `connect_tcp`, with the path for a host name."""
        return await self.connect_tcp(path, 0, timeout)

    async def sleep(self, seconds: float) -> None:
        """In the clock of the run."""
        await trio.sleep(seconds)


class NetworkStream(httpcore.AsyncNetworkStream):
    """A trio stream as httpcore wants to have it."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def read(
        self,
        max_bytes: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
    ) -> bytes:
        """The next bytes, within `timeout` seconds."""
        with _mapped(httpcore.ReadError, httpcore.ReadTimeout, timeout):
            return bytes(await self._stream.receive_some(max_bytes))

    async def write(
        self,
        buffer: bytes,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
    ) -> None:
        """Send all of it, within `timeout` seconds."""
        if not buffer:
            return
        with _mapped(httpcore.WriteError, httpcore.WriteTimeout, timeout):
            await self._stream.send_all(buffer)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
    ) -> httpcore.AsyncNetworkStream:
        """TLS over this stream; the stream is closed when the handshake fails."""
        secured = trio.SSLStream(
            self._stream, ssl_context, server_hostname=server_hostname, https_compatible=True
        )
        try:
            with _mapped(httpcore.ConnectError, httpcore.ConnectTimeout, timeout):
                await secured.do_handshake()
        except (httpcore.NetworkError, httpcore.TimeoutException):
            await trio.aclose_forcefully(self._stream)
            raise
        return NetworkStream(secured)

    def get_extra_info(self, info: str) -> Any:
        """`is_readable` (httpcore's test for a dead idle connection) and `ssl_object`."""
        stream = self._stream
        if info == "ssl_object":
            return stream._ssl_object if isinstance(stream, trio.SSLStream) else None
        while isinstance(stream, trio.SSLStream):
            stream = stream.transport_stream
        if info == "is_readable" and isinstance(stream, MemoryStream):
            return stream.is_readable
        return None


@contextmanager
def _mapped(
    broken: type[Exception], too_slow: type[Exception], timeout: float | None
) -> Iterator[None]:
    """Give the block its deadline and turn trio's exceptions into httpcore's."""
    try:
        with trio.fail_after(float("inf") if timeout is None else timeout):
            yield
    except trio.TooSlowError as problem:
        raise too_slow(str(problem) or "timed out") from problem
    except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as problem:
        raise broken(str(problem)) from problem


def memory_transport(
    network: MemoryNetwork,
    *,
    ssl_context: ssl.SSLContext | None = None,
    max_connections: int | None = None,
    keepalive_expiry: float | None = None,
) -> httpx.AsyncHTTPTransport:
    """An httpx transport whose connections are made by this network.

    Without `ssl_context` no server is trusted, which is all that plain HTTP needs. Idle connections
    are dropped after `keepalive_expiry` seconds (None: never).
    """
    context = ssl_context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    transport = httpx.AsyncHTTPTransport(verify=context)
    # httpx builds the pool itself and takes no backend; its pool is the one thing to exchange.
    transport._pool = httpcore.AsyncConnectionPool(
        ssl_context=context,
        max_connections=max_connections,
        keepalive_expiry=keepalive_expiry,
        network_backend=Backend(network),
    )
    return transport
