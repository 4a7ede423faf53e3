"""The keeper with workers made of a few lines; real ones are in `tests/e2e`."""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from protocol.keeping import RestartLimit
from supervisor import keeper as keeper_module
from supervisor import starting
from supervisor.keeper import Keeper
from supervisor.keeper_plan import Client, Plan
from supervisor.kept_worker import KeptWorker, how_it_ended

WORKER = """
import json, os, signal, socket, sys, time
line = socket.socket(fileno=int(sys.argv[-1]))
heard = line.makefile("r")
letter = json.loads(heard.readline())
def say(word): line.sendall(word.encode() + b"\\n")
def serve(): say("beat"); say("ready there")
"""

STOPS = WORKER + "serve()\nassert heard.readline() == 'stop\\n'\nsay('draining 0.1')\nsys.exit(0)"
QUICK = RestartLimit(backoff=0.01, maximum=0.02)


class Restored:
    messages = ("told",)

    def __init__(self, pending: bool, changed: bool = True) -> None:
        self.pending = pending
        self.changed = ("settings",) if changed else ()


class Kept:
    """A keeper in this thread, and what it did, in order."""

    def __init__(self, listening: socket.socket) -> None:
        self.listening = listening
        self.did: list[str] = []
        self.times: dict[str, float] = {}
        self.pending = False
        self.changed = True

    def run(
        self,
        worker: str,
        *,
        on_ready: Callable[[], object] = int,
        limit: RestartLimit = QUICK,
        restore_after: float = 100.0,
        stops_on_hang_up: bool = False,
        drain_seconds: float = 0.1,
        release_after: float = 0.2,
    ) -> int:
        plan = Plan(
            command=(sys.executable, "-I", "-S", "-c", worker),
            letter={"told": "this"},
            descriptors=(self.listening.fileno(),),
            drain_seconds=drain_seconds,
            restore_after=restore_after,
            release_after=release_after,
            stops_on_hang_up=stops_on_hang_up,
            limit=limit,
        )

        def announce(told: str) -> None:
            assert told == "there"
            self._do("announce")
            on_ready()

        client = Client(lambda: self._step("restore"), lambda: self._step("finish"))
        return Keeper(plan, self.listening, client, announce).run()

    def _do(self, what: str) -> None:
        self.did.append(what)
        self.times[what] = time.monotonic()

    def _step(self, what: str) -> Restored:
        self._do(what)
        return Restored(self.pending and what == "restore", self.changed)


@pytest.fixture
def kept() -> Iterator[Kept]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield Kept(listening)


def send(number: signal.Signals, *, after: float = 0.0) -> Callable[[], None]:
    """What sends it to this process, from another thread."""

    def later() -> None:
        threading.Timer(after, os.kill, [os.getpid(), number]).start()

    return later


@pytest.mark.parametrize("code", [0, 70, 73, 77, 78])
def test_a_code_that_no_restart_betters_ends_the_program_with_it(kept: Kept, code: int) -> None:
    assert kept.run(WORKER + f"serve()\nsys.exit({code})") == code
    assert kept.did == ["announce", "restore"]
    assert kept.listening.fileno() == -1, "closed"


@pytest.mark.parametrize(
    "end", ["sys.exit(1)", "sys.exit(2)", "sys.exit(71)", "os.kill(os.getpid(), 9)", "os.abort()"]
)
def test_any_other_end_is_replaced_and_announced_once(kept: Kept, end: str, tmp_path: Path) -> None:
    """In its second life it stops."""
    worker = f"{WORKER}serve()\nif letter['life'] == 1: {end}\nsys.exit(0)"
    assert kept.run(worker) == 0
    assert kept.did == ["announce", "restore"]


