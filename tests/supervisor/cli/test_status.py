"""`supervisor status` shows the running instance, or says what to do."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from supervisor import instance
from tests.supervisor.cli import sample_status
from tests.supervisor.cli.conftest import Invoke, Start
from tests.supervisor.stub_instance import StubServer, stub_instance


@pytest.fixture
def running(state_dir: Path) -> Iterator[StubServer]:
    with stub_instance(state_dir) as server:
        server.answers["GET", "/status"] = (200, sample_status.status(datetime.now(UTC)))
        server.answers["GET", "/status/requests"] = (200, {"requests": sample_status.requests()})
        yield server


def test_it_is_plain_and_whole_when_piped(running: StubServer, start: Start) -> None:
    done = start("status")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"http://127.0.0.1:{running.server_address[1]}  version 0.1.0")
    assert "\x1b" not in done.stdout
    assert "every account is cooling, the first is back in 2 min" in done.stdout
    assert all(line == line.rstrip() for line in done.stdout.splitlines())
    assert [line[1] for line in running.seen] == [
        "/health/live",
        "/status",
        "/status/requests?limit=10",
    ]


def test_the_columns_of_the_environment_are_kept_to(running: StubServer, start: Start) -> None:
    done = start("status", COLUMNS="80")
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "\nQuota\n" in done.stdout


def test_an_output_that_knows_only_ascii_gets_ascii(running: StubServer, start: Start) -> None:
    done = start("status", PYTHONIOENCODING="ascii", COLUMNS="80")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    assert "########--" in done.stdout


def test_json_is_the_answer_of_the_instance(running: StubServer, invoke: Invoke) -> None:
    answer = {**sample_status.status(), "new in a later version": ["ü", 1.5, None]}
    running.answers["GET", "/status"] = (200, answer)
    done = invoke("status", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == answer


def test_without_an_instance_it_says_what_to_do(state_dir: Path, start: Start) -> None:
    for arguments in (["status"], ["status", "--json"], ["status", "--watch"]):
        done = start(*arguments)
        assert (done.returncode, done.stdout) == (69, "")
        assert done.stderr.startswith(
            f"supervisor: nothing is running (state directory {state_dir})"
        )
        assert "supervisor run" in done.stderr
    assert not state_dir.exists()


def test_an_instance_that_does_not_answer_is_named(state_dir: Path, invoke: Invoke) -> None:
    with stub_instance(state_dir) as server:
        server.answers["GET", "/health/live"] = (503, {})
        done = invoke("status")
    assert done.exit_code == 69
    assert f"does not answer: pid {os.getpid()} at http://127.0.0.1" in done.stderr


def test_a_state_directory_that_may_not_be_read_is_77(
    state_dir: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(state_dir: Path) -> bool:
        raise instance.StateDirectoryUnusable(state_dir, PermissionError(13, "Permission denied"))

    monkeypatch.setattr("supervisor.instance.held", refuse)
    done = invoke("status")
    assert done.exit_code == 77
    assert str(state_dir) in done.stderr


def test_an_answer_in_an_unknown_form_is_not_a_traceback(
    running: StubServer, invoke: Invoke
) -> None:
    running.answers["GET", "/status"] = (200, {"accounts": "many"})
    done = invoke("status")
    assert done.exit_code == 1
    assert "status --json" in done.stderr


def test_the_token_is_taken_from_the_configuration_the_instance_was_started_with(
    state_dir: Path, tmp_path: Path, invoke: Invoke
) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[access]\ntoken = "hush-hush-hush"\n')
    file.chmod(0o600)
    with stub_instance(state_dir, token="hush-hush-hush", config=str(file)) as server:
        assert invoke("status").exit_code == 0
        # Only after the instance has shown who it is, and only when it asks for one.
        assert [line[2] for line in server.seen[:3]] == [None, None, "Bearer hush-hush-hush"]


def test_a_token_that_is_not_known_here_is_asked_for(state_dir: Path, invoke: Invoke) -> None:
    with stub_instance(state_dir, token="hush-hush-hush"):
        done = invoke("status")
        assert done.exit_code == 77
        assert "a token is needed (status 401)" in done.stderr
        assert "SUPERVISOR_ACCESS_TOKEN" in done.stderr


@pytest.mark.parametrize("broken", ["[server]\nport = -1\n", "no toml"])
def test_a_broken_file_keeps_nobody_out_who_has_the_token_or_the_owners_key(
    broken: str, tmp_path: Path, state_dir: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "supervisor.toml"
    file.write_text(broken)
    key = "llm-supervisor-0123456789abcdef"
    with stub_instance(state_dir, token=key, config=str(file)):
        assert invoke("status").exit_code == 77
        (state_dir / "client.key").write_text(f"{key}\n")
        assert invoke("status").exit_code == 0
        (state_dir / "client.key").unlink()
        monkeypatch.setenv("SUPERVISOR_ACCESS_TOKEN", key)
        assert invoke("status").exit_code == 0


def test_the_environment_can_give_the_token(
    state_dir: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPERVISOR_ACCESS_TOKEN", "hush-hush-hush")
    with stub_instance(state_dir, token="hush-hush-hush"):
        assert invoke("status").exit_code == 0


def test_json_and_watch_exclude_each_other(invoke: Invoke) -> None:
    assert invoke("status", "--json", "--watch").exit_code == 2


def test_a_reader_that_has_enough_is_not_answered_with_a_traceback(running: StubServer) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "supervisor", "status", "--watch"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    process.wait(10)
    process.stderr.close()


@contextmanager
def in_a_terminal(
    *arguments: str, columns: int = 120, rows: int = 50
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A command in a window of its own: its other end, and the process."""
    # Left by a library that asked the test's own terminal, where it counts for more than the window.
    environment = {name: value for name, value in os.environ.items() if name != "LINES"}
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "supervisor", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**environment, "TERM": "xterm"},
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield ours, process
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(terminal: int, wanted: Callable[[str], bool]) -> str:
    text = ""
    deadline = time.monotonic() + 20
    while not wanted(text):
        assert time.monotonic() < deadline, text
        try:
            text += os.read(terminal, 65536).decode(errors="replace")
        except OSError:  # the other end was closed
            assert wanted(text), text
    return text


