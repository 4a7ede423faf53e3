"""Where streams that move much wait for each other, so that those that move little never wait long.

trio gives every task that can run its turn before any has a second. With two hundred uploads under way
such a round takes as long as two hundred of their steps, and a stream whose next event is there
waits for all of them. Here one of them goes on in each round, in the order in which they came.
"""

from __future__ import annotations

import trio


class Turnstile:
    """`turn` returns for one caller in each round of the scheduler."""

    def __init__(self) -> None:
        self._waiting = trio.lowlevel.ParkingLot()
        self._wanted = trio.lowlevel.ParkingLot()

    async def turn(self) -> None:
        """Waits for its turn. (No deadline: those before it take one step each.)"""
        self._wanted.unpark()
        await self._waiting.park()

    async def run(self) -> None:
        """Until the end of the trio run."""
        while True:
            if not self._waiting:
                await self._wanted.park()
            await trio.lowlevel.checkpoint()
            self._waiting.unpark()


_OF_THIS_RUN: trio.lowlevel.RunVar[Turnstile] = trio.lowlevel.RunVar("turnstile")


def turnstile() -> Turnstile:
    """The one of this trio run; the first call starts its task."""
    try:
        return _OF_THIS_RUN.get()
    except LookupError:
        made = Turnstile()
        _OF_THIS_RUN.set(made)
        trio.lowlevel.spawn_system_task(made.run)
        return made
