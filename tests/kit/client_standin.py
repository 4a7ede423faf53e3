"""Stands in for a client's settings: a history in the state directory of who pointed it, and when.

One line for each change: what (`point`, `restore`, `finish`), when (monotonic, which processes of
one machine share), and the process that did it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from supervisor import program, starting
from supervisor.child import ChildSpec, GroupSpec
from tests.kit.spoilt import spoilt

HISTORY = "client-history.txt"


class Change(msgspec.Struct, frozen=True):
    """One line."""

    what: str
    at: float
    pid: int


class Restored(msgspec.Struct, frozen=True):
    """What the keeper is answered."""

    messages: tuple[str, ...] = ()
    pending: bool = False
    changed: tuple[str, ...] = ()


def history(state: Path) -> list[Change]:
    """Everything that was done so far."""
    try:
        lines = (state / HISTORY).read_text().splitlines()
    except FileNotFoundError:
        return []
    return [Change(what, float(at), int(pid)) for what, at, pid in map(str.split, lines)]


def pointed(state: Path) -> bool:
    """Whether the client was last pointed at the program."""
    changes = history(state)
    return bool(changes) and changes[-1].what == "point"


def write(state: Path, what: str) -> None:
    """One more change."""
    with (state / HISTORY).open("a") as file:
        file.write(f"{what} {time.monotonic()} {os.getpid()}\n")


def restore(state: Path, *, pending: bool = False) -> Restored:
    """As the real one: may be done again, and does nothing then."""
    if not pointed(state):
        return Restored(pending=pending)
    write(state, "restore")
    return Restored(pending=pending, changed=("settings",))


def finish(state: Path) -> Restored:
    """The second step."""
    write(state, "finish")
    return Restored()


def in_the_keeper(*, pending: bool = False) -> None:
    """Puts the stand-in where the real one would be called."""
    starting.restore = lambda state, **_: restore(state, pending=pending)
    starting.finish = finish


def in_the_worker() -> None:
    """An actor in the place of the guard: points when everybody is there, restores first."""
    original: Callable[..., tuple[GroupSpec, ...]] = program.tree

    def with_guard(parts: Any, *more: Any) -> tuple[GroupSpec, ...]:
        state = parts.state_directory
        parts.clients = None

        async def guard(context: Any) -> None:
            parts.point_again = lambda: write(state, "point")
            write(state, "point")
            context.ready()
            await context.stopping.wait()
            restore(state)

        *others, last = original(parts, *more)
        assert last.children == (), "the guard stands last in the tree"
        child = ChildSpec("settings-guard", guard)
        return (*others, GroupSpec(last.name, "one_for_one", (child,)))

    program.tree = with_guard


KEEPER = "from tests.kit import client_standin; client_standin.in_the_keeper()"
WORKER = "from tests.kit import client_standin; client_standin.in_the_worker()"


def with_client(keeper: str = "", worker: str = "") -> tuple[str, ...]:
    """The `command` of a program with such a client, and more source for either process."""
    return spoilt(f"{WORKER}\n{worker}", keeper=f"{KEEPER}\n{keeper}")
