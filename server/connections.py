"""The live connections of the front door: counted, capped, and ended when it is time.

They belong to a nursery of the tree, not to the acceptor, so the acceptor may crash and come back
without cutting one of them. Whatever goes wrong in a connection ends that connection alone.
"""

from __future__ import annotations

import logging
import secrets
import ssl
from collections.abc import Callable
from typing import Protocol

import trio

from actors.overdue import overdue
from protocol.errors import Problem, answer
from server.client_stream import CLOSE_SECONDS, ClientStream
from server.socket_stream import SocketStream
from server.turnstile import turnstile

log = logging.getLogger("server.connection")

WRITE_SECONDS = 60.0
"""A client that takes not one piece for so long has gone (`reliability.md` C1)."""
HANDSHAKE_SECONDS = 10.0
FULL_RETRY_SECONDS = 1
REFUSAL_SECONDS = 2.0
"""For a client past the cap to read its 503; closing at once could reset it unread."""
REFUSALS_MAX = 64
"""Clients past the cap that are given that time at once; more than these are just closed."""


class Served(Protocol):
    """A connection under way in some lane."""

    @property
    def idle_since(self) -> float | None:
        """Since when nothing is lost if it ends (trio time); None: it is busy."""
        ...

    def expire(self) -> None:
        """Ends it now if it is idle, else after the request that is under way."""
        ...

    async def run(self) -> None:
        """Serves it to its end."""
        ...


class Connections:
    """`open_lane` makes the connection that serves a stream; `capacity` bounds how many live;
    `tls` gives what each new one shakes hands with.

    Its length counts every connection that is not closed yet.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        open_lane: Callable[[ClientStream], Served],
        capacity: Callable[[], int],
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        overdue()  # their tasks are there from the start, not from the first connection on
        turnstile()
        self._nursery = nursery
        self._open_lane = open_lane
        self._capacity = capacity
        self._tls = tls
        self._open: dict[ClientStream, None] = {}  # in order, so that a run can be repeated
        self._live: dict[ClientStream, Served] = {}
        self._ending: set[ClientStream] = set()  # made to make room; capacity does not count them
        self._refused: set[ClientStream] = set()  # nor these
        self._draining = False
        self._ended = trio.Event()

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, stream: trio.abc.Stream) -> None:
        """Takes over a new connection; returns at once."""
        if isinstance(stream, trio.SocketStream):
            stream = SocketStream.adopt(stream)
        if self._tls is not None:
            stream = trio.SSLStream(stream, self._tls(), server_side=True, https_compatible=True)
        client = ClientStream(stream, WRITE_SECONDS)
        self._open[client] = None
        self._nursery.start_soon(self._contain, client)

    async def drain(self, seconds: float) -> None:
        """Ends idle connections now, busy ones when they are done, the rest after `seconds`."""
        self._draining = True
        for served in list(self._live.values()):
            served.expire()
        with trio.move_on_after(seconds):
            while self._open:
                await self._ended.wait()
        for stream in list(self._open):
            await stream.cut()

    async def _contain(self, stream: ClientStream) -> None:
        try:
            if await self._handshake(stream):
                await self._serve(stream)
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client's network, not a fault of ours
        except* Exception as group:
            log.error("a connection failed", exc_info=group)
        finally:
            self._live.pop(stream, None)
            self._open.pop(stream, None)
            for streams in (self._ending, self._refused):
                streams.discard(stream)
            self._ended.set()
            self._ended = trio.Event()
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_SECONDS):
                await stream.cut()

    async def _handshake(self, stream: ClientStream) -> bool:
        with trio.move_on_after(HANDSHAKE_SECONDS):
            return await stream.handshake()
        return False

    async def _serve(self, stream: ClientStream) -> None:
        counted = len(self._open) - len(self._ending) - len(self._refused)
        reason = None
        if self._draining:
            reason = "the proxy is stopping; try again in a moment"
        elif counted > self._capacity() and not self._make_room():
            reason = "the proxy has as many connections as server.max_connections allows"
        if reason is not None:
            self._refused.add(stream)
            await _refuse(stream, reason, patiently=len(self._refused) <= REFUSALS_MAX)
            return
        served = self._live[stream] = self._open_lane(stream)
        await served.run()

    def _make_room(self) -> bool:
        """Ends the connection that has been idle for longest, if there is one."""
        idle = [
            (since, stream, served)
            for stream, served in self._live.items()
            if (since := served.idle_since) is not None and stream not in self._ending
        ]
        if not idle:
            return False
        _, stream, served = min(idle, key=lambda candidate: candidate[0])
        self._ending.add(stream)
        served.expire()
        return True


async def _refuse(stream: ClientStream, reason: str, *, patiently: bool) -> None:
    """Answers 503 without looking at the request: whoever comes past the cap costs little."""
    problem = Problem(503, reason, type="overloaded_error", retry_after=FULL_RETRY_SECONDS)
    made = answer(problem, secrets.token_hex(16))
    head = [b"HTTP/1.1 503 Service Unavailable", b"connection: close"]
    head += [name + b": " + value for name, value in made.headers]
    with trio.move_on_after(REFUSAL_SECONDS):
        await stream.send_all(b"\r\n".join(head) + b"\r\n\r\n" + made.body)
        await stream.send_eof()
        while patiently and await stream.receive_some():
            pass
    await stream.aclose()
