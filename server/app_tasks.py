"""How hypercorn hands a request to the application, with an input that cannot block a departure.

hypercorn's own input is one bounded channel for body chunks and for the news that the client is
gone. When an application does not read a body, the channel is full, and the news (or the
connection's own end) waits behind it for ever. Here the news has a place of its own.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from hypercorn.trio.task_group import TaskGroup

BODY_CHUNKS_MAX = 8
"""Chunks read ahead of the application; each is one read of at most 64 KiB."""

END_SECONDS = 5.0
"""For ending the response of an application that is done, well or not."""

log = logging.getLogger("server.connection")


class AppInput:
    """The `receive` of one request: body chunks in order, then `http.disconnect` for ever.

    `ask_for_body` runs before each wait for a chunk (a client may want to be asked for its body).
    """

    def __init__(self, ask_for_body: Callable[[], Awaitable[None]]) -> None:
        self._ask_for_body = ask_for_body
        self._chunks: deque[dict[str, Any]] = deque()
        self._gone = False
        self._changed = trio.Event()

    async def put(self, message: dict[str, Any]) -> None:
        """Waits while the application is behind; never once the client is gone."""
        if message["type"] == "http.disconnect":
            self._gone = True
            self._notify()
            return
        while len(self._chunks) >= BODY_CHUNKS_MAX and not self._gone:
            await self._changed.wait()
        if not self._gone:
            self._chunks.append(message)
            self._notify()

    async def receive(self) -> dict[str, Any]:
        """The next message; after a departure the chunks that came before it are not worth it."""
        if not self._chunks and not self._gone:
            await self._ask_for_body()
        while not self._chunks and not self._gone:
            await self._changed.wait()
        if self._gone:
            return {"type": "http.disconnect"}
        message = self._chunks.popleft()
        self._notify()
        return message

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


class AppTasks(TaskGroup):
    """One connection's tasks; an application that raises ends its request and nothing else."""

    def __init__(self, ask_for_body: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self._ask_for_body = ask_for_body

    async def spawn_app(  # type: ignore[override]  # our messages are plain dicts
        self,
        app: Callable[..., Awaitable[None]],
        config: Any,
        scope: Any,
        send: Callable[[Any], Awaitable[None]],
    ) -> Callable[[dict[str, Any]], Awaitable[None]]:
        app_input = AppInput(self._ask_for_body)

        async def run() -> None:
            try:
                await app(scope, app_input.receive, send, None, None)
            except Exception:
                log.exception("a request failed in a way nobody foresaw")
            finally:
                deadline = trio.current_time() + END_SECONDS
                with trio.CancelScope(shield=True, deadline=deadline):
                    await send(None)

        self.spawn(run)
        return app_input.put
