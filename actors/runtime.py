"""What an actor sees of the world: its `Context`.

An actor is any `async def run(context)`. It says `context.ready()` when it can serve, reads
`context.mailbox` until that ends, and publishes its state whenever it has changed:

    async def run(context: Context[Message, State]) -> None:
        state = context.restored or State()
        context.ready()
        async for envelope in context.mailbox:
            state, effects = step(state, envelope.message, now())
            context.publish(state)
            ...

Returning ends the actor normally, an exception is a crash. What it publishes lies in a slot of the
supervisor and survives the crash.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import trio

from actors.mailbox import Inbox

M = TypeVar("M")
S = TypeVar("S")


class Shutdown(Exception):
    """Raised by an actor to end on purpose from somewhere deep inside: not a crash.

    A permanent actor is started again all the same; a transient or temporary one is not.
    """


class Snapshot(Generic[S]):
    """The slot for an actor's last published state, owned by the supervisor.

    A state that the actor crashes on twice, without having published another in between, may be the
    cause: then it is dropped and the actor starts clean.
    """

    def __init__(self) -> None:
        self.state: S | None = None
        self._crashes = 0

    def publish(self, state: S) -> None:
        """Replace the state."""
        self.state = state
        self._crashes = 0

    def crashed(self) -> None:
        """The incarnation that had this state crashed."""
        self._crashes += 1
        if self._crashes >= 2:
            self.state = None
            self._crashes = 0


class Context(Generic[M, S]):
    """Handed to each incarnation of an actor."""

    def __init__(
        self,
        name: str,
        incarnation: int,
        mailbox: Inbox[M],
        snapshot: Snapshot[S] | None = None,
        on_ready: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self.incarnation = incarnation
        """1 for the first life, counted up with every start."""
        self.mailbox = mailbox
        self.stopping = trio.Event()
        """Set when the supervisor wants the actor to end; `mailbox` ends by itself then."""
        self._snapshot: Snapshot[S] = snapshot if snapshot is not None else Snapshot()
        self._on_ready = on_ready
        self._restored = self._snapshot.state

    @property
    def restored(self) -> S | None:
        """The state that an earlier incarnation published last, as it was at this one's start."""
        return self._restored

    def ready(self) -> None:
        """Say that the actor can serve; those that start after it wait for this. Idempotent."""
        if self._on_ready is not None:
            self._on_ready()

    def publish(self, state: S) -> None:
        """Store an immutable snapshot for the next incarnation.

        It also says that what is being handled has taken effect: it will not be redelivered.
        """
        self._snapshot.publish(state)
        self.mailbox.published(state)


Run = Callable[[Context[Any, Any]], Awaitable[None]]
"""An actor."""
