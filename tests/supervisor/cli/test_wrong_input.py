"""Every command, where something stands that should not: a sentence, an exit code, no traceback."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from supervisor import exit_codes
from supervisor.cli import auth_place
from supervisor.cli.failure import Failure
from supervisor.log_files import log_files
from supervisor.plain_files import is_directory, is_there
from supervisor.purge import purge
from tests.kit.logins import store_file
from tests.supervisor.cli.conftest import Invoke
from tests.supervisor.stub_instance import stub_instance

LINES = [
    "check", "status", "usage", "logs", "explain nope", "statusline", "auth list", "auth status",
    "auth status nobody", "auth refresh work", "auth enable nobody", "auth remove nobody --yes",
    "auth cleanup --force", "auth add work", "keys list", "keys create --name x", "keys revoke nope",
    "keys delete nope --force", "reload", "client show", "client restore", "repair", "repair --if-dead",
    "doctor --offline --no-replay", "uninstall --purge --yes", "service status",
]  # fmt: skip

RAW = re.compile(
    r"Errno|Traceback|object at 0x|<class|[a-z]Error\b|NoneType|KeyError|embedded null"
)
KNOWN = {
    code
    for name, code in vars(exit_codes).items()
    if isinstance(code, int) and not name.startswith("_")
}


def looks_right(done: Any) -> None:
    """It ended as commands end, and what it said is for people."""
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code in KNOWN
    assert not RAW.search(done.output), done.output
    assert done.exit_code == 0 or done.output.strip()


def put(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    file.chmod(0o600)


def a_file_for_the_state_directory(state: Path) -> None:
    put(state, b"")


def a_loop_for_the_state_directory(state: Path) -> None:
    state.parent.mkdir(parents=True, exist_ok=True)
    state.symlink_to(state)


def directories_for_files(state: Path) -> None:
    for name in ("accounts", "keys", "logins", "quota", "client", "instance"):
        (state / f"{name}.json").mkdir(parents=True)
    (state / "logs" / "requests-2026-11-21.jsonl").mkdir(parents=True)


def wrong_types(state: Path) -> None:
    put(state / "accounts.json", b'{"version": 1, "accounts": {"work": {"kind": 5}, "b": []}}')
    put(state / "keys.json", b'{"version": 1, "keys": [{"id": 5}]}')
    put(state / "client.json", b'{"version": 1, "holder": [], "files": {}}')
    put(state / "instance.json", b'{"pid": "x"}')
    put(
        state / "logs" / "requests-2026-11-21.jsonl", b'\xff\n[]\n{"at": 5, "request_id": []}\nhalf'
    )


def pipes_for_logs(state: Path) -> None:
    (state / "logs").mkdir(parents=True)
    os.mkfifo(state / "logs" / "requests-2026-11-21.jsonl")


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize(
    "prepare",
    [
        a_file_for_the_state_directory,
        a_loop_for_the_state_directory,
        directories_for_files,
        wrong_types,
        pipes_for_logs,
    ],
)
def test_whatever_stands_in_the_state_directory_is_said_in_words(
    invoke: Invoke, state_dir: Path, prepare: Callable[[Path], None], line: str
) -> None:
    prepare(state_dir)
    looks_right(invoke(*line.split(), stdin="sk-ant-api03-x\n"))


ANSWERS: list[object] = [
    b"<html>",
    b"",
    5,
    [],
    {"accounts": 5, "client": 5, "models": 5, "requests": {}, "restart_needed": 5},
    {"accounts": [{"name": 5}], "client": {"files": [5]}, "models": [5], "requests": [5]},
]
ASKING = [
    "status", "status --json", "explain nope", "statusline", "auth list", "auth status",
    "auth refresh work", "auth enable nobody", "auth disable nobody", "reload", "client seed-models",
    "doctor --offline --no-replay", "logs",
]  # fmt: skip


@pytest.mark.parametrize("line", ASKING)
@pytest.mark.parametrize("body", ANSWERS, ids=str)
def test_whatever_a_running_instance_answers_is_said_in_words(
    invoke: Invoke, state_dir: Path, home: Path, line: str, body: object
) -> None:
    put(state_dir / "accounts.json", store_file(work={"accessToken": "sk-ant-api03-x"}))
    (home / ".claude").mkdir()
    with stub_instance(state_dir) as server:
        for method, path in (
            ("GET", "/status"),
            ("GET", "/status/accounts"),
            ("GET", "/status/requests"),
            ("GET", "/status/requests/nope"),
            ("GET", "/status/models"),
            ("POST", "/status/reload"),
            ("POST", "/status/accounts/work/refresh"),
            ("POST", "/status/accounts/nobody/enable"),
            ("POST", "/status/accounts/nobody/disable"),
        ):
            server.answers[method, path] = 200, body
        looks_right(invoke(*line.split()))


@pytest.mark.parametrize("name", ["ü x", "a/b", "x?y", "\udcff"])
@pytest.mark.parametrize("command", ["refresh", "enable", "disable"])
def test_a_name_of_any_characters_is_asked_for_and_not_there(
    invoke: Invoke, state_dir: Path, command: str, name: str
) -> None:
    with stub_instance(state_dir):
        done = invoke("auth", command, name)
    looks_right(done)
    assert done.exit_code == exit_codes.FAILED
    assert "there is no account" in done.stderr
    assert "`supervisor auth list`" in done.stderr


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (401, exit_codes.PERMISSION, "SUPERVISOR_ACCESS_TOKEN"),
        (409, exit_codes.FAILED, "it needs a login"),
        (500, exit_codes.FAILED, "its log says more"),
    ],
)
def test_what_the_instance_refuses_is_said_with_what_to_do(
    invoke: Invoke, state_dir: Path, status: int, code: int, told: str
) -> None:
    answer = {"type": "error", "error": {"type": "x", "message": "it needs a login"}}
    with stub_instance(state_dir) as server:
        server.answers["POST", "/status/accounts/work/refresh"] = status, answer
        done = invoke("auth", "refresh", "work")
    assert done.exit_code == code
    assert told in done.stderr


@pytest.mark.parametrize(
    ("number", "told"),
    [(errno.EACCES, "this user may not"), (errno.EROFS, "read-only"), (errno.EIO, "/x/accounts")],
)
def test_a_store_that_cannot_be_written_is_said_with_what_to_do(number: int, told: str) -> None:
    with pytest.raises(Failure) as raised, auth_place.usable():
        raise OSError(number, os.strerror(number), "/x/accounts.json")
    assert raised.value.exit_code == exit_codes.PERMISSION
    assert raised.value.message.startswith("the token store cannot be written: /x/accounts.json")
    assert told in raised.value.message
    assert "nothing was changed" in raised.value.what_to_do[0]


@pytest.mark.parametrize("line", ["repair", "repair --if-dead", "client restore"])
def test_a_lease_that_may_not_even_be_looked_at_is_no_lease_that_is_not_there(
    invoke: Invoke, state_dir: Path, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = state_dir / "client.json"
    state_dir.mkdir(parents=True)
    real = os.stat

    def refuse(path: Any, *arguments: Any, **more: Any) -> os.stat_result:
        if os.fspath(path) == str(lease):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(lease))
        return real(path, *arguments, **more)

    monkeypatch.setattr(os, "stat", refuse)
    done = invoke(*line.split())
    looks_right(done)
    assert done.exit_code == exit_codes.FAILED
    assert f"{lease} cannot be" in done.stderr
    assert "make it and its directory yours" in done.stderr


def test_purge_goes_on_where_a_directory_cannot_be_read(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(state_dir / "accounts.json", b"{}")
    put(state_dir / "logs" / "requests-2026-11-21.jsonl", b"")
    real = Path.iterdir

    def refuse(path: Path) -> Any:
        if path.name == "logs":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    removed, kept = purge(state_dir, os.environ)
    assert removed == [state_dir / "accounts.json"]
    assert kept == [(state_dir / "logs", "Permission denied")]


@pytest.mark.parametrize("line", ["auth import", "setup --yes --no-service --no-client"])
def test_a_directory_of_claude_codes_that_may_not_be_looked_at_is_said(
    invoke: Invoke, home: Path, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a user; to an administrator everything is open."""
    directory = home / ".claude"
    directory.mkdir()

    def refusing(real: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(path: Any, *arguments: Any, **more: Any) -> Any:
            if str(path).startswith(f"{directory}{os.sep}"):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return real(path, *arguments, **more)

        return refuse

    for name in ("stat", "lstat", "open"):
        monkeypatch.setattr(os, name, refusing(getattr(os, name)))
    done = invoke(*line.split())
    looks_right(done)
    assert f"{directory / '.credentials.json'} cannot be read: this user may not" in done.stderr


def test_a_usage_file_that_is_a_pipe_holds_up_no_status_line(invoke: Invoke, home: Path) -> None:
    (home / ".claude").mkdir()
    os.mkfifo(home / ".claude" / "usage-status.md")
    looks_right(invoke("statusline", stdin="{}"))


def test_what_may_not_be_looked_at_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_there(tmp_path)
    assert is_directory(tmp_path)

    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", refuse)
        there = is_there(tmp_path), is_directory(tmp_path)
    assert there == (False, False)


def test_only_files_are_logs(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "requests-2026-11-21.jsonl")
    (tmp_path / "requests-2026-11-22.jsonl").touch()
    assert log_files(tmp_path, "requests") == [tmp_path / "requests-2026-11-22.jsonl"]


@pytest.mark.parametrize(
    ("prepare", "up"),
    [
        (a_file_for_the_state_directory, 0),
        (a_loop_for_the_state_directory, 0),
        (lambda state: put(state.parent, b""), 1),
        (lambda state: put(state.parent.parent, b""), 2),
    ],
)
def test_a_start_says_what_stands_where_the_state_should_be(
    invoke: Invoke, state_dir: Path, prepare: Callable[[Path], None], up: int
) -> None:
    prepare(state_dir)
    told = f"{[state_dir, *state_dir.parents][up]} is not a directory"
    done = invoke("run", "--no-client", "--port", "0")
    looks_right(done)
    assert done.exit_code == exit_codes.PERMISSION
    assert f"cannot use the state directory {state_dir}: {told}" in done.stderr
    assert "set SUPERVISOR_STATE_DIR" in done.stderr


def test_the_status_of_no_accounts_is_said(invoke: Invoke) -> None:
    done = invoke("auth", "status")
    assert (done.exit_code, "there are no accounts" in done.stdout) == (0, True)
