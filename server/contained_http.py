"""hypercorn's HTTP/1.1 protocol, contained.

What plain hypercorn 0.18 does, each reproduced and each a permanent test in
`tests/server/test_containment.py`:

- a websocket or h2c upgrade, or HTTP/2 with prior knowledge, leads into code that an odd byte
  crashes. Here every request is an ordinary HTTP/1.1 request, and HTTP/2 is answered 505;
- a byte after the request (pipelining, a stray CRLF) parks the reader until the response is
  over, so nobody notices that the client left. Here the reader goes on reading, and bounds what
  it reads ahead;
- a stray CRLF between two requests is answered 400. Here it is skipped (RFC 9112 section 2.2);
- a request that ends by cancelling itself (as Quart's do) is cancelled in the middle of the
  connection's own tidying up, which then never closes or recycles. Here that part is shielded;
- headers are bounded by size only while they are incomplete, and never by count;
- `100 Continue` is sent for every request that asks. Here it is sent when somebody wants the
  body, so a request that is refused by its head is told so instead.

`H11Protocol` is not a public interface: the version is pinned, and
`tests/server/test_hypercorn_contract.py` fails when the parts used here move.
"""

from __future__ import annotations

import dataclasses
import secrets
from typing import Any

import h11
import trio
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body, EndBody, Request, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream

from protocol.errors import Problem, answer
from protocol.gate import check_size
from protocol.request import RequestHead, Route, of_openai

READ_AHEAD_BYTES_MAX = 64 * 1024
"""Bytes of pipelined requests kept while one is being answered; past it the reader waits."""

TIDY_SECONDS = 5.0
"""For recycling or closing a connection; each step of it is a short write at most."""

_LINE_ENDS = b"\r\n"


