"""A message on its way to an actor."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from actors.reply import Reply
from protocol.question import Question

M = TypeVar("M")
R = TypeVar("R")


class Envelope(msgspec.Struct, Generic[M], frozen=True, eq=False):
    """A message on its way. `reply` is None for a told message; `sent_at` is trio time.

    `redelivered` marks a told message whose first reader crashed over it.
    """

    message: M
    reply: Reply[Any] | None
    sent_at: float
    redelivered: bool = False

    def reply_to(self, question: Question[R]) -> Reply[R]:
        """This envelope's reply, typed by the question it carries (pass `envelope.message`).

        Never fails for a message out of a mailbox: `tell` refuses questions.
        """
        if self.reply is None or question is not self.message:
            raise TypeError(f"no reply to {type(question).__name__} in this envelope")
        return self.reply
