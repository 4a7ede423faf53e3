"""Messages that want an answer."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

R_co = TypeVar("R_co", covariant=True)


class Question(msgspec.Struct, Generic[R_co], frozen=True):
    """Base of the messages that are asked, not told; `R_co` is the type of the answer.

    `class Acquire(Question[Lease], frozen=True)` makes `await mailbox.ask(Acquire(...), timeout=2)`
    a `Lease` for the type checker.
    """
