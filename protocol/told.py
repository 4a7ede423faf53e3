"""What a request has noted of its steps, as it is kept: little work for each request, and all that
its explanation is made of, if somebody asks for that.

Moments are monotonic seconds here; `explained` makes milliseconds after the arrival of them.
"""

from __future__ import annotations

import msgspec

from protocol.explanation import Attempt, Choice, Explanation, Pause, Step, spent
from protocol.leases import Lease, Refusal, everybody
from protocol.request_line import plain
from protocol.routing import Choice as Among
from protocol.routing import Considered


class Chosen(msgspec.Struct, frozen=True):
    """A question to the dispatcher, from `began` to `ended`, and its answer.

    Not the lease itself: a credential is not to be kept so long.
    """

    began: float
    ended: float
    account: str | None
    reasons: tuple[str, ...]
    message: str | None
    retry_after: float | None
    among: Among | tuple[Considered, ...]
    waited_for: str


class Served(msgspec.Struct, frozen=True):
    """An attempt whose answer went to the client."""

    began: float
    ended: float
    account: str
    status: int | None
    terminal: str
    first_byte_at: float | None


Noted = Chosen | Served | Attempt | Pause
"""What is rare, a failure or a pause, is noted as it will be told."""


class Told(msgspec.Struct, frozen=True):
    """All that a request noted between `arrived` and `ended`.

    `body_read` None: the body never was there as a whole. `trying`: the account that it was trying
    when it ended, and since when. `left_out`: steps in the middle that are gone.
    """

    arrived: float
    ended: float
    body_read: float | None = None
    steps: tuple[Noted, ...] = ()
    trying: tuple[str, float] | None = None
    left_out: int = 0


class Ended(msgspec.Struct, frozen=True):
    """A request that is over: its `line` for the log, encoded (`protocol.request_line`), and what it
    noted. A thousand lines are kept: as bytes they are one object each, not thirty. `key`: the id of
    the inbound key that sent it, if any."""

    request_id: str
    line: bytes
    told: Told
    key: str = ""


def chosen(outcome: Lease | Refusal, began: float, ended: float) -> Chosen:
    """The dispatcher's answer, less what must not be kept."""
    if isinstance(outcome, Refusal):
        said, after = plain(outcome.message), outcome.retry_after
        return Chosen(began, ended, None, (), said, after, outcome.considered, "")
    lease = outcome
    return Chosen(
        began, ended, lease.account, lease.reasons, None, None, lease.choice, lease.waited_for
    )


def explained(told: Told) -> Explanation:
    """The explanation that people are shown."""
    steps = tuple(_step(told, noted) for noted in told.steps)
    if told.trying is not None:
        account, began = told.trying
        steps = (*steps, Attempt(*between(told.arrived, began, told.ended), account, "left"))
    body = 0.0 if told.body_read is None else milliseconds(told.body_read - told.arrived)
    total = milliseconds(told.ended - told.arrived)
    return Explanation(steps, told.left_out, spent(steps, body, total))


def _step(told: Told, noted: Noted) -> Step:
    if isinstance(noted, Chosen):
        return Choice(
            *between(told.arrived, noted.began, noted.ended),
            noted.account,
            noted.reasons,
            noted.message,
            noted.retry_after,
            everybody(noted.among, noted.waited_for),
        )
    if isinstance(noted, Served):
        first = noted.first_byte_at
        return Attempt(
            *between(told.arrived, noted.began, noted.ended),
            noted.account,
            "served",
            noted.status,
            noted.terminal,
            None if first is None else milliseconds(first - told.arrived),
        )
    return noted


def between(arrived: float, began: float, ended: float) -> tuple[float, float]:
    """When a step began after the `arrived` request, and how long it took, in milliseconds."""
    return milliseconds(began - arrived), milliseconds(ended - began)


def milliseconds(seconds: float) -> float:
    """To the microsecond."""
    return round(seconds * 1000, 3)
