"""What the keeper is given: plain data, and how to put the client's settings back. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from protocol.keeping import RestartLimit


class Restored(Protocol):
    """What putting the client's settings back came to."""

    @property
    def messages(self) -> Sequence[str]:
        """For the log."""

    @property
    def pending(self) -> bool:
        """There is a second step, due `release_after` seconds later."""

    @property
    def changed(self) -> Sequence[str]:
        """The files in which something was put back."""


@dataclass(frozen=True)
class Plan:
    """What the command line has resolved for the keeper. Durations in seconds.

    `command` starts a worker; `letter` is what that has to know, as JSON has it.
    """

    command: tuple[str, ...]
    letter: Mapping[str, object]
    descriptors: tuple[int, ...]
    drain_seconds: float
    restore_after: float
    release_after: float
    stops_on_hang_up: bool
    limit: RestartLimit = field(default_factory=RestartLimit)


@dataclass(frozen=True)
class Client:
    """The two steps of putting the client's settings back; both may be done again."""

    restore: Callable[[], Restored]
    finish: Callable[[], Restored]
