"""What the relay needs of an upstream, whatever library is behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from protocol.request import Headers
from protocol.verdict import FaultKind


class UpstreamFault(Exception):
    """An attempt failed below HTTP. `detail` is for logs; it carries no credential."""

    def __init__(self, kind: FaultKind, detail: str) -> None:
        super().__init__(f"{kind.value}: {detail}")
        self.kind = kind
        self.detail = detail


class UpstreamRequest(msgspec.Struct, frozen=True):
    """What goes out; `headers` lack only Host and Content-Length.

    `openings`: what connections have made of method, target and headers, which only requests share
    that have the same ones. None: nothing is kept.

    `once`: to be read twice would do harm. It goes out on a connection of its own, for one that was
    kept may die unheard, and nobody could tell whether the request was read.
    """

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    openings: dict[tuple[bytes, bytes], bytes] | None = None
    once: bool = False


class UpstreamResponse(Protocol):
    """An answer whose head has come."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Headers: ...

    def chunks(self) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The body as upstream framed it, undecoded. Raises UpstreamFault on a break or stall.

        A wait for the next piece may be cancelled, and loses nothing: the next one goes on there.
        """
        ...


class Upstream(Protocol):
    """Sends requests to one base URL."""

    def send(self, request: UpstreamRequest) -> AbstractAsyncContextManager[UpstreamResponse]:
        """The answer to `request`; leaving the context closes it, whatever is left of it."""
        ...


class Limits(msgspec.Struct, frozen=True):
    """Seconds, and the connections one upstream may have; `interface.md` [upstream]."""

    connect_timeout: float = 10.0
    response_timeout: float = 600.0
    idle_timeout: float = 180.0
    max_connections: int = 1024
