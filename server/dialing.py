"""Opening a connection to an upstream: TCP, perhaps a forward proxy, perhaps TLS.

trio tries the addresses of a name in turns (happy eyeballs, RFC 8305). A credential belongs to one
scheme and host: a connection is made for exactly one `Origin` and never carries another's request.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import quote, urlsplit

import msgspec
import trio

from protocol.proxies import Proxy, ProxyInvalid, proxy_for
from protocol.verdict import FaultKind
from server.http1_response import Malformed, head_end, read_head
from server.socket_stream import SocketStream
from server.upstream_port import UpstreamFault

KEEP_ALIVE_IDLE_SECONDS = 30
KEEP_ALIVE_PROBE_SECONDS = 10
KEEP_ALIVE_PROBES = 3
UNACKNOWLEDGED_SECONDS = 60
"""The kernel notices within a minute that the other machine has gone, also while a stream is silent
and no timeout of ours would be near, and that what was sent arrives nowhere, or is taken by nobody.
Left alone, it would send again for a quarter of an hour.

Linux judges lost probes by the last of these too, and not by their number: were it less than all of
them take, the loss of a single one would end a stream that is merely silent."""

OpenTcp = Callable[[str, int], Awaitable[trio.abc.Stream]]


class Origin(msgspec.Struct, frozen=True):
    """Scheme, host and port of an upstream. `authority` is the value of Host."""

    scheme: str
    host: str
    port: int
    authority: bytes


def split_url(base_url: str) -> tuple[Origin, bytes]:
    """The origin of `base_url` and its path without a slash at the end. Raises ValueError."""
    parts = urlsplit(base_url)
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    if usual is None or not parts.hostname:
        raise ValueError("the base URL of an upstream is http:// or https:// and a host")
    host = parts.hostname
    with contextlib.suppress(UnicodeError):
        host = host if host.isascii() else host.encode("idna").decode("ascii")
    port = parts.port or usual
    shown = f"[{host}]" if ":" in host else host
    authority = shown if port == usual else f"{shown}:{port}"
    path = quote(parts.path, safe="/%:@!$&'()*+,;=~").rstrip("/")
    return Origin(parts.scheme, host, port, authority.encode()), path.encode()


class Dialed(msgspec.Struct):
    """A new connection. `absolute`: it ends at a forward proxy, so requests name the whole URL and
    carry `headers` for it."""

    stream: trio.abc.Stream
    absolute: bool = False
    headers: tuple[tuple[bytes, bytes], ...] = ()


async def open_tcp(host: str, port: int) -> trio.abc.Stream:
    """A TCP connection. Raises OSError."""
    stream = SocketStream.adopt(await trio.open_tcp_stream(host, port))
    for name, value in (
        ("SO_KEEPALIVE", 1),
        ("TCP_KEEPIDLE", KEEP_ALIVE_IDLE_SECONDS),
        ("TCP_KEEPINTVL", KEEP_ALIVE_PROBE_SECONDS),
        ("TCP_KEEPCNT", KEEP_ALIVE_PROBES),
        ("TCP_USER_TIMEOUT", UNACKNOWLEDGED_SECONDS * 1000),  # Linux alone has it
    ):
        option = getattr(socket, name, None)  # macOS names one of them differently
        level = socket.SOL_SOCKET if name.startswith("SO_") else socket.IPPROTO_TCP
        if option is not None:
            with contextlib.suppress(OSError):
                stream.socket.setsockopt(level, option, value)
    return stream


def close_now(stream: trio.abc.Stream) -> None:
    """Closes the transport below `stream` without waiting for anything."""
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    stream.close()  # type: ignore[attr-defined]  # ours and those of tests have it


class Dialer:
    """Opens connections to one origin. `environment` names proxies; `open_tcp` is the network."""

    def __init__(
        self,
        origin: Origin,
        tls: ssl.SSLContext,
        environment: Mapping[str, str] = os.environ,
        open_tcp: OpenTcp = open_tcp,
    ) -> None:
        self._origin = origin
        self._tls = tls
        self._environment = environment
        self._open_tcp = open_tcp
        self._session: ssl.SSLSession | None = None

    async def dial(self, seconds: float = math.inf) -> Dialed:
        """A new connection, within `seconds`. Raises UpstreamFault."""
        origin = self._origin
        try:
            proxy = proxy_for(origin.scheme, origin.host, origin.port, self._environment)
        except ProxyInvalid as error:
            raise UpstreamFault(FaultKind.CONNECT, str(error)) from None
        try:
            with trio.fail_after(seconds):
                return await (self._direct() if proxy is None else self._through(proxy))
        except trio.TooSlowError:
            detail = f"no connection within {seconds:g} s"
            raise UpstreamFault(FaultKind.CONNECT, detail) from None

    def remember(self, stream: trio.abc.Stream) -> None:
        """Keeps the TLS session of a connection that served, for the next one to resume."""
        if isinstance(stream, trio.SSLStream):
            session = stream.session
            if session is not None and session.has_ticket:
                self._session = session

    async def _direct(self) -> Dialed:
        origin = self._origin
        stream = await self._tcp(origin.host, origin.port)
        if origin.scheme == "https":
            stream = await self._secured(stream, origin.host, self._session)
        return Dialed(stream)

    async def _through(self, proxy: Proxy) -> Dialed:
        stream = await self._tcp(proxy.host, proxy.port)
        if proxy.scheme == "https":
            stream = await self._secured(stream, proxy.host, None)
        headers: tuple[tuple[bytes, bytes], ...] = ()
        if proxy.authorization is not None:
            headers = ((b"Proxy-Authorization", proxy.authorization.reveal().encode()),)
        if self._origin.scheme == "http":
            return Dialed(stream, absolute=True, headers=headers)
        try:
            await self._open_tunnel(stream, headers)
        except BaseException:
            close_now(stream)
            raise
        return Dialed(await self._secured(stream, self._origin.host, self._session))

    async def _tcp(self, host: str, port: int) -> trio.abc.Stream:
        try:
            return await self._open_tcp(host, port)
        except OSError as error:
            kind = FaultKind.CONNECT
            if any(isinstance(cause, socket.gaierror) for cause in _causes(error)):
                kind = FaultKind.NAME
            raise UpstreamFault(kind, _detail(error)) from error

    async def _secured(
        self, stream: trio.abc.Stream, host: str, session: ssl.SSLSession | None
    ) -> trio.abc.Stream:
        secured = trio.SSLStream(stream, self._tls, server_hostname=host, https_compatible=True)
        try:
            if session is not None:
                secured.session = session
            await secured.do_handshake()
        except trio.BrokenResourceError as error:
            close_now(stream)
            kind = FaultKind.CONNECT
            if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
                kind = FaultKind.CERTIFICATE
            raise UpstreamFault(kind, f"TLS: {_detail(error)}") from error
        except BaseException:
            close_now(stream)
            raise
        return secured

    async def _open_tunnel(
        self, stream: trio.abc.Stream, headers: tuple[tuple[bytes, bytes], ...]
    ) -> None:
        origin = self._origin
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        target = f"{host}:{origin.port}".encode()
        lines = [b"CONNECT " + target + b" HTTP/1.1", b"Host: " + target]
        lines += [name + b": " + value for name, value in headers]
        received = b""
        try:
            await stream.send_all(b"\r\n".join(lines) + b"\r\n\r\n")
            while not (end := head_end(received)):
                data = await stream.receive_some()
                if not data:
                    raise UpstreamFault(FaultKind.CONNECT, "the proxy closed the connection")
                received += data
            status = read_head(received[:end], "CONNECT").status
        except trio.BrokenResourceError as error:
            raise UpstreamFault(FaultKind.CONNECT, f"the proxy: {_detail(error)}") from error
        except Malformed as error:
            raise UpstreamFault(FaultKind.CONNECT, f"the proxy: {error}") from error
        if not 200 <= status < 300 or len(received) > end:
            raise UpstreamFault(FaultKind.CONNECT, f"the proxy refused the tunnel with {status}")


def _causes(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    seen: BaseException | None = error
    while seen is not None and len(chain) < 10:
        chain.append(seen)
        if isinstance(seen, BaseExceptionGroup):
            chain.extend(seen.exceptions)
        seen = seen.__cause__ or seen.__context__
    return chain


def _detail(error: BaseException) -> str:
    """The innermost cause says most; str() of some is empty."""
    texts = [text for cause in reversed(_causes(error)) if (text := _words(cause))]
    return texts[0] if texts else type(error).__name__


def _words(error: BaseException) -> str:
    """A system's words without their number: people read them."""
    told = error.strerror if isinstance(error, OSError) else None
    return told or str(error)
