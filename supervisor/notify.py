"""Telling the service manager how things stand: sd_notify(3). Standard library only.

A datagram each, to the socket that `NOTIFY_SOCKET` names. Without one nothing is said.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import MutableMapping

_PER_INTERVAL = 3
"""So often within the time after which systemd takes silence for death: one that is lost, or late
on a busy machine, does no harm."""


class Notifier:
    """`interval`: seconds after which silence is taken for death; 0: nobody watches."""

    def __init__(self, address: str = "", interval: float = 0.0) -> None:
        self._address = address
        self._pause = interval / _PER_INTERVAL
        self._next = 0.0

    def ready(self, status: str) -> None:
        """It serves. `status` is one line for people."""
        line = status.replace("\n", " ")
        self._say(f"READY=1\nMAINPID={os.getpid()}\nSTATUS={line}")

    def stopping(self) -> None:
        """It has begun to stop."""
        self._say("STOPPING=1\nSTATUS=stopping")

    def alive(self, now: float) -> None:
        """It works; call it as often as you like. `now` in seconds of any clock."""
        if self._pause and now >= self._next:
            self._next = now + self._pause
            self._say("WATCHDOG=1")

    def _say(self, text: str) -> None:
        if not self._address:
            return
        # Never waits, never fails: a service manager that is away must not end what serves.
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as telling,
        ):
            telling.setblocking(False)
            telling.sendto(text.encode(), self._address)


def taken_from(environ: MutableMapping[str, str]) -> Notifier:
    """The notifier of this process. Takes its variables away, so that no child speaks for us."""
    address = environ.pop("NOTIFY_SOCKET", "")
    microseconds = environ.pop("WATCHDOG_USEC", "")
    watched = environ.pop("WATCHDOG_PID", "")
    if not address.startswith(("/", "@")):  # neither a path nor an abstract name
        return Notifier()
    interval = int(microseconds) / 1e6 if microseconds.isdigit() else 0.0
    if watched not in ("", str(os.getpid())):
        interval = 0.0
    return Notifier(address.replace("@", "\0", 1) if address[0] == "@" else address, interval)
