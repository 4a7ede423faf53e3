"""What the end of an actor means: the rules of OTP supervisors, plus a back-off.

Which ends lead to a restart:

    restart     normal    shutdown   abnormal
    permanent   restart   restart    restart
    transient   leave     leave      restart
    temporary   leave     leave      leave

More than `intensity` restarts in any `period` escalate. OTP restarts at once and leaves braking to
the escalation alone; here each restart also waits, doubling, so that a fault which heals itself in
seconds does not use up the intensity first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

Restarting = Literal["permanent", "transient", "temporary"]
Exit = Literal["normal", "shutdown", "abnormal"]
"""normal: it returned. shutdown: it ended on purpose or as asked. abnormal: everything else."""
Strategy = Literal["one_for_one", "rest_for_one", "one_for_all"]

JITTER = 0.2
"""A back-off of x is in [x, 1.2 x], so that what fell together does not rise together."""


class RestartPolicy(msgspec.Struct, frozen=True):
    """How often and how fast to restart. Times in seconds."""

    intensity: int = 5
    """Restarts allowed in any `period`."""
    period: float = 30.0
    backoff: float = 0.1
    """Wait before the first restart; doubles with every further one."""
    maximum_backoff: float = 10.0
    healthy_after: float = 60.0
    """Ready for this long: the next wait is the first one again."""
    park: float = 0.0
    """Above 0: past its intensity the child rests for this long, doubling, instead of escalating.
    For children whose loss others can bear (one account of several). At least `period`, else the
    intensity is not kept."""
    maximum_park: float = 300.0


ROOT_POLICY = RestartPolicy(intensity=3, period=60.0, backoff=0.5, maximum_backoff=10.0)
"""For whole groups: with the defaults above, 4 group lives of 6 starts each, then the end."""


class RestartHistory(msgspec.Struct, frozen=True):
    """What `decide` has to know of a child's past."""

    restarts: tuple[float, ...] = ()
    """When the last restarts were due; those that no longer matter are dropped."""
    level: int = 0
    """Doublings of the next back-off."""
    parked: int = 0
    """Doublings of the next rest."""
    ready_at: float | None = None


class Restart(msgspec.Struct, frozen=True):
    """Start it again `after` seconds. `parked`: it rests because it used up its intensity."""

    after: float
    history: RestartHistory
    parked: bool = False


class Escalate(msgspec.Struct, frozen=True):
    """The intensity is used up: the level above decides."""


class Leave(msgspec.Struct, frozen=True):
    """It is over, and that is fine."""


Decision = Restart | Escalate | Leave


def wants_restart(restart: Restarting, ended: Exit) -> bool:
    """The table at the top of this module."""
    return restart == "permanent" or (restart == "transient" and ended == "abnormal")


def ready(history: RestartHistory, now: float) -> RestartHistory:
    """`history` after the child said that it is ready."""
    return msgspec.structs.replace(history, ready_at=now)


def decide(
    restart: Restarting,
    ended: Exit,
    policy: RestartPolicy,
    history: RestartHistory,
    now: float,
    jitter: float,
) -> Decision:
    """What to do about a child that ended at `now` (seconds of any clock); `jitter` in [0, 1].

    Never more than `policy.intensity` restarts are due in any window of `policy.period`.
    """
    if not wants_restart(restart, ended):
        return Leave()
    if history.ready_at is not None and now - history.ready_at >= policy.healthy_after:
        history = RestartHistory(restarts=history.restarts)
    after = _wait(policy.backoff, policy.maximum_backoff, history.level, jitter)
    recent = _recent(history.restarts, now + after, policy.period)
    level, parked = history.level + 1, history.parked
    exhausted = len(recent) >= policy.intensity
    if exhausted:
        if policy.park <= 0:
            return Escalate()
        after = _wait(policy.park, policy.maximum_park, history.parked, jitter)
        recent = _recent(history.restarts, now + after, policy.period)
        level, parked = 0, history.parked + 1
    restarts = (*recent, now + after)
    return Restart(after, RestartHistory(restarts, level, parked), parked=exhausted)


def _wait(first: float, maximum: float, doublings: int, jitter: float) -> float:
    # The exponent is capped only to keep the power finite; `maximum` is what limits the wait.
    return min(maximum, first * 2.0 ** min(doublings, 64)) * (1 + JITTER * jitter)


def _recent(restarts: Sequence[float], due: float, period: float) -> tuple[float, ...]:
    return tuple(at for at in restarts if at > due - period)


def affected(strategy: Strategy, children: int, ended: int) -> range:
    """Positions, in start order, of the children that a restart of number `ended` concerns.

    They are stopped in reverse order (as far as they run) and started in order, except temporary
    ones, which never start again.
    """
    match strategy:
        case "one_for_one":
            return range(ended, ended + 1)
        case "rest_for_one":
            return range(ended, children)
        case "one_for_all":
            return range(children)
