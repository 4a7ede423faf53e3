"""One life of an actor without a supervisor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from actors.mailbox import Mailbox
from actors.runtime import Context, Run, Snapshot


@asynccontextmanager
async def living(
    run: Run,
    mailbox: Mailbox[Any] | None = None,
    snapshot: Snapshot[Any] | None = None,
    incarnation: int = 1,
) -> AsyncIterator[Context[Any, Any]]:
    """The actor, ready; at the end it is asked to stop for good, and has ended."""
    mailbox = mailbox or Mailbox("actor")
    ready = trio.Event()
    context: Context[Any, Any] = Context(
        mailbox.name, incarnation, mailbox.open_inbox(), snapshot, ready.set
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, context)
        with trio.fail_after(10):
            await ready.wait()
        await wait_all_tasks_blocked()
        yield context
        await wait_all_tasks_blocked()
        context.stopping.set()
        mailbox.refuse()
