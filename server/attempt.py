"""One attempt at one upstream: send, judge, and either deliver to the client or say why not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import msgspec
import trio

from protocol.asked import Asked
from protocol.early_events import HOLD_SECONDS, EarlyEvents
from protocol.peek import ErrorInfo, error_info
from protocol.request import Headers
from protocol.verdict import (
    Action,
    FaultKind,
    Verdict,
    judge,
    judge_early_error,
    judge_fault,
)
from server.delivery import Delivery
from server.upstream_port import Upstream, UpstreamFault, UpstreamRequest, UpstreamResponse

ERROR_BODY_BYTES_MAX = 8 * 1024 * 1024
ERROR_BODY_SECONDS = 30.0
"""An error body is read whole before it is judged; one that does not end is a broken upstream."""


class Failed(msgspec.Struct, frozen=True):
    """Nothing reached the client. `status` None: there was no answer at all, or not to its end
    (then `headers` are there all the same, for what they say about quota).

    `body` holds the upstream's answer unmodified; after an early error event it is the stream so
    far, which then is the answer to forward.
    """

    verdict: Verdict
    detail: str
    status: int | None = None
    headers: Headers = ()
    body: bytes = b""
    error: ErrorInfo = ErrorInfo()


class Served(msgspec.Struct, frozen=True):
    """The client has it. `terminal` as in the request line; only "complete" ended well."""

    terminal: str


async def attempt(
    upstream: Upstream,
    request: UpstreamRequest,
    open_delivery: Callable[[UpstreamResponse], Delivery],
    *,
    asked: Asked,
    stream: bool,
) -> Failed | Served:
    """Sends `request` and delivers a good answer; `stream`: the client asked for events."""
    headers: Headers = ()
    try:
        async with upstream.send(request) as response:
            headers = response.headers
            if response.status >= 400:
                return await _read_error(response, asked)
            events = stream or _is_event_stream(response.headers)
            return await _deliver(response, open_delivery(response), asked, events=events)
    except UpstreamFault as fault:
        return Failed(judge_fault(fault.kind), fault.detail, headers=headers)


async def _read_error(response: UpstreamResponse, asked: Asked) -> Failed:
    pieces: list[bytes] = []
    size = 0
    with trio.move_on_after(ERROR_BODY_SECONDS) as limit:
        async with response.chunks() as chunks:
            async for chunk in chunks:
                pieces.append(chunk)
                size += len(chunk)
                if size > ERROR_BODY_BYTES_MAX:
                    raise UpstreamFault(FaultKind.PROTOCOL, "an error body without end")
    if limit.cancelled_caught:
        raise UpstreamFault(FaultKind.TIMEOUT, "an error body without end")
    body = b"".join(pieces)
    error = error_info(body)
    return Failed(
        judge(response.status, response.headers, error, asked),
        f"{response.status} {error.type} {error.message}".strip(),
        response.status,
        response.headers,
        body,
        error,
    )


def _is_event_stream(headers: Headers) -> bool:
    for name, value in headers:
        if (
            len(name) == 12
            and name.lower() == b"content-type"
            and value.lower().startswith(b"text/event-stream")
        ):
            return True
    return False


async def _deliver(
    response: UpstreamResponse, delivery: Delivery, asked: Asked, *, events: bool
) -> Failed | Served:
    """Passes the body on; returns (never raises) an upstream's break."""
    try:
        async with response.chunks() as chunks:
            if events and (failed := await _begin(chunks, response, delivery, asked)) is not None:
                return failed
            async for chunk in chunks:
                await delivery.add(chunk)
                if not delivery.started:
                    await delivery.commit()
    except UpstreamFault as fault:
        if not delivery.started:
            return Failed(judge_fault(fault.kind), fault.detail, headers=response.headers)
        return Served("stall" if fault.kind is FaultKind.TIMEOUT else "upstream_closed")
    await delivery.finish()
    return Served("complete")


async def _begin(
    chunks: AsyncIterator[bytes], response: UpstreamResponse, delivery: Delivery, asked: Asked
) -> Failed | None:
    """Holds a stream back until its first events say that it is good, but not for long."""
    early, due = EarlyEvents(), trio.current_time() + HOLD_SECONDS
    while not delivery.started:
        with trio.CancelScope(deadline=due) as patience:
            chunk = await anext(chunks, None)
        if patience.cancelled_caught:
            await delivery.commit(at_once=True)
            break
        if chunk is None:
            break
        await delivery.add(chunk)
        failed = _look(chunk, response, delivery, asked, early)
        if failed is not None:
            return failed
        if early.settled:
            await delivery.commit()
    return None


def _look(
    chunk: bytes,
    response: UpstreamResponse,
    delivery: Delivery,
    asked: Asked,
    early: EarlyEvents,
) -> Failed | None:
    """An error event before any content is a failure, unless it is about the request itself."""
    early.feed(chunk)
    if early.error is None:
        return None
    verdict = judge_early_error(early.error, response.headers, asked)
    if verdict.action is Action.DELIVER:
        return None
    return Failed(
        verdict,
        f"{early.error.type} {early.error.message}".strip(),
        response.status,
        response.headers,
        delivery.abandon(),
        early.error,
    )
