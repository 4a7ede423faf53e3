"""What a request did, step by step, gathered while it runs."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import trio

from protocol.explanation import STEPS_MAX, Attempt, Explanation, Pause
from protocol.leases import Lease, Refusal
from protocol.request_line import plain
from protocol.secrets import scrub
from protocol.told import Noted, Served, Told, between, chosen, explained
from server.attempt import Failed


class Trace:
    """Filled in by the relay through one call per step; `told` at any moment.

    `arrived`: when the request came (monotonic seconds).
    """

    __slots__ = ("_arrived", "_body_read", "_left_out", "_steps", "_trying")

    def __init__(self, arrived: float | None = None) -> None:
        self._arrived = trio.current_time() if arrived is None else arrived
        self._body_read: float | None = None
        self._steps: list[Noted] = []
        self._left_out = 0
        self._trying: tuple[str, float] | None = None

    def body_read(self) -> None:
        """The request is there as a whole."""
        self._body_read = trio.current_time()

    def chose(self, outcome: Lease | Refusal, began: float, answered: float) -> None:
        """The dispatcher, asked at `began`, answered at `answered` (monotonic seconds)."""
        self._add(chosen(outcome, began, answered))

    def trying(self, account: str) -> None:
        """An attempt begins."""
        self._trying = (account, trio.current_time())

    def failed(self, result: Failed) -> None:
        """The attempt is over, and judged."""
        if self._trying is None:
            return
        account, began = self._trying
        verdict = result.verdict
        self._trying = None
        self._add(
            Attempt(
                *between(self._arrived, began, trio.current_time()),
                account,
                "failed",
                status=result.status,
                action=verdict.action.value,
                scope=verdict.scope.value,
                target=verdict.target or None,
                reason=verdict.reason,
                retry_after=verdict.retry_after,
                error_type=plain(result.error.type or None),
                detail=plain(scrub(result.detail)),
            )
        )

    def served(self, terminal: str, status: int | None, first_byte_at: float | None) -> None:
        """The attempt's answer is the client's, whose first byte it got then (monotonic seconds)."""
        if self._trying is not None:
            account, began = self._trying
            self._trying = None
            now = trio.current_time()
            self._add(Served(began, now, account, status, terminal, first_byte_at))

    @contextmanager
    def pause(self, why: str) -> Generator[None, None, None]:
        """A wait of our own; it counts also when the client leaves in it."""
        began = trio.current_time()
        try:
            yield
        finally:
            self._add(Pause(*between(self._arrived, began, trio.current_time()), why))

    def told(self, now: float) -> Told:
        """As things stand `now` (monotonic seconds)."""
        return Told(
            self._arrived, now, self._body_read, tuple(self._steps), self._trying, self._left_out
        )

    def explanation(self) -> Explanation:
        """The same, as people are shown it."""
        return explained(self.told(trio.current_time()))

    def _add(self, step: Noted) -> None:
        self._steps.append(step)
        if len(self._steps) > STEPS_MAX:
            del self._steps[STEPS_MAX // 2]
            self._left_out += 1
