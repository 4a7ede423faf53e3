"""What a lane offers the relay: one request and the means to answer it.

Two lanes may serve a connection; a client cannot tell which one did, because both end here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from protocol.errors import Answer, Problem, answer
from protocol.request import RequestHead, of_openai

_UNFORESEEN = Problem(500, "the proxy failed over this request; its log says how")


class ClientGone(Exception):
    """The client left (or closed its sending side) before its request was complete."""


class Exchange(Protocol):
    """One request of a client. Used by one task at a time, except for `gone`."""

    @property
    def head(self) -> RequestHead:
        """Method, target and headers."""
        ...

    def body(self) -> AsyncGenerator[bytes, None]:
        """The chunks of the request body; raises ClientGone when the client leaves in it."""
        ...

    async def gone(self) -> None:
        """Returns when the client has left; to be awaited once the body was read to its end."""
        ...

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Begins the response; its head goes out with the first piece at the latest."""
        ...

    async def send(self, chunk: bytes) -> None:
        """Sends a piece of the response body; b"" makes sure that the head is on its way.

        Back-pressure: returns when the client's side took it.
        """
        ...

    async def finish(self) -> None:
        """Ends the response as complete.

        An exchange that is left without it ends visibly broken: the body unterminated and the
        connection closed.
        """
        ...


def withheld(exchange: Exchange) -> bool:
    """Whether `exchange` held an answer back until it would be whole, which it never was: the client
    has seen nothing, and is to be told so."""
    # Not a protocol to be checked at run time: that costs more than reading a request's head.
    return bool(getattr(exchange, "withheld", False))


async def send_answer(exchange: Exchange, made: Answer, added: list[tuple[bytes, bytes]]) -> None:
    """Sends a whole answer of ours, with the headers `added`."""
    await exchange.start(made.status, [*made.headers, *added])
    if made.body and exchange.head.method != "HEAD":
        await exchange.send(made.body)
    await exchange.finish()


async def send_unforeseen(exchange: Exchange) -> None:
    """The answer to a request over which we failed in a way nobody foresaw."""
    head = exchange.head
    made = answer(_UNFORESEEN, "", openai=of_openai(head, head.route))
    await send_answer(exchange, made, [(b"connection", b"close")])