class ContainedHTTP(H11Protocol):
    """The protocol of one client connection.

    `connection` is a new parser for each request: h11 has no other way to skip what stands
    between two of them.
    """

    connection: h11.Connection
    stream: HTTPStream | None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.resumed = trio.Event()
        """Set when what was read ahead is being read, and when the connection is over."""
        self.last = False
        """Whether the connection ends with the request that is under way."""
        self._parsing = trio.Lock()
        self._paused = False
        self._gone = False
        self._to_head = False
        self._openai = False
        """Whether who asks speaks OpenAI's dialect; nobody knows before the head is complete."""
        self._cut_off = False
        """The head of an answer may have gone out in part; hypercorn takes it for never begun."""

    @property
    def between_requests(self) -> bool:
        """No request is being read or answered, and not a byte of the next one is here."""
        return self.connection.their_state is h11.IDLE and not self.connection.trailing_data[0]

    @property
    def in_head(self) -> bool:
        """Some bytes of a request head came, and not all."""
        return self.connection.their_state is h11.IDLE and bool(self.connection.trailing_data[0])

    @property
    def in_body(self) -> bool:
        """The client still owes a part of its request body."""
        return self.connection.their_state is h11.SEND_BODY

    @property
    def too_far_ahead(self) -> bool:
        """Enough of the next requests was read while one is being answered."""
        ahead = self._paused and not self._gone
        return ahead and len(self.connection.trailing_data[0]) > READ_AHEAD_BYTES_MAX

    @property
    def owes_nothing(self) -> bool:
        """All that the client sent was a whole request, or none: closing resets nothing."""
        ended = self.connection.their_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED)
        return self.between_requests or (ended and not self.connection.trailing_data[0])

    async def handle(self, event: Event) -> None:
        """Bytes from the client, or its leaving."""
        if isinstance(event, RawData):
            async with self._parsing:
                data = event.data.lstrip(_LINE_ENDS) if self.between_requests else event.data
                if data:
                    self.connection.receive_data(data)
                if not self._paused:
                    await self._handle_events()
        elif isinstance(event, Closed):
            self._gone = True
            self.resumed.set()
            await self._close_stream()

    async def stream_send(self, event: StreamEvent) -> None:
        """What the application sends; its end is tidied up even if the sender is cancelled."""
        if isinstance(event, Response) and self.connection.our_state is h11.SEND_BODY:
            self._cut_off = True
        if self._cut_off and not isinstance(event, StreamClosed):
            return  # a second answer, or an end that would make the first one look whole
        if isinstance(event, Response) and event.status_code >= 200 and self._ends_connection():
            kept = [pair for pair in event.headers if pair[0].lower() != b"connection"]
            headers = [*kept, (b"connection", b"close")]
            await super().stream_send(dataclasses.replace(event, headers=headers))
        elif isinstance(event, StreamClosed):
            with trio.CancelScope(shield=True, deadline=trio.current_time() + TIDY_SECONDS):
                await super().stream_send(event)
        else:
            await super().stream_send(event)

    async def ask_for_body(self) -> None:
        """The application waits for the body; a client that waits for `100 Continue` gets it."""
        if self.connection.they_are_waiting_for_100_continue and not self._gone:
            await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))

    async def refuse(self, problem: Problem) -> None:
        """Answers a request that never reached the application, and closes."""
        if self.connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            request_id = secrets.token_hex(16)
            made = answer(problem, request_id, openai=self._openai)
            added = [(b"x-supervisor-request-id", request_id.encode()), (b"connection", b"close")]
            send = self.connection.send
            data = send(h11.Response(status_code=made.status, headers=[*made.headers, *added]))
            data += b"" if self._to_head else send(h11.Data(data=made.body))
            await self.send(RawData(data + send(h11.EndOfMessage())))
        await self.send(Closed())

    def _ends_connection(self) -> bool:
        # A client that is answered before it sent its whole body cannot be followed further.
        return self.last or self.in_body or self.context.terminated.is_set()

    async def _maybe_recycle(self) -> None:
        await self._close_stream()
        done = self.connection.our_state is h11.DONE and self.connection.their_state is h11.DONE
        if not done or self.last or self.context.terminated.is_set():
            self.resumed.set()
            await self.send(Closed())
            return
        self._to_head = self._openai = False
        rest = self.connection.trailing_data[0].lstrip(_LINE_ENDS)
        self.connection = h11.Connection(
            h11.SERVER, max_incomplete_event_size=self.config.h11_max_incomplete_size
        )
        if rest:
            self.connection.receive_data(rest)
        await self.send(Updated(idle=True))
        if self._paused and not self._gone:
            self.task_group.spawn(self._resume)

    async def _resume(self) -> None:
        async with self._parsing:
            self._paused = False
            self.resumed.set()
            self.resumed = trio.Event()
            await self._handle_events()

    async def _handle_events(self) -> None:
        while not self._gone:
            if self.connection.their_state is h11.MUST_CLOSE:
                return  # what follows the last request is nobody's
            try:
                event = self.connection.next_event()
            except h11.RemoteProtocolError as error:
                await self.refuse(self._malformed(error))
                return
            if isinstance(event, h11.Request):
                await self.send(Updated(idle=False))
                self._to_head = event.method == b"HEAD"
                self._openai = _is_openais(event)
                problem = check_size(event.target, tuple(event.headers)) or _unfit(event)
                if problem is not None:
                    await self.refuse(problem)
                    return
                await self._create_stream(event)
            elif event is h11.PAUSED:
                self._paused = True
                return
            elif event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
                return
            elif self.stream is not None and isinstance(event, h11.Data):
                await self.stream.handle(Body(stream_id=STREAM_ID, data=event.data))
            elif self.stream is not None and isinstance(event, h11.EndOfMessage):
                await self.stream.handle(EndBody(stream_id=STREAM_ID))

    def _malformed(self, error: h11.RemoteProtocolError) -> Problem:
        """What is wrong with it. Past 64 KiB without an end, a first line is 414, a head 431."""
        if self.stream is not None:
            return Problem(400, "the request body is not validly framed")
        if error.error_status_hint == 431 and b"\n" not in self.connection.trailing_data[0]:
            return Problem(414, "the URL is far too long")
        if error.error_status_hint == 431:
            return Problem(431, "the request head is too large")
        if error.error_status_hint == 501:
            return Problem(501, "only the chunked transfer-encoding is understood")
        return Problem(400, "this is not a valid HTTP/1.1 request")

    async def _create_stream(self, request: h11.Request) -> None:
        self.stream = HTTPStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=request.headers.raw_items(),
                http_version=request.http_version.decode("ascii"),
                method=request.method.decode("ascii"),
                raw_path=request.target,
                state=self.connection_state,
            )
        )


def _is_openais(request: h11.Request) -> bool:
    head = RequestHead("", request.target, tuple(request.headers))
    return of_openai(head, Route.OTHER)


def _unfit(request: h11.Request) -> Problem | None:
    if request.http_version not in (b"1.1", b"1.0"):
        return Problem(505, "speak HTTP/1.1 to this port")
    names = [name for name, _ in request.headers]
    if b"transfer-encoding" in names and b"content-length" in names:
        return Problem(400, "a request has either content-length or transfer-encoding")
    return None
