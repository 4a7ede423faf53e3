"""How late the event loop is: what every stream feels when one part holds it up."""

from __future__ import annotations

from collections import deque

import msgspec
import trio

from actors.runtime import Context

INTERVAL = 0.5
KEPT = 120
"""Samples: one minute's worth."""


class Lag(msgspec.Struct, frozen=True):
    """Seconds, over the last minute."""

    p50: float = 0.0
    p99: float = 0.0


class LoopLagActor:
    """Sleeps, and notes by how much it woke too late."""

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=KEPT)

    def lag(self) -> Lag:
        """The figures now."""
        if not self._samples:
            return Lag()
        ordered = sorted(self._samples)
        return Lag(
            p50=round(ordered[len(ordered) // 2], 6),
            p99=round(ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)], 6),
        )

    async def run(self, context: Context[None, None]) -> None:
        """Until the program stops."""
        context.ready()
        while not context.stopping.is_set():
            due = trio.current_time() + INTERVAL
            with trio.move_on_at(due):
                await context.stopping.wait()
            self._samples.append(max(trio.current_time() - due, 0.0))