@pytest.mark.promise("A3")
def test_a_worker_that_ends_again_and_again_is_given_up_with_70_without_a_busy_loop(
    kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    began, used = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_utime
    assert kept.run(WORKER + "sys.exit(1)", limit=RestartLimit(backoff=0.03)) == 70
    spent = time.monotonic() - began
    assert 0.9 < spent < 9.0, "0.03 + 0.06 + 0.12 + 0.24 + 0.48 s, and six starts"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - used < 0.05 * spent
    said = [record.getMessage() for record in caplog.records if record.levelname == "CRITICAL"]
    assert len(said) == 1
    assert "more than 5 of them ended within 60 s" in said[0]
    assert kept.did == ["restore"]
    assert len(caplog.records) <= 8


def test_a_command_that_cannot_be_started_is_given_up_as_well(kept: Kept) -> None:
    plan = Plan(("/nowhere/python",), {}, (), 1.0, 100.0, 1.0, False, QUICK)
    client = Client(lambda: Restored(False), lambda: Restored(False))
    assert Keeper(plan, kept.listening, client, str).run() == 70


def test_the_settings_are_put_back_once_when_nobody_serves_for_long_and_then_finished(
    kept: Kept,
) -> None:
    kept.pending = True
    worker = WORKER + "time.sleep(1.5)\nsys.exit(0)"
    began = time.monotonic()
    assert kept.run(worker, restore_after=0.3) == 0
    assert kept.did == ["restore", "finish", "restore", "finish"], "and again at the end"
    assert kept.times["restore"] - began > 1.0


def test_who_serves_again_in_time_is_not_pointed_away_from(kept: Kept) -> None:
    worker = WORKER + "serve()\nif letter['life'] == 1: sys.exit(1)\ntime.sleep(1)\nsys.exit(0)"
    assert kept.run(worker, restore_after=0.6) == 0
    assert kept.did == ["announce", "restore"], "at the end alone"


def test_a_worker_that_serves_after_the_settings_were_put_back_is_told_to_point_again(
    kept: Kept,
) -> None:
    kept.pending = True
    worker = WORKER + (
        "time.sleep(0.5)\nserve()\nassert heard.readline() == 'point-again\\n'\n"
        "time.sleep(0.5)\nos._exit(0)"
    )
    assert kept.run(worker, restore_after=0.35, release_after=4) == 0
    assert kept.did == ["restore", "announce", "restore", "finish"], "the first is not finished"


def test_where_nothing_was_put_back_nobody_is_pointed_again(kept: Kept) -> None:
    """Somebody may have decided against it while the worker served."""
    kept.changed = False
    worker = WORKER + (
        "time.sleep(0.5)\nserve()\nline.settimeout(0.5)\n"
        "try: sys.exit(77 if heard.readline() else 78)\n"
        "except OSError: sys.exit(0)"
    )
    assert kept.run(worker, restore_after=0.2) == 0
    assert kept.did == ["restore", "announce", "restore"]


def test_a_second_signal_while_the_second_step_waits_does_it_at_once(kept: Kept) -> None:
    kept.pending = True
    send(signal.SIGTERM, after=1.0)()
    send(signal.SIGTERM, after=1.5)()
    began = time.monotonic()
    worker = WORKER + "serve()\nsys.exit(70)"
    assert kept.run(worker, release_after=60) == 70
    assert kept.did == ["announce", "restore", "finish"]
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_handed_on_and_the_port_is_closed_first(
    kept: Kept, number: signal.Signals
) -> None:
    assert kept.run(STOPS, on_ready=send(number)) == 0
    assert kept.did == ["announce", "restore"]


def test_a_hang_up_reloads_or_stops(kept: Kept) -> None:
    reloads = WORKER + "serve()\nsys.exit(0 if heard.readline() == 'reload\\n' else 3)"
    assert kept.run(reloads, on_ready=send(signal.SIGHUP)) == 0


def test_a_hang_up_stops_where_a_terminal_is_attached(kept: Kept) -> None:
    assert kept.run(STOPS, on_ready=send(signal.SIGHUP), stops_on_hang_up=True) == 0


def test_a_signal_before_the_worker_hears_anything_ends_it(kept: Kept) -> None:
    send(signal.SIGTERM, after=0.2)()
    began = time.monotonic()
    assert kept.run("import time; time.sleep(60)", drain_seconds=30) == 0
    assert time.monotonic() - began < 8
    assert kept.did == ["restore"]


def test_a_signal_while_there_is_no_worker_ends_at_once(kept: Kept) -> None:
    slow = RestartLimit(backoff=30, maximum=30)
    send(signal.SIGTERM, after=0.6)()
    began = time.monotonic()
    assert kept.run(WORKER + "sys.exit(1)", limit=slow) == 0
    assert time.monotonic() - began < 8


HANGS = (
    WORKER + "signal.signal(15, signal.SIG_IGN)\nserve()\nwhile True: say('beat'); time.sleep(.05)"
)


def test_a_second_signal_ends_a_worker_that_does_not_stop(kept: Kept) -> None:
    def twice() -> None:
        send(signal.SIGINT)()
        send(signal.SIGINT, after=0.2)()

    began = time.monotonic()
    assert kept.run(HANGS, on_ready=twice, drain_seconds=30) == 0
    assert time.monotonic() - began < 8


def test_a_worker_that_does_not_stop_in_time_is_ended_and_that_is_a_failure(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "AFTER_THE_DRAIN_SECONDS", 0.2)
    assert kept.run(HANGS, on_ready=send(signal.SIGTERM)) == 1
    assert kept.did == ["announce", "restore"]


def test_a_second_signal_does_not_wait_for_the_second_step(kept: Kept) -> None:
    kept.pending = True

    def twice() -> None:
        send(signal.SIGTERM)()
        send(signal.SIGTERM, after=0.1)()

    worker = STOPS.replace("sys.exit(0)", "time.sleep(0.3); sys.exit(0)")
    assert kept.run(worker, on_ready=twice, release_after=60) == 0
    assert kept.did == ["announce", "restore", "finish"]
    assert kept.times["finish"] - kept.times["restore"] < 15


def test_a_worker_that_drains_by_itself_has_the_port_closed_for_it(kept: Kept) -> None:
    """What a client that connects then would wait for never comes."""
    port = kept.listening.getsockname()[1]
    worker = (
        WORKER
        + f"""
os.close({kept.listening.fileno()})
serve(); say('draining 5')
for _ in range(100):
    try: socket.create_connection(("127.0.0.1", {port})).close()
    except ConnectionRefusedError: sys.exit(0)
    time.sleep(0.02)
sys.exit(78)
"""
    )
    assert kept.run(worker) == 0


def test_a_service_manager_that_signals_both_processes_has_asked_once(kept: Kept) -> None:
    """The worker may be faster to say that it drains."""
    worker = WORKER + (
        "serve(); say('draining 5')\nos.kill(os.getppid(), 15)\n"
        "line.settimeout(0.5)\n"
        "try: sys.exit(3 if 'at-once' in heard.readline() else 0)\n"
        "except OSError: sys.exit(0)"
    )
    assert kept.run(worker) == 0


def test_a_silent_worker_is_replaced(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeper_module, "SILENCE_SECONDS", 0.5)
    worker = WORKER + "serve()\nif letter['life'] == 1: time.sleep(60)\nsys.exit(0)"
    assert kept.run(worker) == 0
    assert "is stuck" in caplog.text


def test_a_worker_that_beats_is_not_taken_for_a_silent_one(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeper_module, "SILENCE_SECONDS", 0.5)
    worker = WORKER + "serve()\nfor _ in range(15): say('beat'); time.sleep(0.1)\nsys.exit(0)"
    assert kept.run(worker) == 0
    assert "is stuck" not in caplog.text


def test_settings_that_fail_to_be_put_back_do_not_keep_the_program(kept: Kept) -> None:
    def fail() -> Restored:
        raise RuntimeError("what nobody foresaw")

    plan = Plan((sys.executable, "-c", "raise SystemExit(70)"), {}, (), 1.0, 9.0, 1.0, False)
    assert Keeper(plan, kept.listening, Client(fail, fail), str).run() == 70


def test_the_signals_are_as_before_afterwards(kept: Kept) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGTSTP)
    before = [signal.getsignal(number) for number in numbers]
    kept.run(WORKER + "sys.exit(0)")
    assert [signal.getsignal(number) for number in numbers] == before


def test_nothing_of_the_letter_shows_in_the_process_list() -> None:
    command = (sys.executable, "-I", "-c", "import time; time.sleep(60)")
    worker = KeptWorker(command, {"told": "a-secret-thing"}, ())
    try:
        shown = Path(f"/proc/{worker.pid}/cmdline")
        if shown.exists():
            assert b"a-secret-thing" not in shown.read_bytes()
            assert os.getsid(worker.pid) == worker.pid, "what a terminal sends does not reach it"
    finally:
        worker.bury()
    assert worker.exit_code() == -signal.SIGKILL


def test_how_a_worker_ended_is_said_in_words() -> None:
    assert how_it_ended(3) == "ended with code 3"
    assert how_it_ended(-9) == "was killed by SIGKILL"
    assert how_it_ended(-250) == "was killed by signal 250"


def test_nohup_is_honoured_where_a_terminal_is_attached(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, attached = os.openpty()
    try:
        with os.fdopen(attached, "rb", buffering=0) as stream:
            monkeypatch.setattr(sys, "stdin", stream)
            assert starting.stops_on_hang_up()
            before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
            try:
                assert not starting.stops_on_hang_up()
            finally:
                signal.signal(signal.SIGHUP, before)
    finally:
        os.close(terminal)
