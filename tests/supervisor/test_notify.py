"""sd_notify over a real socket: what a service manager hears, and that it can never do harm."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.notify import Notifier, taken_from


class Listener:
    """The other end."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(5)

    def hears(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.socket.recv(4096).decode().splitlines())

    def silent(self) -> bool:
        self.socket.setblocking(False)
        try:
            self.socket.recv(4096)
        except BlockingIOError:
            return True
        return False


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    listener = Listener(str(tmp_path / "notify"))
    with listener.socket:
        yield listener


def _environ(listener: Listener, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": listener.socket.getsockname(), "PATH": "/bin", **more}


def test_readiness_names_the_process_and_says_one_line(listener: Listener) -> None:
    taken_from(_environ(listener)).ready("listening on x\nREADY=0")
    assert listener.hears() == {
        "READY": "1",
        "MAINPID": str(os.getpid()),
        "STATUS": "listening on x READY=0",
    }


def test_stopping_is_said(listener: Listener) -> None:
    taken_from(_environ(listener)).stopping()
    assert listener.hears()["STOPPING"] == "1"


def test_the_watchdog_is_told_three_times_in_its_interval_and_not_more(listener: Listener) -> None:
    notifier = taken_from(
        _environ(listener, WATCHDOG_USEC="30000000", WATCHDOG_PID=str(os.getpid()))
    )
    for now in range(60):
        notifier.alive(float(now))
    heard = [listener.hears() for _ in range(6)]
    assert heard == [{"WATCHDOG": "1"}] * 6
    assert listener.silent()


@pytest.mark.parametrize(
    "watched", [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}]
)
def test_nobody_is_told_where_nobody_watches_this_process(
    listener: Listener, watched: dict[str, str]
) -> None:
    notifier = taken_from(_environ(listener, **watched))
    notifier.alive(1e9)
    assert listener.silent()


def test_the_variables_are_taken_so_that_no_child_speaks_for_us(listener: Listener) -> None:
    environ = _environ(listener, WATCHDOG_USEC="1", WATCHDOG_PID="1")
    taken_from(environ)
    assert environ == {"PATH": "/bin"}


def test_an_abstract_address_is_one_too() -> None:
    name = f"supervisor-test-{os.getpid()}"
    listener = Listener(f"\0{name}")
    with listener.socket:
        taken_from({"NOTIFY_SOCKET": f"@{name}"}).ready("x")
        assert listener.hears()["READY"] == "1"


def test_a_service_manager_that_is_gone_or_full_or_not_one_does_no_harm(
    tmp_path: Path, listener: Listener
) -> None:
    for address in (str(tmp_path / "gone"), "vsock:2:1234", "", "relative"):
        taken_from({"NOTIFY_SOCKET": address}).ready("x")
    Notifier().alive(1.0)
    notifier = taken_from(_environ(listener))
    with contextlib.closing(listener.socket):
        for _ in range(2000):  # nobody reads: the socket's buffer is full long before
            notifier.stopping()
