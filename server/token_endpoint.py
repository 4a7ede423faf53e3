"""The way to a token endpoint: JSON there and JSON back, over the same port as any upstream."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import trio

from actors.overdue import overdue
from protocol.oauth import EndpointUnreachable
from server.upstream_port import Upstream, UpstreamFault, UpstreamRequest

ANSWER_BYTES_MAX = 256 * 1024

LATE_SECONDS = 1.0
"""A deadline that is noticed so late was missed because the process did not run."""

AWAKE_SECONDS = 2.0
"""Then an answer may have come meanwhile; it is here, and takes no longer to read."""


class _Patience:
    """The time for one exchange (`actors.overdue.Waiting`). A process that was stopped for longer
    first reads what has come: a refresh token that was answered is used up."""

    def __init__(self, seconds: float) -> None:
        self.due = trio.current_time() + seconds
        self.scope = trio.CancelScope()
        self._was_late = False

    def expire(self) -> None:
        """Ends the exchange, or puts that off once."""
        now = trio.current_time()
        if self._was_late or now < self.due + LATE_SECONDS:
            self.scope.cancel()
            return
        self._was_late, self.due = True, now + AWAKE_SECONDS
        overdue().add(self)


class TokenEndpoint:
    """`upstream` gives the way to an origin; `timeout` is for the whole exchange, in seconds.

    It says what it is in its user agent. Redirects are not followed: a token goes where the
    configuration says and nowhere else.
    """

    def __init__(
        self,
        upstream: Callable[[str], Upstream],
        timeout: Callable[[], float],
        version: str,
    ) -> None:
        self._upstream = upstream
        self._timeout = timeout
        self._agent = f"llm-supervisor/{version}".encode("ascii", "replace")

    async def post(self, url: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer. Raises EndpointUnreachable."""
        parts = urlsplit(url)
        request = UpstreamRequest(
            "POST",
            (parts.path or "/").encode("ascii", "replace"),
            [
                (b"Content-Type", b"application/json"),
                (b"Accept", b"application/json"),
                (b"Accept-Encoding", b"identity"),
                (b"User-Agent", self._agent),
            ],
            body,
            once=True,  # a refresh token, and a code of a login, is good for one use
        )
        seconds = self._timeout()
        patience = _Patience(seconds)
        overdue().add(patience)
        try:
            with patience.scope:
                return await self._exchange(f"{parts.scheme}://{parts.netloc}", request)
        except UpstreamFault as fault:
            raise EndpointUnreachable(f"{fault.kind.value}: {fault.detail}") from fault
        finally:
            overdue().discard(patience)
        raise EndpointUnreachable(f"no answer within {seconds:g} s")

    async def _exchange(self, origin: str, request: UpstreamRequest) -> tuple[int, bytes]:
        body = bytearray()
        async with self._upstream(origin).send(request) as response:
            async with response.chunks() as chunks:
                async for chunk in chunks:
                    body += chunk
                    if len(body) > ANSWER_BYTES_MAX:
                        raise EndpointUnreachable("an answer without end")
            return response.status, bytes(body)
