"""The process side that needs no process: exit codes, the guard, what a start refuses.

Signals, drains and reloads of real processes are in `tests/e2e`.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from supervisor import cannot_serve, certificate_pair, exit_codes, instance, starting, worker
from supervisor.cannot_serve import CannotServe
from supervisor.configuration import Loaded
from supervisor.elapsed_clock import ElapsedClock
from supervisor.guard import Guard
from supervisor.instance import AlreadyRunning, InstanceLock, StateDirectoryUnusable
from supervisor.options import RunOptions
from tests.kit.program import configured


@pytest.fixture(autouse=True)
def quiet_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What `run` sets up for a whole process is taken back."""
    root = logging.getLogger()
    handlers, level, raising = list(root.handlers), root.level, logging.raiseExceptions
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    yield
    logging.captureWarnings(False)
    root.handlers[:], logging.raiseExceptions = handlers, raising
    root.setLevel(level)


@pytest.fixture
def options(tmp_path: Path) -> RunOptions:
    return RunOptions(state_directory=tmp_path / "state", quiet=True)


def loaded(text: str = "[server]\nport = 0\n") -> Loaded:
    return Loaded(configured(text), None, {}, (), ())


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The codes with which the guard would have ended this process."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    return codes


def test_the_guard_ends_the_process_with_the_code_it_was_given(exits: list[int]) -> None:
    guard = Guard()
    guard.end_after(0.01, exit_codes.GAVE_UP)
    deadline = time.monotonic() + 10
    while not exits and time.monotonic() < deadline:
        time.sleep(0.01)
    assert exits == [exit_codes.GAVE_UP]


def test_a_dismissed_guard_does_nothing_however_long_its_time(exits: list[int]) -> None:
    guard = Guard()
    for seconds in (0.2, 365 * 86400.0, float("inf")):
        guard.end_after(seconds, 1)
    guard.dismiss()
    time.sleep(0.4)
    assert exits == []


@pytest.mark.promise("T1")
def test_the_program_runs_by_the_clock_that_goes_on_in_a_sleep(
    options: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks: list[trio.abc.Clock] = []

    async def look(self: worker.Worker) -> int:
        clocks.append(trio.lowlevel.current_clock())
        return exit_codes.FAILED

    monkeypatch.setattr(worker.Worker, "main", look)
    assert worker.run(loaded(), options, {}) == exit_codes.FAILED
    assert [type(clock) for clock in clocks] == [ElapsedClock]


def test_a_program_that_fails_in_a_way_nobody_foresaw_says_so_in_one_line_and_lets_go(
    options: RunOptions, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(self: worker.Worker) -> int:
        raise RuntimeError("with a key: sk-ant-api03-abcdefgh")

    monkeypatch.setattr(worker.Worker, "main", fail)
    assert worker.run(loaded(), options, {}) == exit_codes.FAILED
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "CRITICAL" in said
    assert "RuntimeError" in said
    assert "abcdefgh" not in said
    assert not instance.held(options.state_directory)


def test_a_held_state_directory_is_the_callers_to_tell(
    options: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire = instance.acquire
    monkeypatch.setattr(instance, "acquire", lambda directory: acquire(directory, patience=0))
    with acquire(options.state_directory), pytest.raises(AlreadyRunning):
        worker.run(loaded(), options, {})


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_an_instance_file_that_may_not_be_written_stops_the_start(
    options: RunOptions, monkeypatch: pytest.MonkeyPatch, number: int, exits: list[int]
) -> None:
    def refuse(self: InstanceLock, told: instance.Instance) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(InstanceLock, "publish", refuse)
    with pytest.raises(StateDirectoryUnusable, match="state directory"):
        worker.run(loaded(), options, {})
    assert not instance.held(options.state_directory)
    assert exits == []


def test_a_taken_port_is_73_and_the_state_directory_is_free_again(
    options: RunOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code = worker.run(loaded(f"[server]\nport = {port}\n"), options, {})
    assert code == exit_codes.TAKEN
    assert "--port" in capsys.readouterr().err
    assert not instance.held(options.state_directory)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.EADDRINUSE, exit_codes.TAKEN),
        (errno.EACCES, exit_codes.PERMISSION),
        (errno.EPERM, exit_codes.PERMISSION),
        (errno.EADDRNOTAVAIL, exit_codes.CONFIGURATION),
        (socket.EAI_NONAME, exit_codes.CONFIGURATION),
    ],
)
def test_each_reason_not_to_listen_has_its_code_and_says_what_to_do(
    number: int, code: int, options: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(host: str, port: int) -> socket.socket:
        raise OSError(number, "a reason")

    monkeypatch.setattr(cannot_serve, "listen", refuse)
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    assert worker.run(loaded(), options, {}) == code
    assert "127.0.0.1:0" in said.getvalue()
    assert "--port" in said.getvalue() or "--host" in said.getvalue()


def test_a_terminal_is_seen_wherever_it_is_attached_and_a_closed_stream_is_none() -> None:
    terminal, slave = os.openpty()
    with os.fdopen(terminal, "rb"), os.fdopen(slave, "rb") as attached:
        assert starting._is_terminal(attached)
    assert not starting._is_terminal(attached), "closed"
    assert not starting._is_terminal(None)
    assert not starting._is_terminal(io.StringIO())


def test_without_a_certificate_there_is_no_tls() -> None:
    assert certificate_pair.server_pair(configured("")) is None


def test_a_certificate_that_is_none_is_78(tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("no certificate")
    text = f'[server]\ntls_certificate = "{nonsense}"\ntls_key = "{nonsense}"\n'
    with pytest.raises(CannotServe, match=r"server\.tls_key") as caught:
        certificate_pair.server_pair(configured(text))
    assert caught.value.code == exit_codes.CONFIGURATION
