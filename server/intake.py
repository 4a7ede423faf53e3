"""Taking in a request body: bounded one by one, bounded together, and never dribbled for ever."""

from __future__ import annotations

import contextlib
import io
from collections.abc import AsyncGenerator, Callable

import trio

from protocol.errors import Problem
from server.budget import BodyBudget
from server.exchange import Exchange

BODY_IDLE_SECONDS = 60.0
"""Between two pieces of a body; a client that is slower has gone (`reliability.md` C3)."""

BUSY_RETRY_SECONDS = 1


class Refused(Exception):
    """The request is answered by us, and nothing goes upstream."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Body:
    """A whole body in memory, accounted for until `release`."""

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self._reserved = 0
        self.content = b""

    async def read(self, exchange: Exchange, limit: int) -> None:
        """Reads all of it; raises Refused (413, 503, 408) and ClientGone, and then holds nothing."""
        take_body = getattr(exchange, "take_body", None)
        whole: bytes | None = take_body() if take_body is not None else None
        if whole is not None:  # it came together with its head, as most do
            self._reserve(len(whole), limit)
            self.content = whole
            return
        # Not a list of pieces: a body in chunks of one byte would take fifty times its size.
        taken = io.BytesIO()
        try:
            async with contextlib.aclosing(_timed(exchange)) as chunks:
                async for chunk in chunks:
                    self._reserve(len(chunk), limit)
                    taken.write(chunk)
        except trio.TooSlowError:
            self.release()
            raise Refused(Problem(408, "the request body came too slowly")) from None
        except BaseException:
            self.release()
            raise
        self.content = taken.getvalue()

    def release(self) -> None:
        """The body is needed no more. Idempotent."""
        self._budget.give_back(self._reserved)
        self._reserved = 0
        self.content = b""

    def _reserve(self, size: int, limit: int) -> None:
        if self._reserved + size > limit:
            raise Refused(too_large(limit))
        if not self._budget.take(size):
            raise Refused(_too_many())
        self._reserved += size


def _timed(exchange: Exchange) -> AsyncGenerator[bytes, None]:
    """The body's pieces; raises trio.TooSlowError when nothing comes for too long."""
    timed_body: Callable[[float], AsyncGenerator[bytes, None]] | None
    timed_body = getattr(exchange, "timed_body", None)  # it can do so without a scope for each
    return timed_body(BODY_IDLE_SECONDS) if timed_body is not None else _limited(exchange.body())


async def _limited(body: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with contextlib.aclosing(body) as chunks:
        while True:
            with trio.fail_after(BODY_IDLE_SECONDS):
                chunk = await anext(chunks, None)
            if chunk is None:
                return
            yield chunk  # noqa: ASYNC119 - closed by whoever reads it


def too_large(limit: int) -> Problem:
    """The answer to a body past `limit` bytes."""
    return Problem(
        413,
        f"the request body is larger than {limit} bytes (server.max_body_bytes); nothing was "
        "sent upstream",
    )


def _too_many() -> Problem:
    return Problem(
        503,
        "the proxy holds as many request bytes as server.max_inflight_bytes allows; try again",
        type="overloaded_error",
        retry_after=BUSY_RETRY_SECONDS,
    )
