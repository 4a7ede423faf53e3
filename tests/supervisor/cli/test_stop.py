"""`supervisor stop` ends the running instance, and comes back when it has ended."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from pathlib import Path

import pytest

from supervisor import instance
from tests.supervisor.cli.conftest import Invoke, Start
from tests.supervisor.stub_instance import process_holding, stub_instance


def test_the_instance_is_asked_to_drain_and_has_ended_when_it_returns(
    state_dir: Path, start: Start
) -> None:
    with process_holding(state_dir) as process:
        done = start("stop")
        assert (done.returncode, done.stdout) == (0, "stopped\n")
        assert f"(pid {process.pid}), requests in flight may end first ..." in done.stderr
        assert not instance.held(state_dir)
        assert process.wait(10) == 0


def test_one_that_refuses_to_drain_gets_a_signal(state_dir: Path, start: Start) -> None:
    with process_holding(state_dir, "deaf") as process:
        assert start("stop").returncode == 0
        assert process.wait(10) == 0


def test_without_an_instance_it_says_what_to_do(state_dir: Path, invoke: Invoke) -> None:
    done = invoke("stop")
    assert done.exit_code == 69
    assert "nothing is running" in done.stderr
    assert "SUPERVISOR_STATE_DIR" in done.stderr


def test_a_pid_in_a_file_without_a_held_lock_is_left_alone(state_dir: Path, invoke: Invoke) -> None:
    bystander = subprocess.Popen(["sleep", "30"])
    try:
        state_dir.mkdir(parents=True)
        (state_dir / "instance.json").write_text(
            f'{{"pid": {bystander.pid}, "host": "127.0.0.1", "port": 1, "started_at": "",'
            ' "id": "x", "version": ""}'
        )
        (state_dir / "instance.lock").touch()
        assert invoke("stop").exit_code == 69
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_one_that_does_not_end_in_time_is_named(state_dir: Path, invoke: Invoke) -> None:
    with stub_instance(state_dir) as server:
        done = invoke("stop", "--timeout", "0.3")
        assert [line[:2] for line in server.seen].count(("POST", "/status/drain")) == 1
    assert done.exit_code == 1
    assert f"kill -9 {os.getpid()}" in done.stderr


def test_a_silent_holder_of_the_lock_is_waited_for(state_dir: Path, invoke: Invoke) -> None:
    lock = instance.acquire(state_dir)
    timer = threading.Timer(0.3, lock.release)
    timer.start()
    done = invoke("stop", "--timeout", "10")
    timer.join()
    assert (done.exit_code, done.stdout) == (0, "stopped\n")


def test_a_silent_holder_that_stays_is_not_touched(state_dir: Path, invoke: Invoke) -> None:
    with instance.acquire(state_dir):
        done = invoke("stop", "--timeout", "0.2")
    assert done.exit_code == 69
    assert "did not answer" in done.stderr


def test_one_that_was_starting_is_stopped_as_soon_as_it_answers(
    state_dir: Path, invoke: Invoke
) -> None:
    with stub_instance(state_dir) as server:
        live = server.answers.pop(("GET", "/health/live"))

        def become_ready() -> None:
            server.answers["GET", "/health/live"] = live

        timer = threading.Timer(0.3, become_ready)
        timer.start()
        invoke("stop", "--timeout", "2")
        timer.join()
        assert server.drained.is_set()


def test_a_successor_is_not_waited_for(state_dir: Path, invoke: Invoke) -> None:
    with stub_instance(state_dir) as server:
        found = instance.read(state_dir)
        assert found is not None

        def restart() -> None:
            server.drained.wait(10)
            successor = re.sub(r'"id": "\w+"', '"id": "next"', file.read_text())
            file.write_text(successor)

        file = state_dir / "instance.json"
        thread = threading.Thread(target=restart)
        thread.start()
        done = invoke("stop", "--timeout", "10")
        thread.join()
    assert (done.exit_code, done.stdout) == (0, "stopped\n")


def test_it_waits_for_as_long_as_the_configuration_lets_requests_end(
    state_dir: Path, tmp_path: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[server]\ndrain_seconds = 0\n")
    monkeypatch.setattr("supervisor.cli.stop.AFTER_THE_DRAIN_SECONDS", 0.2)
    with stub_instance(state_dir, config=str(file)):
        done = invoke("stop")
    assert done.exit_code == 1
    assert "still runs after 0 s" in done.stderr


def test_a_negative_timeout_is_a_usage_error(invoke: Invoke) -> None:
    assert invoke("stop", "--timeout", "-1").exit_code == 2
