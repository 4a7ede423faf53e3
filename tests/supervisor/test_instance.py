"""One instance runs in a state directory, and everybody can tell which."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest

from supervisor import instance
from tests.supervisor.stub_instance import (
    STARTED_AT,
    process_holding,
    start_process,
    stub_instance,
)


def an_instance(**changes: object) -> instance.Instance:
    values: dict[str, object] = {
        "pid": os.getpid(),
        "host": "127.0.0.1",
        "port": 1,
        "started_at": STARTED_AT,
        "id": "0123",
        "version": "0.1.0",
    }
    return instance.Instance(**(values | changes))  # type: ignore[arg-type] # any field


def test_what_is_published_is_read_back_and_is_private(tmp_path: Path) -> None:
    with instance.acquire(tmp_path / "state") as lock:
        lock.publish(an_instance(config="/etc/config.toml"))
        file = tmp_path / "state" / "instance.json"
        assert instance.read(tmp_path / "state") == an_instance(config="/etc/config.toml")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_releasing_takes_the_file_back_and_lets_the_next_one_in(tmp_path: Path) -> None:
    lock = instance.acquire(tmp_path)
    lock.publish(an_instance())
    lock.release()
    lock.release()
    assert instance.read(tmp_path) is None
    assert not instance.held(tmp_path)
    instance.acquire(tmp_path, patience=0).release()


def test_a_second_release_does_not_take_back_what_a_successor_published(tmp_path: Path) -> None:
    first = instance.acquire(tmp_path)
    first.release()
    with instance.acquire(tmp_path, patience=0) as second:
        second.publish(an_instance())
        first.release()
        assert instance.held(tmp_path)
        assert instance.read(tmp_path) == an_instance()


def test_the_lock_is_held_until_it_is_released(tmp_path: Path) -> None:
    assert not instance.held(tmp_path)
    with instance.acquire(tmp_path):
        assert instance.held(tmp_path)
    assert not instance.held(tmp_path)


def test_looking_creates_nothing(tmp_path: Path) -> None:
    assert not instance.held(tmp_path / "missing")
    assert instance.running(tmp_path / "missing") is None
    assert instance.read(tmp_path / "missing") is None
    assert list(tmp_path.iterdir()) == []


def test_an_instance_that_answers_with_its_id_is_running(tmp_path: Path) -> None:
    with stub_instance(tmp_path):
        found = instance.running(tmp_path)
        assert found is not None
        assert found == instance.read(tmp_path)


def test_a_stranger_on_the_same_port_is_not_it(tmp_path: Path) -> None:
    with stub_instance(tmp_path) as server:
        for answer in ({"status": "ok", "instance": "other"}, {"status": "ok"}, ["x"], b"<html>"):
            server.answers["GET", "/health/live"] = (200, answer)
            assert instance.running(tmp_path) is None
        server.answers["GET", "/health/live"] = (503, {})
        assert instance.running(tmp_path) is None


def test_a_held_lock_without_an_answer_is_not_running(tmp_path: Path) -> None:
    with socket.socket() as closed, instance.acquire(tmp_path) as lock:
        closed.bind(("127.0.0.1", 0))
        lock.publish(an_instance(port=closed.getsockname()[1]))
        assert instance.running(tmp_path) is None


def test_a_file_left_by_a_dead_process_counts_for_nothing_even_where_its_port_answers(
    tmp_path: Path,
) -> None:
    with stub_instance(tmp_path / "alive"):
        left = (tmp_path / "alive" / "instance.json").read_bytes()
        (tmp_path / "dead").mkdir()
        (tmp_path / "dead" / "instance.json").write_bytes(left)
        assert instance.running(tmp_path / "dead") is None
        instance.acquire(tmp_path / "dead", patience=0).release()


def test_a_start_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    (tmp_path / "instance.json").write_bytes(
        b'{"pid":1,"host":"h","port":1,"started_at":"","id":"x","version":""}'
    )
    assert instance.read(tmp_path) is not None
    with instance.acquire(tmp_path):
        assert instance.read(tmp_path) is None


def test_an_unreadable_file_is_kept_aside(tmp_path: Path) -> None:
    (tmp_path / "instance.json").write_bytes(b"\xff not json")
    assert instance.read(tmp_path) is None
    with instance.acquire(tmp_path) as lock:
        lock.publish(an_instance())
    assert (tmp_path / "instance.json.unreadable").read_bytes() == b"\xff not json"


def test_a_second_start_is_told_who_runs(tmp_path: Path) -> None:
    with stub_instance(tmp_path) as server:
        begun = time.monotonic()
        with pytest.raises(instance.AlreadyRunning) as caught:
            instance.acquire(tmp_path)
        assert time.monotonic() - begun < instance.PATIENCE_SECONDS
        port = server.server_address[1]
        assert caught.value.instance == instance.read(tmp_path)
        assert f"pid {os.getpid()} at http://127.0.0.1:{port}" in str(caught.value)
        assert str(tmp_path) in str(caught.value)


def test_a_second_start_waits_for_one_that_is_letting_go(tmp_path: Path) -> None:
    first = instance.acquire(tmp_path)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            first.release()

    instance.acquire(tmp_path, sleep=sleep).release()
    assert len(slept) == 3


def test_a_start_gives_up_on_a_silent_holder_after_its_patience(tmp_path: Path) -> None:
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    with instance.acquire(tmp_path), pytest.raises(instance.AlreadyRunning) as caught:
        instance.acquire(tmp_path, patience=2.0, monotonic=lambda: now, sleep=sleep)
    assert caught.value.instance is None
    assert "starting or stopping" in str(caught.value)
    assert 2.0 <= now < 2.2


def test_somebody_looking_does_not_make_a_start_fail(tmp_path: Path) -> None:
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            instance.held(tmp_path)

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(20):
            instance.acquire(tmp_path).release()
    finally:
        over.set()
        for looker in lookers:
            looker.join()


def test_a_killed_process_no_longer_holds_the_lock(tmp_path: Path) -> None:
    with process_holding(tmp_path) as process:
        assert instance.running(tmp_path) is not None
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        assert (tmp_path / "instance.json").exists()
        assert instance.running(tmp_path) is None
        instance.acquire(tmp_path, patience=0).release()


def test_the_lock_does_not_leak_into_the_processes_that_a_holder_starts(tmp_path: Path) -> None:
    lock = instance.acquire(tmp_path)
    child = subprocess.Popen(["sleep", "30"], close_fds=False)
    try:
        lock.release()
        assert not instance.held(tmp_path)
    finally:
        child.kill()
        child.wait()


def test_of_several_starts_at_once_one_wins_and_the_others_name_it(tmp_path: Path) -> None:
    processes = [start_process(tmp_path) for _ in range(4)]
    try:
        deadline = time.monotonic() + 30
        while sum(process.poll() is not None for process in processes) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        winner = next(process for process in processes if process.poll() is None)
        losers = [process for process in processes if process is not winner]
        assert [process.returncode for process in losers] == [73, 73, 73]
        for process in losers:
            assert process.stdout is not None
            assert f"already running: pid {winner.pid} at http://" in process.stdout.read()
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_a_state_directory_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(instance.StateDirectoryUnusable, match=str(place)):
            instance.acquire(place)


def test_a_lock_that_may_not_be_opened_is_an_error_and_not_a_free_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(instance.StateDirectoryUnusable, match="Permission denied"):
        instance.held(tmp_path)


@pytest.mark.parametrize(
    ("host", "scheme", "url"),
    [
        ("127.0.0.1", "http", "http://127.0.0.1:80"),
        ("0.0.0.0", "http", "http://127.0.0.1:80"),
        ("::", "http", "http://[::1]:80"),
        ("[::1]", "https", "https://[::1]:80"),
        ("localhost", "https", "https://localhost:80"),
    ],
)
def test_a_client_is_given_an_address_it_can_connect_to(host: str, scheme: str, url: str) -> None:
    assert an_instance(host=host, scheme=scheme, port=80).url == url


def test_ids_are_never_the_same() -> None:
    assert len({instance.new_id() for _ in range(100)}) == 100
