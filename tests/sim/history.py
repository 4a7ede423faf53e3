"""What happened in one run, as plain records: all that the checker gets to see.

Times are virtual seconds. Nobody writes here but the world outside the program: its clients, its
upstreams, its disk, its owner, and the faults.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, TypeVar

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Event:
    """`at` in virtual seconds."""

    at: float


@dataclass(frozen=True, slots=True)
class Life(Event):
    """`what`: up, draining, gave up, cut (from outside), over. `mode`: pool or passthrough."""

    number: int
    what: str
    lane: str


@dataclass(frozen=True, slots=True)
class Account:
    """As configured. `secret` is its key; empty for a login, whose family has its name."""

    name: str
    secret: str
    host: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class Configured(Event):
    """From now on (an accepted reload, or the start of a life) these accounts are in force.

    `keys`: whether inbound keys are asked for: on, off, or unsure, after a reload that may count.
    """

    accounts: tuple[Account, ...]
    limits: dict[str, float]
    keys: str


@dataclass(frozen=True, slots=True)
class Owner(Event):
    """The owner did something to an account and was told that it counts: enable, disable, reset."""

    what: str
    account: str


@dataclass(frozen=True, slots=True)
class KeyMade(Event):
    """An inbound key, as clients show it, is in the file; `nth` numbers them. `per_minute` is how
    many requests it may send in 60 s, 0 any number."""

    nth: int
    shown: str
    per_minute: int


@dataclass(frozen=True, slots=True)
class KeyRevoked(Event):
    """In the file, for good."""

    nth: int


@dataclass(frozen=True, slots=True)
class Fault(Event):
    """Injected. `what` says where."""

    kind: str
    what: str


@dataclass(frozen=True, slots=True)
class Mended(Event):
    """A fault of this kind that lasted is over."""

    kind: str


@dataclass(frozen=True, slots=True)
class Sent(Event):
    """A client has begun to send a request. `own` is the credential that it sent along; `dialect`
    is whose it speaks: anthropic or openai."""

    request: int
    life: int
    lane: str
    method: str
    target: str
    stream: bool
    relayed: bool
    pinned: str
    own: str
    dialect: str
    calm: bool


@dataclass(frozen=True, slots=True)
class Head(Event):
    """The head of an answer reached the client."""

    request: int
    status: int
    headers: Headers


@dataclass(frozen=True, slots=True)
class Got(Event):
    """A piece of a body reached the client."""

    request: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Ended(Event):
    """How it ended for the client: complete, broken, left (by the client itself), silence.

    `unasked`: what came on the connection although nothing was asked any more. `stalled`: the
    client did not read for so long that it may be cut off.
    """

    request: int
    how: str
    unasked: bytes
    stalled: bool


@dataclass(frozen=True, slots=True)
class Attempt(Event):
    """An upstream has got the head of a request. `request` is -1 for what no client caused."""

    attempt: int
    request: int
    host: str
    path: str
    credential: str
    both: bool


@dataclass(frozen=True, slots=True)
class Planned(Event):
    """What the upstream answers to an attempt. `ending`: complete, cut, reset, stall, none (no byte
    of an answer). `fault` is its kind, empty for a good answer. `rest`: seconds that it asks to
    stay away, for this credential; 0: no such word."""

    attempt: int
    status: int
    headers: Headers
    body: bytes
    ending: str
    fault: str
    rest: float
    text: str


@dataclass(frozen=True, slots=True)
class Over(Event):
    """The upstream has finished with an attempt; `outcome` as it saw it: complete, left, ..."""

    attempt: int
    outcome: str


@dataclass(frozen=True, slots=True)
class Renewal(Event):
    """One exchange at the token endpoint. `access` and `refresh` are empty where nothing was
    granted; `delivered` says whether an answer went out that tells what became of the token."""

    family: str
    sent: str
    access: str
    refresh: str
    delivered: bool
    known: bool


@dataclass(frozen=True, slots=True)
class Written(Event):
    """A credential file is durably this. `by`: program, or another."""

    path: str
    data: bytes
    by: str


@dataclass(frozen=True, slots=True)
class Status(Event):
    """`GET /status`, answered with 200. `wall`: the program's wall clock then."""

    document: dict[str, Any]
    wall: float
    calm: bool


@dataclass(frozen=True, slots=True)
class Logged(Event):
    """An error in the program's log."""

    text: str
    raised: str


@dataclass(frozen=True, slots=True)
class Line(Event):
    """A line of the request log, as it was at the end; `id` is the program's name of the request."""

    id: str


@dataclass(frozen=True, slots=True)
class Left(Event):
    """What is still there that should have gone."""

    what: str
    count: int


@dataclass(frozen=True, slots=True)
class Guarded(Event):
    """Where the client's settings point after a life: pointed (at us) or not."""

    life: int
    pointed: bool


@dataclass(frozen=True, slots=True)
class Calm(Event):
    """All faults are over since a while: from here on everything must succeed."""


E = TypeVar("E", bound=Event)


class History:
    """The records in order."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.events: list[Event] = []
        self.hours = 0.0

    def add(self, event: Event) -> None:
        """One more."""
        self.events.append(event)

    def of(self, kind: type[E]) -> Iterator[E]:
        """Those of one kind."""
        return (event for event in self.events if isinstance(event, kind))

    def digest(self) -> str:
        """The same for two runs in which the same things happened at the same times."""
        digest = hashlib.sha256()
        for event in self.events:
            digest.update(repr(event).encode())
        return digest.hexdigest()

    def faults(self) -> Counter[str]:
        """How many were injected, by kind."""
        return Counter(fault.kind for fault in self.of(Fault))

    def requests(self) -> int:
        """How many the clients sent."""
        return sum(1 for _ in self.of(Sent))


def told(event: Event) -> str:
    """One line about an event, long bytes cut."""
    parts = []
    for field in fields(event):
        value = getattr(event, field.name)
        shown = value if isinstance(value, str | int | float) else repr(value)
        parts.append(f"{field.name}={str(shown)[:120]}")
    return f"{type(event).__name__}({', '.join(parts)})"
