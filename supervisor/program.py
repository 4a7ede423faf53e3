"""The program as one value: the tree, its front door and its end, without process or signals."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

import trio

from actors.mailbox import AskFailed
from actors.messages import Flush
from actors.runtime import Context
from protocol.status import CrashReport
from server.app import add_error_answers, own_routes
from server.connections import Connections
from server.departures import Departures
from server.express_lane import ExpressLane
from server.reference_lane import FrontDoor, ReferenceLane
from supervisor.control import Control
from supervisor.engine import Supervisor
from supervisor.instance import Instance
from supervisor.parts import Parts
from supervisor.tree import tree

log = logging.getLogger("supervisor")

CLOSE_SECONDS = 1.0
"""For the kept connections to upstreams, once everybody has stopped."""

LAST_LINES_SECONDS = 0.3
"""For the request log, in a stop at once; the process ends soon after, whatever it is waiting for."""


class Program:
    """Everything that lives between the start and the exit code.

    `connections` is the nursery of the live connections: the caller owns it, and cancels it when
    `run` has returned.
    """

    def __init__(
        self,
        parts: Parts,
        instance: Instance,
        connections: trio.Nursery,
    ) -> None:
        self.parts = parts
        self.stop_asked = trio.Event()
        """Set when the drain begins, whoever asked for it."""
        parts.door.nobody = instance.nobody
        app = FrontDoor(parts.door.handle)
        reference = ReferenceLane(app)
        express = parts.config.server.express
        departures = Departures()
        connections.start_soon(departures.run)
        self._lane = ExpressLane(parts.door.handle, reference, departures) if express else reference
        tls = parts.tls.context if parts.tls is not None else None
        self.connections = Connections(connections, self._lane.open, self._capacity, tls)
        parts.connections = self.connections
        parts.nursery = connections
        connections.start_soon(parts.upstreams.sweep)
        self.engine = Supervisor(
            tree(parts, self._close, self._see_off),
            random=parts.random,
            report=log_crash,
            wall_clock=parts.wall_clock,
        )
        parts.roster.bind(self.engine, connections)
        control = Control(parts, self.engine, instance, self.stop)
        app.register_blueprint(own_routes(control))
        add_error_answers(app)

    @property
    def stopping(self) -> bool:
        """Somebody asked for the end."""
        return self.stop_asked.is_set()

    async def run(  # noqa: ASYNC128 - the engine calls `started`
        self, *, task_status: trio.TaskStatus[bool] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Until `stop`; raises GaveUp. `started(True)` when every actor is ready."""
        try:
            await self.engine.run(task_status=task_status)
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_SECONDS):
                await self.parts.upstreams.aclose()

    def stop(self) -> None:
        """Begins the drain: no new clients, streams end, then everybody stops."""
        self.stop_asked.set()
        self.engine.stop()

    async def stop_at_once(self) -> None:
        """Cuts every stream and ends everybody now, but for a moment in which it is written down
        what became of the requests."""
        self.stop_asked.set()
        with trio.move_on_after(LAST_LINES_SECONDS):
            await self._close()
            await self.connections.drain(0)
            await self.connections.drain(LAST_LINES_SECONDS)  # until those that were cut have ended
            with contextlib.suppress(AskFailed):
                await self.parts.journal.ask(Flush(), timeout=LAST_LINES_SECONDS)
        self.engine.stop_at_once()
        await self.connections.drain(0)

    def _capacity(self) -> int:
        return min(self.parts.config.server.max_connections, self.parts.connections_limit)

    def _for_good(self) -> bool:
        return self.stopping or self.engine.gave_up is not None

    async def _close(self) -> None:
        """The door: whoever comes now is refused, and a connection ends with its response."""
        parts = self.parts
        if not self._for_good() or parts.door.draining:
            return
        parts.door.draining = True
        if parts.listening is not None:
            parts.listening.close()
        await self._lane.terminate()

    async def _see_off(self, context: Context[None, Any]) -> None:
        """An actor that waits for the end, and then lets the streams end before anybody whom they
        need does."""
        context.ready()
        await context.stopping.wait()
        if not self._for_good():
            return
        await self._close()
        if len(self.connections):
            log.info("draining; connections open: %d", len(self.connections))
        await self.connections.drain(self.parts.config.server.drain_seconds)


def log_crash(crash: CrashReport) -> None:
    """One crash, one line."""
    while_handling = f" while handling {crash.while_handling}" if crash.while_handling else ""
    log.error(
        "actor %s crashed%s: %s: %s (%s)",
        crash.actor,
        while_handling,
        crash.type,
        crash.message,
        crash.where,
    )
