"""The program's own log lines, on stderr: one event, one line, no credentials."""

from __future__ import annotations

import logging
import sys
import threading

from protocol.request_line import CONTROL_CHARACTERS
from protocol.secrets import scrub

log = logging.getLogger("supervisor")

# They log requests and headers at lower levels, in words that are not ours to check.
_QUIETENED = ("httpx", "httpcore", "hypercorn", "hypercorn.error", "hypercorn.access", "quart")


class OneLine(logging.Formatter):
    """A record as one line: a traceback is folded into it, credentials are masked."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its newline."""
        text = super().format(record).replace("\n", " | ")
        return scrub(text).translate(CONTROL_CHARACTERS)


def configure(level: str) -> None:
    """Sets up the root logger; `level` as in [logs]. From here on nothing writes past it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(level)
    for name in _QUIETENED:
        logging.getLogger(name).setLevel(logging.WARNING)
    # A traceback that Python prints by itself has many lines, and masks no credential.
    logging.raiseExceptions = False
    logging.captureWarnings(True)
    sys.unraisablehook = _unraisable
    threading.excepthook = _in_a_thread


def set_level(level: str) -> None:
    """`level` as in [logs]."""
    logging.getLogger().setLevel(level.upper())


def _unraisable(told: sys.UnraisableHookArgs) -> None:
    log.error("%s: %r", told.err_msg or "an exception that nobody can catch", told.exc_value)


def _in_a_thread(told: threading.ExceptHookArgs) -> None:
    log.error("a thread ended by an exception: %r", told.exc_value)
