"""Requests that wait for an account in its ramp: who is next, and when to look again.

They wait in the dispatcher, one queue for each account, and nobody waits past what he is patient
for (`Acquire.patient_until`). Whoever need not wait any more is chosen for anew, so he sees every
bench that came meanwhile. The line is not kept over a crash: those in it are told, and ask again.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping

import msgspec

from protocol import egress
from protocol.dispatch import Acquire, DispatchState, Later, Lease, Refusal
from protocol.eligibility import cannot_serve
from protocol.routing import Considered

WAITING_MAX = 1000
"""Requests in line. Those past it are let through at once: a ramp is a courtesy, no limit."""

NEVER = float("inf")


class Waiter(msgspec.Struct, frozen=True):
    """A request in line for `account` since `since` (monotonic); `ticket` is the actor's name for it."""

    ticket: int
    ask: Acquire
    since: float
    account: str


class Line(msgspec.Struct, frozen=True):
    """Queues by account, none empty. In each the first is who has to be let through first."""

    queues: Mapping[str, tuple[Waiter, ...]] = {}

    @property
    def count(self) -> int:
        """How many wait."""
        return sum(len(queue) for queue in self.queues.values())


def choose(
    state: DispatchState, line: Line, ask: Acquire, now: float
) -> tuple[DispatchState, Lease | Refusal | Later]:
    """`egress.choose`, for one who has just come."""
    if ask.patient_until > now and line.queues and line.count >= WAITING_MAX:
        ask = _impatient(ask)
    return egress.choose(state, ask, now)


def joined(line: Line, waiter: Waiter) -> Line:
    """One more in line: behind those who have to be let through no later than he.

    All are patient for equally long, so that is the order in which they came; only who has waited
    in another ramp before is further in front.
    """
    queue = [*line.queues.get(waiter.account, ())]
    insort(queue, waiter, key=_patience)
    return Line({**line.queues, waiter.account: tuple(queue)})


def left(line: Line, waiter: Waiter) -> Line:
    """One less."""
    rest = tuple(other for other in line.queues[waiter.account] if other is not waiter)
    queues = {name: queue for name, queue in line.queues.items() if name != waiter.account}
    return Line({**queues, waiter.account: rest} if rest else queues)


def ready(state: DispatchState, line: Line, now: float) -> Waiter | None:
    """The next one who need not wait any more; None: all the others go on waiting."""
    for name, queue in line.queues.items():
        head = queue[0]
        limited = bool(state.egress) and egress.rests(state, name, now)
        if limited or _due(state, head) <= now or cannot_serve(state, name, head.ask, now):
            return head
    return None


def due(state: DispatchState, line: Line) -> float:
    """When somebody is ready at the latest, if nothing happens before (monotonic seconds)."""
    return min((_due(state, queue[0]) for queue in line.queues.values()), default=NEVER)


def choose_for(
    state: DispatchState, waiter: Waiter, now: float, *, patient: bool = True
) -> tuple[DispatchState, Lease | Refusal | Later]:
    """The choice for one who waited, which says so; Later: he goes on waiting, maybe for another."""
    ask = waiter.ask if patient else _impatient(waiter.ask)
    state, outcome = egress.choose(state, ask, now)
    if isinstance(outcome, Lease):
        told = f"waited {now - waiter.since:.1f} s for the ramp of {waiter.account}"
        outcome = msgspec.structs.replace(
            outcome, reasons=(*outcome.reasons, told), waited_for=waiter.account
        )
    elif isinstance(outcome, Refusal):
        waited = Considered(waiter.account, "waited", "ramp")
        outcome = msgspec.structs.replace(outcome, considered=(*outcome.considered, waited))
    return state, outcome


def _due(state: DispatchState, head: Waiter) -> float:
    in_flight = state.in_flight.get(head.account, 0)
    return min(head.ask.patient_until, state.traffic.opens_at(head.account, in_flight))


def _patience(waiter: Waiter) -> float:
    return waiter.ask.patient_until


def _impatient(ask: Acquire) -> Acquire:
    return msgspec.structs.replace(ask, patient_until=0.0)
