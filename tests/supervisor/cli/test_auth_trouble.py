"""`supervisor auth ...` where the token store cannot be used: said in a line, and nothing is lost."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from server.scripted import Granted
from supervisor import token_store
from supervisor.file_lock import try_lock
from supervisor.private_files import lock_of
from tests.kit.logins import login_file, store_entry, store_file
from tests.supervisor.cli.conftest import Invoke

SECRET = "sk-ant-api03-canary-of-this-test"
GRANTED = Granted("sk-ant-oat01-canary", "sk-ant-ort01-canary", time.time() + 3600)
WHOLE = store_file(work={"accessToken": SECRET}, home=store_entry(GRANTED))
TORN = WHOLE[:-20]

COMMANDS = [
    ["list"],
    ["list", "--json"],
    ["status"],
    ["status", "work"],
    ["refresh", "work"],
    ["enable", "work"],
    ["disable", "work"],
    ["remove", "work", "--yes"],
    ["cleanup", "--force"],
    ["login", "work"],
    ["login", "work", "--pkce"],
]
"""Those that do not begin a store anew."""


@pytest.fixture
def store(state_dir: Path) -> Path:
    state_dir.mkdir(parents=True, exist_ok=True)
    return state_dir / "accounts.json"


def put(store: Path, content: bytes, mode: int = 0o600) -> None:
    store.write_bytes(content)
    store.chmod(mode)


@pytest.mark.parametrize(
    ("content", "mode", "told"),
    [
        (TORN, 0o600, "not JSON"),
        (WHOLE, 0o644, "chmod 600"),
        (WHOLE.replace(b'"version": 1', b'"version": 2'), 0o600, "newer program"),
    ],
    ids=["torn", "open to others", "newer"],
)
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_store_that_cannot_be_used_is_said_and_left_as_it_is(
    invoke: Invoke, store: Path, command: list[str], content: bytes, mode: int, told: str
) -> None:
    put(store, content, mode)
    done = invoke("auth", *command)
    assert done.exit_code in ({0} if command[0] == "list" else {1, 77}), done.output
    assert told in done.stderr
    assert "canary" not in done.output
    assert (store.read_bytes(), store.stat().st_mode & 0o777) == (content, mode)


@pytest.mark.parametrize("command", ["add", "import"])
def test_a_broken_store_is_kept_aside_by_what_adds_to_it(
    invoke: Invoke, store: Path, home: Path, command: str
) -> None:
    put(store, TORN)
    login = home / "other" / ".credentials.json"
    login.parent.mkdir()
    put(login, login_file(GRANTED))
    done = invoke("auth", command, "new" if command == "add" else str(login.parent), stdin=SECRET)
    assert done.exit_code == 0, done.stderr
    aside = store.with_name("accounts.json.unreadable")
    assert f"it is kept as {aside}" in done.stderr
    assert aside.read_bytes() == TORN
    assert "canary" not in done.output


CHANGES = [["add", "new"], ["disable", "work"], ["remove", "work", "--yes"], ["cleanup", "--force"]]


@pytest.mark.parametrize("command", CHANGES, ids=" ".join)
def test_a_store_that_another_process_keeps_locked_is_left_alone(
    invoke: Invoke, store: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = store_file(work={"accessToken": SECRET}, broken={"kind": "oauth"})
    put(store, content)
    impatient = token_store.TokenStore.change
    monkeypatch.setattr(
        token_store.TokenStore,
        "change",
        lambda self, edit: impatient(self, edit, patience=0.1),
    )
    descriptor = os.open(lock_of(store), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        assert try_lock(descriptor)
        done = invoke("auth", *command, stdin=SECRET)
    finally:
        os.close(descriptor)
    assert done.exit_code == 77, done.output
    assert "is locked by another process" in done.stderr
    assert store.read_bytes() == content


def no_space(_path: Path, _data: bytes, _mode: int = 0) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def read_only(_path: Path, _data: bytes, _mode: int = 0) -> None:
    raise OSError(errno.EROFS, "Read-only file system")


@pytest.mark.parametrize("fault", [no_space, read_only])
@pytest.mark.parametrize("command", CHANGES, ids=" ".join)
def test_a_disk_that_cannot_be_written_changes_nothing_and_says_so(
    invoke: Invoke,
    store: Path,
    command: list[str],
    fault: Callable[[Path, bytes], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = store_file(work={"accessToken": SECRET}, broken={"kind": "oauth"})
    put(store, content)
    # Where `change` finds it: the default of the constructor was bound when it was defined.
    monkeypatch.setattr(token_store.TokenStore.__init__, "__defaults__", (fault,))
    done = invoke("auth", *command, stdin=SECRET)
    assert done.exit_code == 77, done.output
    assert "the token store cannot be written" in done.stderr
    assert "nothing was changed" in done.stderr
    assert "canary" not in done.output
    assert store.read_bytes() == content


def test_the_state_of_all_accounts_is_not_good_where_the_store_cannot_be_read(
    invoke: Invoke, store: Path
) -> None:
    put(store, TORN)
    done = invoke("auth", "status")
    assert done.exit_code == 1
