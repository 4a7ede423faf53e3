"""After every test: no descriptor is left open, nobody waits at a mailbox, no ask is unanswered.

Tasks need no counting: a trio run ends when its last task has, and each test is a run of its own.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from pathlib import Path
from weakref import WeakSet

import pytest

from actors.mailbox import Mailbox

DESCRIPTORS = Path("/proc/self/fd")

_mailboxes: WeakSet[Mailbox[object]] = WeakSet()


def watch_mailboxes() -> None:
    """Remembers every mailbox that is made from here on, for as long as it lives."""
    begin = Mailbox.__init__

    def remembered(self: Mailbox[object], *given: object, **named: object) -> None:
        begin(self, *given, **named)  # type: ignore[arg-type]
        _mailboxes.add(self)

    Mailbox.__init__ = remembered  # type: ignore[method-assign, assignment]


def descriptors() -> dict[int, str]:
    """What this process has open, by number; nothing where the system does not tell."""
    found: dict[int, str] = {}
    if not DESCRIPTORS.is_dir():
        return found
    for entry in os.scandir(DESCRIPTORS):
        with contextlib.suppress(OSError):
            target = os.readlink(entry.path)  # noqa: PTH115 - it is called after every test
            if not target.endswith(f"/{os.getpid()}/fd"):  # the one that lists them
                found[int(entry.name)] = target
    return found


def left_behind(before: dict[int, str]) -> list[str]:
    """What is there now and was not `before`. Sockets and pipes have names of their own each, so a
    number that is used again is noticed, too."""
    now = descriptors()
    if len(now) > len(before):
        gc.collect()  # what only waits to be collected is not left behind
        now = descriptors()
    if len(now) <= len(before):
        return []
    return [f"descriptor {fd}: {target}" for fd, target in now.items() if before.get(fd) != target]


def close_as_the_kernel_would(before: dict[int, str]) -> None:
    """After a death that was only played: what it had open is closed, and counts as nobody's leak."""
    for number, target in descriptors().items():
        if before.get(number) != target:
            os.close(number)


def waiting_at_mailboxes() -> list[str]:
    """Senders that wait for room, and asks that were read and have neither answer nor asker."""
    found: list[str] = []
    for mailbox in list(_mailboxes):
        if mailbox._senders:
            found.append(f"{len(mailbox._senders)} senders wait at {mailbox.name}")
        held = () if mailbox.inbox is None else mailbox.inbox._open
        asked = [*held, *(envelope.reply for envelope in mailbox.queue if envelope.reply)]
        if any(reply.open for reply in asked):
            found.append(f"an asker waits at {mailbox.name}")
    return found


@pytest.fixture(autouse=True)
def leaves_nothing() -> Iterator[None]:
    """Fails the test that left something."""
    before = descriptors()
    yield
    left = [*left_behind(before), *waiting_at_mailboxes()]
    _mailboxes.clear()
    if left:
        pytest.fail("left behind: " + "; ".join(left), pytrace=False)
