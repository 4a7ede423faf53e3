"""An actor's mailbox with messages to send to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio
from trio.testing import wait_all_tasks_blocked

from actors.mailbox import Envelope, Inbox, Mailbox
from protocol.question import Question


class Double(Question[int], frozen=True):
    number: int


class Note(msgspec.Struct, frozen=True):
    text: str


Message = Double | Note


def double(envelope: Envelope[Any]) -> bool:
    question = envelope.message
    assert isinstance(question, Double)
    return envelope.reply_to(question).send(2 * question.number)


async def serve(inbox: Inbox[Any]) -> None:
    async for envelope in inbox:
        double(envelope)


@asynccontextmanager
async def asking(
    mailbox: Mailbox[Any], number: int, seconds: float = 10
) -> AsyncIterator[Callable[[], object]]:
    """An ask under way; the value is a function giving its answer or error, None before."""
    outcome: list[object] = []

    async def ask() -> None:
        try:
            outcome.append(await mailbox.ask(Double(number), timeout=seconds))
        except Exception as error:
            outcome.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        yield lambda: outcome[0] if outcome else None
