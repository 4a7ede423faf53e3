"""`simulate(seed)`: one whole run, in which nothing is left to chance.

What is random are the dice of `faults.py`, the program's own `random.Random`, the scheduler of trio
(which is told to be deterministic and gets a seed), and what is taken from `secrets`.
"""

from __future__ import annotations

import contextlib
import logging
import random
import secrets
from collections.abc import Generator

import trio
import trio.testing
from trio._core import _run as scheduler

from actors.overdue import overdue
from server.turnstile import turnstile
from tests.sim.day import heal, prove, storm
from tests.sim.history import History, Left, Logged
from tests.sim.scenario import Scenario, draw
from tests.sim.world import World

LONGEST_SECONDS = 6 * 3600.0
"""A run that takes longer hangs."""

GOODBYE_SECONDS = 5.0
"""After the last life, for upstreams to hear that their connections are closed."""


class _ErrorLog(logging.Handler):
    def __init__(self, history: History) -> None:
        super().__init__(logging.ERROR)
        self._history = history

    def emit(self, record: logging.LogRecord) -> None:
        raised = record.exc_info[1] if record.exc_info else None
        text = record.getMessage()
        self._history.add(Logged(trio.current_time(), text, repr(raised) if raised else ""))


@contextlib.contextmanager
def _deterministic(seed: int, history: History) -> Generator[None, None, None]:
    """No choice is left to anything but the seed; errors in the log are recorded."""
    rng = random.Random(f"{seed}/secrets")
    state, before = scheduler._r.getstate(), scheduler._ALLOW_DETERMINISTIC_SCHEDULING
    kept = {name: getattr(secrets, name) for name in ("token_hex", "token_bytes", "randbits")}
    setattr(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", True)  # noqa: B010 - it is Final
    scheduler._r.seed(seed)
    secrets.token_hex = lambda size=32: rng.randbytes(size or 32).hex()
    secrets.token_bytes = lambda size=32: rng.randbytes(size or 32)
    secrets.randbits = rng.getrandbits
    handler = _ErrorLog(history)
    root = logging.getLogger()
    level = root.level  # a reload may change it
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        for name, function in kept.items():
            setattr(secrets, name, function)
        scheduler._r.setstate(state)
        setattr(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", before)  # noqa: B010


def simulate(seed: int, scenario: Scenario | None = None) -> History:
    """One whole run."""
    history = History(seed)
    with _deterministic(seed, history):
        clock = trio.testing.MockClock(autojump_threshold=0)
        trio.run(_day, scenario or draw(seed), history, clock=clock)
    return history


async def _day(scenario: Scenario, history: History) -> None:
    async with trio.open_nursery() as nursery:
        overdue()  # these tasks are the whole run's, whoever asks for them first
        turnstile()
        before = _tasks()
        world = World(scenario, history, nursery)
        async with trio.open_nursery() as program:
            program.cancel_scope.deadline = LONGEST_SECONDS
            program.start_soon(world.lives)
            await storm(world)
            await heal(world)
            await prove(world)
            world.stop()
        assert trio.current_time() < LONGEST_SECONDS, "the run came to no end"
        await trio.sleep(GOODBYE_SECONDS)
        now = trio.current_time()
        history.hours = now / 3600
        world.read_the_logs()
        for upstream in world.upstreams:
            history.add(Left(now, f"connections at {upstream.host}", upstream.open_connections))
            history.add(Left(now, "script errors", len(upstream.script_errors)))
        history.add(Left(now, "tasks", _tasks() - before))


def _tasks() -> int:
    """Of the whole run, those of trio itself included."""
    waiting = [trio.lowlevel.current_root_task()]
    count = 0
    while waiting:
        task = waiting.pop()
        if task is not None:
            count += 1
            waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return count