def test_a_terminal_gets_colours_unless_it_wants_none(
    running: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with in_a_terminal("status") as (terminal, process):
        text = read_until(terminal, lambda text: "evil" in text)
        assert "\x1b[32mavailable" in text
        assert process.wait(10) == 0
    monkeypatch.setenv("NO_COLOR", "1")
    with in_a_terminal("status") as (terminal, _):
        text = read_until(terminal, lambda text: "evil" in text)
        assert "available" in text
        assert "\x1b[32m" not in text


@pytest.mark.slow
def test_watching_goes_on_through_a_restart_and_ends_with_0(state_dir: Path) -> None:
    with stub_instance(state_dir) as server:
        server.answers["GET", "/status"] = (200, {"version": "1.first"})
        with in_a_terminal("status", "--watch") as (terminal, process):
            read_until(terminal, lambda text: "1.first" in text)
            server.answers["GET", "/status"] = (200, {"version": "1.later"})
            read_until(terminal, lambda text: "1.later" in text)
            server.answers["GET", "/health/live"] = (503, {})
            read_until(terminal, lambda text: "Still looking" in text)
            server.answers["GET", "/status"] = (200, {"version": "2.second"})
            del server.answers["GET", "/health/live"]
            found = instance.read(state_dir)
            assert found is not None
            server.answers["GET", "/health/live"] = (200, {"instance": found.id})
            read_until(terminal, lambda text: "2.second" in text)
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0
            text = read_until(terminal, lambda text: "\x1b[?1049l" in text)
            assert "Traceback" not in text


def test_what_is_watched_has_the_last_requests_also_in_a_small_window(running: StubServer) -> None:
    many = [*sample_status.status()["actors"], *map(sample_status.actor, map(str, range(20)))]
    body = sample_status.status(actors=many)
    running.answers["GET", "/status"] = (200, body)
    with in_a_terminal("status", "--watch", rows=50) as (terminal, _):
        text = read_until(terminal, lambda text: "Last requests" in text)
        assert "22 of 23 running" in text
        assert "front-end" in text, "it is not running"
        assert "loop-lag" not in text
    with in_a_terminal("status", "--watch", rows=90) as (terminal, _):
        text = read_until(terminal, lambda text: "Last requests" in text)
        assert "22 of 23 running" not in text
