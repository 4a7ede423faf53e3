"""httpx over our own connections, for what is not hot: token endpoints, probes, lists of models.

httpx's own pool dies when requests are cancelled while it is contended; here it is never asked.
The only module that imports httpx.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import trio

from protocol.verdict import FaultKind
from server.upstream_port import Upstream, UpstreamFault, UpstreamRequest, UpstreamResponse

_MADE_BY_THE_CONNECTION = frozenset({b"host", b"content-length", b"transfer-encoding"})


class PooledTransport(httpx.AsyncBaseTransport):
    """`upstream` gives the upstream of a base URL that is a scheme and an authority.

    A request's `read` timeout bounds the wait for the head of its answer; the other bounds are the
    upstream's own.
    """

    def __init__(self, upstream: Callable[[str], Upstream]) -> None:
        self._upstream = upstream

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        headers = [
            (name, value)
            for name, value in request.headers.raw
            if name.lower() not in _MADE_BY_THE_CONNECTION
        ]
        base_url = f"{request.url.scheme}://{request.url.netloc.decode('ascii')}"
        asked = UpstreamRequest(request.method, request.url.raw_path, headers, body)
        sending = self._upstream(base_url).send(asked)
        timeout = request.extensions.get("timeout", {}).get("read")
        try:
            with trio.fail_after(float("inf") if timeout is None else timeout):
                response = await sending.__aenter__()
        except trio.TooSlowError as error:
            raise httpx.ReadTimeout("no answer in time", request=request) from error
        except UpstreamFault as fault:
            raise _translated(fault, request) from fault

        async def leave() -> None:
            await sending.__aexit__(None, None, None)

        stream = _Body(response, leave, request)
        return httpx.Response(response.status, headers=list(response.headers), stream=stream)


class _Body(httpx.AsyncByteStream):
    def __init__(
        self,
        response: UpstreamResponse,
        leave: Callable[[], Awaitable[None]],
        request: httpx.Request,
    ) -> None:
        self._response = response
        self._leave = leave
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async with self._response.chunks() as chunks:
                async for chunk in chunks:
                    yield chunk  # noqa: ASYNC119 - httpx closes the response in any case
        except UpstreamFault as fault:
            raise _translated(fault, self._request) from fault

    async def aclose(self) -> None:
        await self._leave()


def _translated(fault: UpstreamFault, request: httpx.Request) -> httpx.TransportError:
    kinds: dict[FaultKind, type[httpx.TransportError]] = {
        FaultKind.CONNECT: httpx.ConnectError,
        FaultKind.NAME: httpx.ConnectError,
        FaultKind.CERTIFICATE: httpx.ConnectError,
        FaultKind.NO_CONNECTION: httpx.PoolTimeout,
        FaultKind.TIMEOUT: httpx.ReadTimeout,
        FaultKind.DISCONNECT: httpx.ReadError,
    }
    kind = kinds.get(fault.kind, httpx.RemoteProtocolError)
    return kind(str(fault), request=request)
