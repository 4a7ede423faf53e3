"""The way to an upstream: requests over kept connections of our own.

A credential is bound to the scheme and host of its base URL: redirects are not followed, and the
URL is built from nothing else. `server/pooled_transport.py` lets httpx ride the same connections.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType

import httpx
import trio

from protocol.request import Headers
from server.dialing import Dialer, OpenTcp, open_tcp, split_url
from server.upstream_connection import UpstreamConnection
from server.upstream_pool import Pool
from server.upstream_port import (
    Limits,
    Upstream,
    UpstreamFault,
    UpstreamRequest,
    UpstreamResponse,
)

__all__ = [
    "DirectUpstream",
    "Limits",
    "Upstream",
    "UpstreamFault",
    "UpstreamRequest",
    "UpstreamResponse",
    "Upstreams",
    "tls_context",
]

SWEEP_SECONDS = 15.0
"""How often idle connections are looked at when no request does."""


class DirectUpstream:
    """One upstream. `open_tcp` replaces the network, for tests in memory; `environment` is where
    HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY are looked for."""

    def __init__(
        self,
        base_url: str,
        limits: Limits,
        tls: ssl.SSLContext,
        open_tcp: OpenTcp = open_tcp,
        environment: Mapping[str, str] = os.environ,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        origin, self._prefix = split_url(base_url)
        self._limits = limits
        self.pool = Pool(origin, Dialer(origin, tls, environment, open_tcp), limits, wall_clock)

    @property
    def in_use(self) -> int:
        """Requests that are under way."""
        return self.pool.in_use

    async def aclose(self) -> None:
        """Closes all connections, busy ones too."""
        self.pool.close()
        await trio.lowlevel.checkpoint()

    def send(self, request: UpstreamRequest) -> AbstractAsyncContextManager[UpstreamResponse]:
        return _Sending(self.pool, request, self._prefix + request.target, self._limits)


class _Sending(AbstractAsyncContextManager[UpstreamResponse]):
    """One request and its answer. By hand, because a generator would cost as much as the parsing."""

    def __init__(self, pool: Pool, request: UpstreamRequest, target: bytes, limits: Limits) -> None:
        self._pool = pool
        self._request = request
        self._target = target
        self._limits = limits
        self._connection: UpstreamConnection | None = None

    async def __aenter__(self) -> UpstreamResponse:
        connection, head = await self._pool.begin(self._request, self._target)
        self._connection = connection
        return _Response(head.status, head.headers, connection, self._limits.idle_timeout)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._connection is not None:
            self._pool.end(self._connection)
            self._connection = None


class _Response(AbstractAsyncContextManager[AsyncIterator[bytes]], AsyncIterator[bytes]):
    """An `UpstreamResponse`; its chunks are what one read brought each."""

    def __init__(
        self, status: int, headers: Headers, connection: UpstreamConnection, idle_timeout: float
    ) -> None:
        self.status = status
        self.headers = headers
        self._connection = connection
        self._idle_timeout = idle_timeout

    def chunks(self) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self

    async def __aenter__(self) -> AsyncIterator[bytes]:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """The connection is the request's to keep or to close."""

    async def __anext__(self) -> bytes:
        piece = await self._connection.read(self._idle_timeout)
        if not piece:
            raise StopAsyncIteration
        return piece


def tls_context(ca_file: str) -> ssl.SSLContext:
    """The trust anchors: SSL_CERT_FILE or SSL_CERT_DIR, else Mozilla's, and those of `ca_file`.

    Raises OSError or ssl.SSLError for a file that cannot be used.
    """
    context = httpx.create_ssl_context()
    # HTTP/2 is never asked for: a stream cancelled there goes on generating, and is billed.
    context.set_alpn_protocols(["http/1.1"])
    if ca_file:
        context.load_verify_locations(cafile=ca_file)
    return context


class Upstreams:
    """The upstreams by base URL, each made at its first use and kept."""

    def __init__(self, make: Callable[[str], DirectUpstream]) -> None:
        self._make = make
        self._known: dict[str, DirectUpstream] = {}

    def __call__(self, base_url: str) -> DirectUpstream:
        """The upstream at `base_url`."""
        known = self._known.get(base_url)
        if known is None:
            known = self._known[base_url] = self._make(base_url)
        return known

    def renew(self, make: Callable[[str], DirectUpstream]) -> list[DirectUpstream]:
        """Other limits from here on; gives back those in use, to be closed when they are idle."""
        retired = list(self._known.values())
        self._make = make
        self._known = {}
        return retired

    async def sweep(self) -> None:
        """Runs until cancelled: closes connections that nobody has used for a while."""
        while True:
            await trio.sleep(SWEEP_SECONDS)
            for upstream in self._known.values():
                upstream.pool.sweep()

    async def aclose(self) -> None:
        """Closes all of them; for the end of the program."""
        for upstream in self._known.values():
            await upstream.aclose()
