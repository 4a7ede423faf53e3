"""The acceptor: takes connections from the listening socket and hands them to the tree.

It works on a duplicate of the socket, so while it is down new clients wait in the queue of the
original instead of being refused; live connections are not its own, so they go on.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Awaitable, Callable

import trio

from actors.runtime import Context

log = logging.getLogger("actors.front_end")

# The machine is out of something (descriptors, memory): wait, what is open goes on.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
EXHAUSTED_PAUSE = 0.1


class FrontEndActor:
    """`admit` takes a new connection; `leave` is run when the actor is asked to stop."""

    def __init__(
        self,
        listening: Callable[[], socket.socket],
        admit: Callable[[trio.abc.Stream], None],
        leave: Callable[[], Awaitable[None]],
    ) -> None:
        self._listening = listening
        self._admit = admit
        self._leave = leave

    async def run(self, context: Context[None, None]) -> None:
        """Accepts until it is asked to stop."""
        listening = self._listening()
        if listening.fileno() < 0:  # closed for good: the program is about to end
            context.ready()
            await context.stopping.wait()
        else:
            await self._serve(trio.socket.from_stdlib_socket(listening.dup()), context)
        await self._leave()

    async def _serve(self, duplicate: trio.socket.SocketType, context: Context[None, None]) -> None:
        listener = trio.SocketListener(duplicate)
        async with trio.open_nursery() as nursery, listener:
            nursery.start_soon(_cancel_when, context.stopping, nursery.cancel_scope)
            context.ready()
            await self._accept(listener)

    async def _accept(self, listener: trio.SocketListener) -> None:
        exhausted = False
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                if not exhausted:  # one line for one shortage
                    log.warning("no new connections for now: %s", error.strerror)
                exhausted = True
                await trio.sleep(EXHAUSTED_PAUSE)
                continue
            exhausted = False
            self._admit(stream)


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
