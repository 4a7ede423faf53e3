"""One connection of the scripted upstream: reads requests with h11, writes answers by hand.

h11 would be able to write too, but only correct HTTP: it refuses a body that is shorter than its
content-length, frames a body of unknown length the way it thinks best, and an upstream that
misbehaves is half of what this one is for. So each request gets a fresh h11 parser, fed with what
was left over by the one before, and the answer's bytes are made here.

While an answer is played a second task reads, because only a read tells that the peer has left. A
peer that closes just its sending side counts as gone, as it does for the proxy in front.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11
import trio

from server.scripted.answers import Answer, Cut, Pause, Reset, Send, Stall, Step, Wait
from server.scripted.errors import error
from server.scripted.framing import (
    BODILESS,
    BodyFraming,
    framed,
    framing_of,
    head_of,
    keeps_alive,
    reset_on_close,
)
from server.scripted.requests import Outcome, SeenRequest

if TYPE_CHECKING:
    from server.scripted.upstream import ScriptedUpstream

HEAD_BYTES_MAX = 64 * 1024
"""Larger request heads are refused: several times what any client sends."""
READ_BYTES = 64 * 1024
READ_AHEAD_BYTES_MAX = 256 * 1024
"""Of pipelined requests, while one is being answered."""
GOODBYE_SECONDS_MAX = 1.0
"""For a TLS goodbye to a peer that may have stopped reading."""


class Connection:
    """Serves one stream, request after request."""

    def __init__(self, stream: trio.abc.Stream, number: int, upstream: ScriptedUpstream) -> None:
        self._stream = stream
        self._number = number
        self._upstream = upstream

    async def serve(self) -> None:
        """Until the peer leaves, a script ends the connection, or HTTP says it is over."""
        leftover = b""
        nth = 0
        try:
            while True:
                # No deadline for the next request: an idle connection belongs to its client, and a
                # timer here would fire at once under a clock that jumps.
                parser = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
                if leftover:
                    parser.receive_data(leftover)
                head = await self._next_event(parser)
                if not isinstance(head, h11.Request):
                    return
                if not await self._serve_request(head, parser, nth):
                    return
                leftover = parser.trailing_data[0]
                nth += 1
        except h11.RemoteProtocolError as problem:
            await self._refuse(problem)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the peer went; whoever was being answered has been told

    async def _serve_request(self, head: h11.Request, parser: h11.Connection, nth: int) -> bool:
        """Read the body, answer; whether the connection can be used again."""
        seen = SeenRequest(
            number=-1,
            connection=self._number,
            nth_on_connection=nth,
            method=head.method,
            target=head.target,
            headers=list(head.headers.raw_items()),
            http_version=head.http_version,
            started_at=trio.current_time(),
        )
        self._upstream.begin(seen)
        outcome: Outcome = "cancelled"
        try:
            try:
                await self._read_body(parser, seen)
            except (h11.RemoteProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
                outcome = "left"
                raise
            finally:
                self._upstream.arrived(seen)
            answer = self._upstream.choose(seen)
            try:
                outcome = await self._answer(answer, seen, parser)
            except Exception:
                outcome = "failed"
                raise
        finally:
            self._upstream.end(seen, outcome)
        return await self._after(outcome, keeps_alive(answer, seen, parser))

    async def _read_body(self, parser: h11.Connection, seen: SeenRequest) -> None:
        if parser.they_are_waiting_for_100_continue:
            await self._stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = bytearray()
        try:
            while isinstance(event := await self._next_event(parser), h11.Data):
                body += event.data
        finally:
            seen.body = bytes(body)

    async def _next_event(self, parser: h11.Connection) -> h11.Event:
        while True:
            event = parser.next_event()
            if isinstance(event, h11.Event):
                return event
            # It wants data. (Or is paused: only after the end of a message, where nobody asks.)
            parser.receive_data(bytes(await self._stream.receive_some(READ_BYTES)))

    # -- answering -------------------------------------------------------------------------------

    async def _answer(self, answer: Answer, seen: SeenRequest, parser: h11.Connection) -> Outcome:
        outcome: Outcome = "left"  # what it stays when the peer's leaving cancels the play
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_peer, parser, nursery.cancel_scope)
            try:
                outcome = await self._play(answer, seen)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                outcome = "left"
            nursery.cancel_scope.cancel()
        return outcome

    async def _watch_peer(self, parser: h11.Connection, answering: trio.CancelScope) -> None:
        """Keep what the peer sends early for the next request; end the answer when it leaves."""
        try:
            while len(parser.trailing_data[0]) < READ_AHEAD_BYTES_MAX:
                data = await self._stream.receive_some(READ_BYTES)
                if not data:
                    answering.cancel()
                    return
                parser.receive_data(bytes(data))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            answering.cancel()

    async def _play(self, answer: Answer, seen: SeenRequest) -> Outcome:
        if answer.delay:
            await trio.sleep(answer.delay)
        match answer.instead_of_head:
            case "close":
                return "cut"
            case "reset":
                return "reset"
            case "stall":
                await trio.sleep_forever()
            case None:
                pass
        framing = framing_of(answer, seen)
        head = head_of(answer, framing)
        if seen.method == b"HEAD" or answer.status in BODILESS:
            await self._stream.send_all(head)
            return "complete"
        if answer.parts is None and answer.piece_bytes is None and framing != "chunked":
            await self._stream.send_all(head + answer.body)
            return "complete"
        await self._stream.send_all(head)
        for step in answer.steps():
            ending = await self._step(step, framing, answer.piece_bytes)
            if ending is not None:
                return ending
        if framing == "chunked":
            await self._stream.send_all(b"0\r\n\r\n")
        return "complete"

    async def _step(
        self, step: Step, framing: BodyFraming, piece_bytes: int | None
    ) -> Outcome | None:
        match step:
            case Send(data):
                size = piece_bytes or max(1, len(data))
                for at in range(0, len(data), size):
                    await self._stream.send_all(framed(data[at : at + size], framing))
            case Pause(seconds):
                await trio.sleep(seconds)
            case Wait(gate):
                await self._upstream.gate_of(gate).wait()
            case Stall():
                await trio.sleep_forever()
            case Cut():
                return "cut"
            case Reset():
                return "reset"
        return None

    # -- ending ----------------------------------------------------------------------------------

    async def _after(self, outcome: Outcome, reusable: bool) -> bool:
        """Do to the connection what the outcome asks for; whether it can be used again."""
        if outcome == "reset":
            reset_on_close(self._stream)
        if outcome == "complete" and reusable:
            return True
        if outcome == "complete":
            with trio.move_on_after(GOODBYE_SECONDS_MAX):
                await self._stream.aclose()
        return False

    async def _refuse(self, problem: h11.RemoteProtocolError) -> None:
        """Tell a client that does not speak HTTP so, as far as it still listens."""
        answer = error(problem.error_status_hint, "invalid_request_error", "malformed request")
        try:
            with trio.move_on_after(GOODBYE_SECONDS_MAX):
                await self._stream.send_all(head_of(answer, "close") + answer.body)
                await self._stream.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
