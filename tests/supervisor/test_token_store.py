"""The token store on disk: private, whole, shared between processes."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from protocol import token_file
from protocol.login import Login
from protocol.secrets import Secret
from protocol.token_file import StoredAccount, TokenFile
from supervisor.private_files import (
    CredentialsLocked,
    CredentialsUnusable,
    locked,
    read_private,
)
from supervisor.token_store import TokenStore

ROOT = Path(__file__).parent.parent.parent


def adding(name: str, secret: str = "secret-1") -> StoredAccount:
    return StoredAccount(name, "token", Login(Secret(secret)))


def add(store: TokenStore, name: str) -> TokenFile:
    return store.change(lambda file: token_file.put(file, adding(name))).file


def names(store: TokenStore) -> list[str]:
    return sorted(account.name for account in store.read().accounts)


def test_a_store_that_does_not_exist_is_empty_and_is_not_made_by_looking(tmp_path: Path) -> None:
    store = TokenStore(tmp_path / "state")
    assert store.read() == token_file.EMPTY
    assert not (tmp_path / "state").exists()


def test_file_and_directory_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    store = TokenStore(tmp_path / "state")
    add(store, "work")
    assert names(store) == ["work"]
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700


def test_what_changes_nothing_writes_nothing(tmp_path: Path) -> None:
    store = TokenStore(tmp_path)
    add(store, "work")
    before = store.path.stat()
    add(store, "work")
    assert store.path.stat().st_ino == before.st_ino


@pytest.mark.promise("D1")
def test_an_edit_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    store = TokenStore(tmp_path)
    add(store, "work")
    before = store.path.read_bytes()
    with pytest.raises(KeyError):
        store.change(lambda file: token_file.removed(file, "gone"))
    assert store.path.read_bytes() == before


@pytest.mark.promise("K4")
def test_a_link_is_followed_and_stays_one(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "accounts.json").symlink_to(elsewhere / "real.json")
    store = TokenStore(tmp_path)
    add(store, "work")
    assert store.path.is_symlink()
    assert json.loads((elsewhere / "real.json").read_bytes())["accounts"].keys() == {"work"}


@pytest.mark.promise("K4")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o601, 0o660, 0o666, 0o644])
def test_what_others_can_read_or_change_is_refused_with_what_to_do(
    mode: int, tmp_path: Path
) -> None:
    store = TokenStore(tmp_path)
    add(store, "work")
    store.path.chmod(mode)
    before = store.path.read_bytes()
    with pytest.raises(CredentialsUnusable, match=r"accounts\.json is not used.*chmod 600"):
        store.read()
    with pytest.raises(CredentialsUnusable, match="chmod 600"):
        add(store, "more")
    assert store.path.read_bytes() == before


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_what_only_its_owner_can_read_is_used(mode: int, tmp_path: Path) -> None:
    store = TokenStore(tmp_path)
    add(store, "work")
    store.path.chmod(mode)
    assert names(store) == ["work"]


@pytest.mark.promise("K4")
def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = TokenStore(tmp_path)
    add(store, "work")
    monkeypatch.setattr("os.geteuid", lambda: store.path.stat().st_uid + 1)
    with pytest.raises(CredentialsUnusable, match="another user"):
        store.read()


@pytest.mark.timeout(10)
def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("pipe", "."):
        with pytest.raises(CredentialsUnusable):
            read_private(tmp_path / name)


def test_a_file_that_does_not_parse_is_kept_aside_and_never_overwritten(tmp_path: Path) -> None:
    store = TokenStore(tmp_path)
    store.path.write_bytes(b'{"accounts": {"wo')
    store.path.chmod(0o600)
    with pytest.raises(CredentialsUnusable, match="not JSON"):
        store.read()
    assert store.path.exists(), "looking moves nothing"
    changed = store.change(lambda file: token_file.put(file, adding("new")))
    assert changed.aside is not None
    assert changed.aside.read_bytes() == b'{"accounts": {"wo'
    assert names(store) == ["new"]


def test_the_store_of_a_newer_program_is_left_alone(tmp_path: Path) -> None:
    store = TokenStore(tmp_path)
    store.path.write_bytes(b'{"version": 2}')
    store.path.chmod(0o600)
    with pytest.raises(CredentialsUnusable, match="left alone"):
        add(store, "work")
    assert store.path.read_bytes() == b'{"version": 2}'


def test_whoever_waits_for_the_lock_waits_a_bounded_time(tmp_path: Path) -> None:
    store = TokenStore(tmp_path)
    with locked(store.path), pytest.raises(CredentialsLocked, match="try again"):
        store.change(lambda file: file, patience=0.1)
    store.change(lambda file: file, patience=0.1)


def test_threads_that_add_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    store = TokenStore(tmp_path)
    wanted = [f"account-{number}" for number in range(12)]
    threads = [threading.Thread(target=add, args=(store, name)) for name in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(store) == sorted(wanted)


ADDING = """
import sys
from pathlib import Path
from protocol import token_file
from protocol.login import Login
from protocol.secrets import Secret
from supervisor.token_store import TokenStore
for number in range(20):
    account = token_file.StoredAccount(f"{sys.argv[2]}-{number}", "token", Login(Secret("x")))
    TokenStore(Path(sys.argv[1])).change(lambda file: token_file.put(file, account))
"""


def test_processes_that_add_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    running = [
        subprocess.Popen([sys.executable, "-c", ADDING, str(tmp_path), who], cwd=ROOT)
        for who in ("a", "b")
    ]
    assert [process.wait(timeout=50) for process in running] == [0, 0]
    assert len(names(TokenStore(tmp_path))) == 40
