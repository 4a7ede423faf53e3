"""Asking an actor that may crash meanwhile: the question is simply put again."""

from __future__ import annotations

from typing import Any, TypeVar

import trio

from actors.mailbox import ActorCrashed, Mailbox
from protocol.question import Question

R = TypeVar("R")

ASKS_MAX = 3
"""A question that crashes its actor so often is poison: put again and again, it would use up the
restarts that are there for accidents, and end the program."""


async def insist(
    mailbox: Mailbox[Any],
    question: Question[R],
    *,
    timeout: float,  # noqa: ASYNC109 - as in `ask`
    now: float | None = None,
) -> R:
    """The answer within `timeout` seconds, over as many lives of the actor as it takes.

    `now`: trio time, from who knows it already.

    For questions that may be put twice: one that changes something must be recognizable as the
    same (`Reported.lease` is). Raises ActorStopped, AskTimeout, and ActorCrashed when the question
    itself seems to be what crashes it.
    """
    if now is None:
        now = trio.current_time()
    deadline = now + timeout
    for _ in range(ASKS_MAX - 1):
        try:
            return await mailbox.ask(question, timeout=timeout, now=now)
        except ActorCrashed:
            now = trio.current_time()
            timeout = deadline - now
    return await mailbox.ask(question, timeout=timeout)
