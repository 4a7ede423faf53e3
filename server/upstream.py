"""The way to an upstream: one small port, and httpx behind it. The only module that imports httpx.

httpx's pool dies when requests are cancelled while they wait for a connection
(`tests/server/test_upstream.py` shows it), so nobody ever waits in it: the pool is unlimited and a
limiter of ours stands before it. A credential is bound to the scheme and host of its base URL:
redirects are not followed, and the URL is built from nothing else.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, cast

import httpx
import trio

from protocol.request import Headers
from protocol.verdict import FaultKind
from server.upstream_port import (
    Limits,
    Upstream,
    UpstreamFault,
    UpstreamRequest,
    UpstreamResponse,
)

WRITE_SECONDS = 60.0
WRITE_PIECE_BYTES = 64 * 1024
"""httpx's write timeout covers one piece, so a slow line that moves is never cut."""

KEEP_ALIVE_SECONDS = 60.0
"""Idle connections go before an upstream's load balancer drops them unseen (usually minutes)."""

CLOSE_SECONDS = 1.0
"""For giving up an answer; the other side is not waited for."""

REUSED_RETRIES = 3
"""Times a request moves on from a kept connection that turned out dead."""


class HttpxResponse:
    """An `UpstreamResponse` over httpx."""

    def __init__(self, response: httpx.Response, idle_timeout: float) -> None:
        self._response = response
        self._idle_timeout = idle_timeout
        self.status = response.status_code
        self.headers: Headers = tuple(response.headers.raw)

    @contextlib.asynccontextmanager
    async def chunks(self) -> AsyncGenerator[AsyncIterator[bytes], None]:
        raw = cast("AsyncGenerator[bytes, None]", self._response.aiter_raw())
        async with contextlib.aclosing(self._bounded(raw)) as bounded:
            try:
                yield bounded
            finally:
                await self._abandon(raw)  # noqa: ASYNC102 - it shields itself

    async def _abandon(self, raw: AsyncGenerator[bytes, None]) -> None:
        """Closes the answer, whatever is left of it, and httpx's generators with it.

        They are nested and do not close each other, so a response that is left early would leave
        them to the garbage collector. With the connection closed they come to their own end.
        """
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_SECONDS):
            await self._response.aclose()
            with contextlib.suppress(httpx.HTTPError, httpx.StreamError):
                async for _ in raw:
                    pass
            await raw.aclose()

    async def _bounded(self, raw: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        while True:
            try:
                with trio.fail_after(self._idle_timeout):
                    chunk = await anext(raw, None)
            except trio.TooSlowError:
                detail = f"no byte for {self._idle_timeout:g} s"
                raise UpstreamFault(FaultKind.TIMEOUT, detail) from None
            except httpx.HTTPError as error:
                raise _fault(error) from error
            if chunk is None:
                return
            yield chunk


class HttpxUpstream:
    """One upstream. `transport` replaces the network, for tests in memory."""

    def __init__(
        self,
        base_url: str,
        limits: Limits,
        tls: ssl.SSLContext,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._base = httpx.URL(base_url)
        self._prefix = self._base.raw_path.rstrip(b"/")
        self._limits = limits
        self._limiter = trio.CapacityLimiter(limits.max_connections)
        self._client = httpx.AsyncClient(
            verify=tls,
            http2=False,  # a cancelled HTTP/2 stream goes on generating, and is billed
            follow_redirects=False,
            trust_env=not _is_loopback(self._base.host),
            transport=transport,
            timeout=httpx.Timeout(
                connect=limits.connect_timeout, write=WRITE_SECONDS, read=None, pool=None
            ),
            limits=httpx.Limits(
                max_connections=None,
                # httpcore counts busy connections against this limit too, so a real one would
                # end keep-alive under many streams; idle ones go by their age.
                max_keepalive_connections=None,
                keepalive_expiry=KEEP_ALIVE_SECONDS,
            ),
        )

    @property
    def in_use(self) -> int:
        """Requests that are under way."""
        return self._limiter.borrowed_tokens

    async def aclose(self) -> None:
        """Closes all connections, busy ones too."""
        await self._client.aclose()

    @contextlib.asynccontextmanager
    async def send(self, request: UpstreamRequest) -> AsyncGenerator[UpstreamResponse, None]:
        await self._take_place()
        try:
            response = await self._answer(request)
            try:
                yield HttpxResponse(response, self._limits.idle_timeout)
            finally:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_SECONDS):
                    await response.aclose()
        finally:
            self._limiter.release()

    async def _take_place(self) -> None:
        with trio.move_on_after(self._limits.connect_timeout):
            await self._limiter.acquire()
            return
        raise UpstreamFault(
            FaultKind.NO_CONNECTION, f"all {self._limits.max_connections} connections are in use"
        )

    async def _answer(self, request: UpstreamRequest) -> httpx.Response:
        for _ in range(REUSED_RETRIES):
            connected = _Connected()
            try:
                return await self._attempt(request, connected)
            except UpstreamFault as fault:
                # A kept connection that the other side had closed: this request was never read.
                if fault.kind is not FaultKind.DISCONNECT or connected.fresh:
                    raise
        return await self._attempt(request, _Connected())

    async def _attempt(self, request: UpstreamRequest, connected: _Connected) -> httpx.Response:
        target = self._prefix + request.target
        headers = [(b"Host", self._base.netloc), *request.headers]
        if request.body or request.method not in ("GET", "HEAD", "DELETE", "OPTIONS"):
            headers.append((b"Content-Length", str(len(request.body)).encode()))
        outgoing = httpx.Request(
            request.method,
            self._base,
            headers=headers,
            stream=_Pieces(request.body),
            extensions={
                "target": target,
                "trace": connected.trace,
                "timeout": self._client.timeout.as_dict(),
            },
        )
        try:
            with trio.fail_after(self._limits.response_timeout):
                return await self._client.send(outgoing, stream=True)
        except trio.TooSlowError:
            detail = f"no answer within {self._limits.response_timeout:g} s"
            raise UpstreamFault(FaultKind.TIMEOUT, detail) from None
        except httpx.HTTPError as error:
            raise _fault(error) from error


class _Connected:
    """Whether an attempt opened a connection of its own."""

    def __init__(self) -> None:
        self.fresh = False

    async def trace(self, event: str, _info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.started":
            self.fresh = True


class _Pieces(httpx.AsyncByteStream):
    """A body that is written piece by piece. An iterator by hand: a generator that is left in the
    middle (an early answer, a cancelled request) would wait for the garbage collector."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._place = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._place >= len(self._body):
            raise StopAsyncIteration
        piece = self._body[self._place : self._place + WRITE_PIECE_BYTES]
        self._place += len(piece)
        return piece


def _fault(error: httpx.HTTPError) -> UpstreamFault:
    causes = list(_causes(error))
    # str() of httpx's exceptions can be empty; the innermost cause says most.
    detail = next((str(cause) for cause in reversed(causes) if str(cause)), type(error).__name__)
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
            return UpstreamFault(FaultKind.CERTIFICATE, detail)
        if any(isinstance(cause, socket.gaierror) for cause in causes):
            return UpstreamFault(FaultKind.NAME, detail)
        return UpstreamFault(FaultKind.CONNECT, detail)
    if isinstance(error, httpx.TimeoutException):
        return UpstreamFault(FaultKind.TIMEOUT, detail)
    if isinstance(error, httpx.NetworkError) or "disconnect" in detail.lower():
        return UpstreamFault(FaultKind.DISCONNECT, detail)
    if isinstance(error, httpx.RemoteProtocolError) and "closed connection" in detail:
        return UpstreamFault(FaultKind.DISCONNECT, detail)
    return UpstreamFault(FaultKind.PROTOCOL, detail)


def _causes(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    seen: BaseException | None = error
    while seen is not None and len(chain) < 10:
        chain.append(seen)
        if isinstance(seen, BaseExceptionGroup):
            chain.extend(seen.exceptions)
        seen = seen.__cause__ or seen.__context__
    return chain


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def tls_context(ca_file: str) -> ssl.SSLContext:
    """The trust anchors: the usual ones (SSL_CERT_FILE is honoured) and those of `ca_file`."""
    context = httpx.create_ssl_context()
    if ca_file:
        context.load_verify_locations(cafile=ca_file)
    return context


class Upstreams:
    """The upstreams by base URL, each made at its first use and kept."""

    def __init__(self, make: Callable[[str], HttpxUpstream]) -> None:
        self._make = make
        self._known: dict[str, HttpxUpstream] = {}

    def __call__(self, base_url: str) -> Upstream:
        """The upstream at `base_url`."""
        if base_url not in self._known:
            self._known[base_url] = self._make(base_url)
        return self._known[base_url]

    def renew(self, make: Callable[[str], HttpxUpstream]) -> list[HttpxUpstream]:
        """Other limits from here on; gives back those in use, to be closed when they are idle."""
        retired = list(self._known.values())
        self._make = make
        self._known = {}
        return retired

    async def aclose(self) -> None:
        """Closes all of them; for the end of the program."""
        for upstream in self._known.values():
            await upstream.aclose()
