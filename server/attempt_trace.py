"""What the debug log says of each attempt: a watcher round the upstream's port.

It never holds anything up: a line that finds no room is dropped and counted, and lines of requests
go first.
"""

from __future__ import annotations

import datetime
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgspec
import trio

from actors.mailbox import AskFailed, Mailbox
from actors.messages import JournalMessage
from protocol.debug_line import (
    BODY_CHARACTERS_MAX,
    DebugLine,
    shown,
    shown_body,
    shown_headers,
)
from protocol.request import Headers
from server.upstream_port import Upstream, UpstreamFault, UpstreamRequest, UpstreamResponse

ROOM_FOR_REQUESTS = 512
"""Places in the journal's mailbox that debug lines never take."""

KEPT_BYTES = 4 * BODY_CHARACTERS_MAX


class Detail(msgspec.Struct, frozen=True):
    """What is wanted now: a line for each attempt, and the bodies in it."""

    attempts: bool = False
    bodies: bool = False


class About(msgspec.Struct, frozen=True):
    """Whose attempt it is; `number` counts from 1. `account` is "" for one at a provider."""

    request_id: str
    account: str
    number: int
    provider: str = ""


class AttemptTrace:
    """`detail` is read for each attempt, so a reload counts at once; `dropped` counts lines."""

    def __init__(
        self,
        journal: Mailbox[JournalMessage],
        detail: Callable[[], Detail],
        wall_clock: Callable[[], float],
    ) -> None:
        self._journal = journal
        self._detail = detail
        self._wall_clock = wall_clock
        self.dropped = 0
        self._told = 0

    def watch(self, upstream: Upstream, about: About) -> Upstream:
        """`upstream`, for one attempt."""
        detail = self._detail()
        if not detail.attempts:
            return upstream
        return _Watched(upstream, about, detail.bodies, self._wall_clock(), self._write)

    def _write(self, line: DebugLine) -> None:
        line = msgspec.structs.replace(line, dropped=self.dropped - self._told)
        dropped = self.dropped
        try:
            if self._journal.depth >= ROOM_FOR_REQUESTS or not self._journal.tell_nowait(line):
                self.dropped += 1
                return
        except AskFailed:
            return  # the program is stopping
        self._told = dropped


class _Watched:
    """An upstream, and what passed through it in one attempt."""

    def __init__(
        self,
        upstream: Upstream,
        about: About,
        bodies: bool,
        at: float,
        write: Callable[[DebugLine], None],
    ) -> None:
        self._upstream = upstream
        self._about = about
        self._bodies = bodies
        self._at = at
        self._write = write
        self._began = trio.current_time()
        self.status: int | None = None
        self.headers: Headers = ()
        self.head_at: float | None = None
        self.ended, self.detail = "left", ""
        self.received = 0
        self.kept = bytearray()

    @asynccontextmanager
    async def send(self, request: UpstreamRequest) -> AsyncGenerator[UpstreamResponse, None]:
        try:
            async with self._upstream.send(request) as response:
                self.status, self.headers = response.status, response.headers
                self.head_at = trio.current_time()
                yield _WatchedResponse(response, self)
        except UpstreamFault as fault:
            self.ended, self.detail = fault.kind.value, fault.detail
            raise
        finally:
            self._write(self._line(request))

    def saw(self, chunk: bytes) -> None:
        """A piece of the answer's body."""
        self.received += len(chunk)
        if self._bodies and len(self.kept) < KEPT_BYTES:
            self.kept += chunk[: KEPT_BYTES - len(self.kept)]

    def _line(self, request: UpstreamRequest) -> DebugLine:
        about, now = self._about, trio.current_time()
        at = datetime.datetime.fromtimestamp(self._at, datetime.UTC)
        sent = request.body[:KEPT_BYTES]
        return DebugLine(
            at=at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            request_id=about.request_id,
            attempt=about.number,
            account=about.account,
            provider=about.provider,
            method=request.method,
            url=shown(request.target),
            request_headers=shown_headers(tuple(request.headers)),
            bytes_sent=len(request.body),
            status=self.status,
            response_headers=shown_headers(self.headers),
            bytes_received=self.received,
            ms_head=None if self.head_at is None else _milliseconds(self.head_at - self._began),
            ms_total=_milliseconds(now - self._began),
            ended=self.ended,
            detail=shown(self.detail.encode("latin-1", "replace")),
            request_body=shown_body(sent, whole=len(sent) == len(request.body))
            if self._bodies
            else None,
            response_body=shown_body(bytes(self.kept), whole=len(self.kept) == self.received)
            if self._bodies
            else None,
        )


class _WatchedResponse:
    def __init__(self, response: UpstreamResponse, watched: _Watched) -> None:
        self._response = response
        self._watched = watched
        self.status = response.status
        self.headers = response.headers

    def chunks(self) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self._chunks()

    @asynccontextmanager
    async def _chunks(self) -> AsyncGenerator[AsyncIterator[bytes], None]:
        async with self._response.chunks() as chunks:
            yield _WatchedChunks(chunks, self._watched)


class _WatchedChunks:
    """An iterator by hand: a generator that is left in the middle waits for the collector."""

    def __init__(self, chunks: AsyncIterator[bytes], watched: _Watched) -> None:
        self._chunks = chunks
        self._watched = watched

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            self._watched.ended = "complete"
            raise
        self._watched.saw(chunk)
        return chunk


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
