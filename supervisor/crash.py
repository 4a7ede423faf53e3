"""From an exception to a crash report: one line each, bounded, no credentials."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from types import FrameType

import trio

from protocol.secrets import scrub
from protocol.status import CrashReport

TEXT_MAX = 300
"""Characters of a message. The first lines of an exception say what happened; a request body quoted
by one must not fill the log."""

OUR_PACKAGES = frozenset({"actors", "protocol", "server", "supervisor"})
_LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))


class Stuck(Exception):
    """The supervisor's verdict on an actor that leaves its messages lying."""


class StartTimeout(Exception):
    """The supervisor's verdict on an actor that did not become ready in time."""


class UnexpectedEnd(Exception):
    """A permanent actor ended although nobody asked it to."""


class Unstoppable(Exception):
    """An actor went on although it was cancelled, and had to be given up."""


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions inside `error`, which may be a group of groups, or just itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def crash_report(
    actor: str,
    incarnation: int,
    error: Exception,
    *,
    at: float,
    where: str = "",
    while_handling: str | None = None,
) -> CrashReport:
    """Of a group of exceptions the first is reported, and how many there are. `at` is Unix time."""
    first, *others = leaves(error)
    message = _text_of(first)
    if others:
        message = f"{message[: TEXT_MAX - 30]} (the first of {1 + len(others)} exceptions)"
    return CrashReport(
        actor=actor,
        incarnation=incarnation,
        at=datetime.fromtimestamp(at, UTC),
        type=type(first).__name__,
        message=message,
        where=where or place_of(first) or place_of(error),
        while_handling=while_handling,
    )


def place_of(error: BaseException) -> str:
    """`file.py:line in function` of the innermost frame of our own code in its traceback."""
    return _place(traceback.walk_tb(error.__traceback__))


def place_of_task(task: trio.lowlevel.Task) -> str:
    """The same for where a task waits right now."""
    return _place(task.iter_await_frames())


def _place(frames: Iterable[tuple[FrameType, int]]) -> str:
    place = ""
    for frame, line in frames:
        code = frame.f_code
        if _is_ours(frame) or not place:
            place = f"{code.co_filename.rpartition('/')[2]}:{line} in {code.co_name}"
    return one_line(place)


def _is_ours(frame: FrameType) -> bool:
    # By name first: an installed copy of our packages lies among the libraries.
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return package in OUR_PACKAGES or not frame.f_code.co_filename.startswith(_LIBRARIES)


def _text_of(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an exception that cannot be printed must not crash the report
        text = "(its text cannot be printed)"
    return one_line(text)


def one_line(text: str) -> str:
    """`text` without credentials, line breaks and control characters, of at most `TEXT_MAX`."""
    # Scrubbed before it is cut: half of a credential would not be recognised any more.
    printable = (letter if letter.isprintable() else " " for letter in scrub(text))
    flat = " ".join("".join(printable).split())
    return flat if len(flat) <= TEXT_MAX else flat[: TEXT_MAX - 1] + "…"
