"""Asking an actor that may crash meanwhile: the question is simply put again."""

from __future__ import annotations

from typing import Any, TypeVar

import trio

from actors.mailbox import ActorCrashed, AskTimeout, Mailbox
from protocol.question import Question

R = TypeVar("R")


async def insist(mailbox: Mailbox[Any], question: Question[R], *, timeout: float) -> R:  # noqa: ASYNC109 - as in `ask`
    """The answer within `timeout` seconds, over as many lives of the actor as it takes.

    For questions that may be put twice: one that changes something must be recognizable as the
    same (`Reported.lease` is). Raises ActorStopped and AskTimeout.
    """
    deadline = trio.current_time() + timeout
    while True:
        try:
            return await mailbox.ask(question, timeout=deadline - trio.current_time())
        except ActorCrashed:
            if trio.current_time() >= deadline:
                raise AskTimeout(mailbox.name, timeout) from None
