"""What a request did, step by step, gathered while it runs."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import trio

from protocol.explanation import STEPS_MAX, Attempt, Choice, Explanation, Pause, Step, spent
from protocol.leases import Lease, Refusal
from protocol.request_line import plain
from protocol.secrets import scrub
from server.attempt import Failed


class Trace:
    """Filled in by the relay through one call per step; `explanation` at any moment."""

    def __init__(self) -> None:
        self._arrived = trio.current_time()
        self._body = 0.0
        self._steps: list[Step] = []
        self._left_out = 0
        self._trying: tuple[str, float] | None = None

    def body_read(self) -> None:
        """The request is there as a whole."""
        self._body = self._at(trio.current_time())

    def chose(self, outcome: Lease | Refusal, began: float) -> None:
        """The dispatcher, asked at `began` (monotonic seconds), has answered."""
        at, ms = self._since(began)
        if isinstance(outcome, Lease):
            step = Choice(
                at, ms, outcome.account, outcome.reasons, considered=outcome.considered
            )  # fmt: skip
        else:
            step = Choice(
                at,
                ms,
                message=plain(outcome.message),
                retry_after=outcome.retry_after,
                considered=outcome.considered,
            )
        self._add(step)

    def trying(self, account: str) -> None:
        """An attempt begins."""
        self._trying = (account, trio.current_time())

    def failed(self, result: Failed) -> None:
        """The attempt is over, and judged."""
        verdict = result.verdict
        self._tried(
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

    def served(self, terminal: str, status: int | None, first_byte_at: float | None) -> None:
        """The attempt's answer is the client's, whose first byte it got then (monotonic seconds)."""
        first = None if first_byte_at is None else self._at(first_byte_at)
        self._tried("served", status=status, terminal=terminal, ms_first_byte=first)

    @contextmanager
    def pause(self, why: str) -> Generator[None, None, None]:
        """A wait of our own; it counts also when the client leaves in it."""
        began = trio.current_time()
        try:
            yield
        finally:
            self._add(Pause(*self._since(began), why))

    def explanation(self) -> Explanation:
        """As things stand."""
        steps = tuple(self._steps)
        if self._trying is not None:
            account, began = self._trying
            steps = (*steps, Attempt(*self._since(began), account, "left"))
        total = self._at(trio.current_time())
        return Explanation(steps, self._left_out, spent(steps, self._body, total))

    def _tried(self, outcome: str, **judged: Any) -> None:
        if self._trying is not None:
            account, began = self._trying
            self._add(Attempt(*self._since(began), account, outcome, **judged))
            self._trying = None

    def _add(self, step: Step) -> None:
        self._steps.append(step)
        if len(self._steps) > STEPS_MAX:
            del self._steps[STEPS_MAX // 2]
            self._left_out += 1

    def _since(self, began: float) -> tuple[float, float]:
        return self._at(began), round((trio.current_time() - began) * 1000, 3)

    def _at(self, moment: float) -> float:
        return round((moment - self._arrived) * 1000, 3)
