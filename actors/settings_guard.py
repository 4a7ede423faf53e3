"""Points clients here while the front end answers, and away when it does not.

It starts last and stops first: a client is never sent to a door that is not open yet, and is sent
away before the door closes. When it crashes, what it did stays; the next incarnation takes it over.
"""

from __future__ import annotations

import logging

import msgspec
import trio

from actors.client_port import ClientPort
from actors.runtime import Context
from protocol import pointing
from protocol.client_plan import ClientPlan
from protocol.pointing import ClientFile, Pointing

log = logging.getLogger("actors.settings_guard")

PROBE_SECONDS = 1.0
START_SECONDS = 3.0
"""The start waits for so long for the door to answer; after that the guard goes on trying."""
UNMANAGED = "client.manage is false, or --no-client was said"
END_SECONDS = 1.0
"""For putting back when the program is stopped at once."""


class Guarding(msgspec.Struct, frozen=True):
    """What survives a crash of the actor."""

    pointing: Pointing = Pointing()
    plan: ClientPlan | None = None


class SettingsGuardActor:
    """`view` is for `/status`."""

    def __init__(self, clients: ClientPort) -> None:
        self._clients = clients
        self._now = Guarding()
        self._again = False

    def view(self) -> dict[str, object]:
        """`client` of `GET /status`."""
        return pointing.view(self._now.pointing)

    def point_again(self) -> None:
        """The keeper has put the clients back, for want of a worker that serves, and now there is
        one: what the guard finds in the settings then is nobody's decision to go elsewhere."""
        self._again = True

    async def run(self, context: Context[None, Guarding]) -> None:
        """Until the program stops; then clients are put back."""
        unmanaged = self._clients.plan() is None  # then nothing further is said of it
        told = UNMANAGED if unmanaged else "not yet"
        self._now = context.restored or Guarding(pointing.off(told))
        try:
            await self._start(context)
            context.ready()
            while not context.stopping.is_set():
                await self._look(context)
                with trio.move_on_after(PROBE_SECONDS):
                    await context.stopping.wait()
        except trio.Cancelled:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + END_SECONDS):
                await self._leave_at_once()
            raise
        await self._leave(context)

    async def _start(self, context: Context[None, Guarding]) -> None:
        """Waits for the door, which opened a moment ago."""
        deadline = trio.current_time() + START_SECONDS
        while not context.stopping.is_set() and trio.current_time() < deadline:
            if self._clients.plan() is None or await self._clients.answers():
                break
            with trio.move_on_after(PROBE_SECONDS / 10):
                await context.stopping.wait()
        if not context.stopping.is_set():
            await self._look(context)

    async def _look(self, context: Context[None, Guarding]) -> None:
        plan = self._clients.plan()
        if plan != self._now.plan:
            await self._replan(plan, context)
            return
        if plan is None:
            return
        answered = await self._clients.answers()
        if context.stopping.is_set():
            return
        if self._again and answered:
            self._again = False
            self._publish(context, Guarding(await self._point(plan, Pointing()), plan))
            return
        state, action = pointing.probed(
            self._now.pointing, answered, trio.current_time(), stay=plan.stay
        )
        if action == "restore":
            log.warning("clients are pointed away: %s", state.reason)
            # Whoever comes after a crash must not take them for pointed.
            self._publish(context, Guarding(state, plan))
            await self._put_back(context)
        elif action == "point":
            state = await self._point(plan, state)
        elif state.mode == "pointed":
            state = await self._without_the_taken(state)
        elif held := await self._clients.held():
            state = pointing.pointed(state, held)
        self._publish(context, Guarding(state, plan))

    async def _replan(self, plan: ClientPlan | None, context: Context[None, Guarding]) -> None:
        """At the start, and when the configuration has changed."""
        before = self._now
        if before.pointing.mode == "pointed" and (plan is None or plan.blocked):
            await self._put_back(context)
        if plan is None:
            state = pointing.off(UNMANAGED)
        elif plan.blocked:
            state = pointing.pointed(Pointing(), _stood_back(plan, plan.blocked))
            log.warning("clients are not pointed here: %s", plan.blocked)
        elif before.pointing.mode != "pointed" and not await self._clients.answers():
            log.warning("clients are not pointed here yet: %s", pointing.NOT_REACHABLE)
            state = Pointing(mode="restored", reason=pointing.NOT_REACHABLE)
        else:
            state = await self._point(plan, Pointing())
        self._publish(context, Guarding(state, plan))

    async def _point(self, plan: ClientPlan, state: Pointing) -> Pointing:
        files = await self._clients.point(plan)
        for file in files:
            if file.did == "pointed":
                log.info("%s points here (%s)", file.path, ", ".join(file.keys))
            else:
                log.warning("%s is not pointed here: %s", file.path, file.reason)
        return pointing.pointed(state, files)

    async def _without_the_taken(self, state: Pointing) -> Pointing:
        """Does not fight: whoever changes the base URL while we run has decided."""
        paths = tuple(file.path for file in state.files if file.did == "pointed")
        for path, found in await self._clients.changed_by_others(paths):
            log.warning("%s: %s; it is left alone from now on", path, found)
            state = pointing.taken(state, path, found)
        return state

    async def _put_back(self, context: Context[None, Guarding]) -> None:
        wait = await self._clients.restore()
        if wait is not None:
            with trio.move_on_after(wait):
                await context.stopping.wait()  # which has more to do for sessions than this
            await self._clients.finish()

    async def _leave(self, context: Context[None, Guarding]) -> None:
        """The door stays open until sessions have seen the direct URL: none of them is refused."""
        try:
            wait = await self._clients.restore()
            state = pointing.stopped(self._now.pointing, "the program is stopping")
            self._publish(context, Guarding(state, self._now.plan))
            if wait is not None:
                await trio.sleep(wait)
                await self._clients.finish()
        except trio.Cancelled:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + END_SECONDS):
                await self._leave_at_once()
            raise

    async def _leave_at_once(self) -> None:
        await self._clients.restore()
        await self._clients.finish()

    def _publish(self, context: Context[None, Guarding], now: Guarding) -> None:
        self._now = now
        context.publish(now)


def _stood_back(plan: ClientPlan, reason: str) -> tuple[ClientFile, ...]:
    return tuple(ClientFile(path, "stood back", reason) for path in plan.files)
