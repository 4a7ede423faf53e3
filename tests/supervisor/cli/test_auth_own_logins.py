"""What goes with an account that is forgotten: a login of our own making, in the keychain too."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from supervisor import keychain
from supervisor.keychain import service_of
from tests.kit.logins import store_file
from tests.supervisor.cli.conftest import Invoke
from tests.supervisor.test_keychain import Mac

LOGIN = json.dumps({"claudeAiOauth": {"accessToken": "a", "refreshToken": "r", "expiresAt": 1}})


@pytest.fixture
def store(state_dir: Path) -> Path:
    state_dir.mkdir(parents=True)
    return state_dir / "accounts.json"


def put(store: Path, **paths: Path) -> None:
    entries = {name: {"kind": "oauth", "credentials": str(path)} for name, path in paths.items()}
    store.write_bytes(store_file(**entries))
    store.chmod(0o600)


@pytest.fixture
def mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mac:
    """This machine is a Mac, and this is its keychain."""
    found = Mac(tmp_path)
    monkeypatch.setattr(keychain, "of_this_machine", lambda: found.keychain)
    return found


def in_the_keychain(mac: Mac, *directories: Path) -> None:
    """As Claude Code leaves a login there: a directory without a login file, and an entry."""
    for directory in directories:
        directory.mkdir(parents=True)
    entries = {service_of(Path(os.path.realpath(one))): LOGIN for one in directories}
    mac.entries.write_text(json.dumps(entries))


def entries(mac: Mac) -> list[str]:
    return list(json.loads(mac.entries.read_text()))


def test_the_keychain_entry_of_our_own_login_goes_with_its_account(
    invoke: Invoke, store: Path, mac: Mac
) -> None:
    own, other = store.parent / "logins" / "work", store.parent / "logins" / "home"
    in_the_keychain(mac, own, other)
    put(store, work=own / ".credentials.json", home=other / ".credentials.json")
    done = invoke("auth", "remove", "work", "--yes")
    assert (done.exit_code, done.stdout) == (0, "account work is forgotten\n"), done.stderr
    assert not own.exists()
    assert entries(mac) == [service_of(other)]


def test_claude_codes_own_entry_stays_and_that_is_said(
    invoke: Invoke, store: Path, mac: Mac, home: Path
) -> None:
    in_the_keychain(mac, home / ".claude")
    put(store, claude=home / ".claude" / ".credentials.json")
    done = invoke("auth", "remove", "claude", "--yes")
    assert done.exit_code == 0, done.stderr
    assert (
        "its login in the keychain (entry 'Claude Code-credentials') is Claude Code's own, and stays"
        in done.stdout
    )
    assert entries(mac) == ["Claude Code-credentials"]
    assert not (mac.entries.parent / "argv").exists(), "nobody was asked"


def test_a_login_file_of_claude_codes_own_stays_and_that_is_said(
    invoke: Invoke, store: Path, home: Path
) -> None:
    file = home / ".claude" / ".credentials.json"
    file.parent.mkdir()
    file.write_text(LOGIN)
    put(store, claude=file)
    done = invoke("auth", "remove", "claude", "--yes")
    assert f"its login in {file} is Claude Code's own, and stays" in done.stdout
    assert file.read_text() == LOGIN


def test_of_a_login_that_is_not_there_nothing_is_said(invoke: Invoke, store: Path) -> None:
    put(store, claude=Path("/nowhere/.credentials.json"))
    assert invoke("auth", "remove", "claude", "--yes").stdout == "account claude is forgotten\n"


def test_an_entry_that_cannot_be_removed_is_named_and_the_next_cleanup_tries_again(
    invoke: Invoke, store: Path, mac: Mac
) -> None:
    own = store.parent / "logins" / "work"
    in_the_keychain(mac, own)
    whole = json.loads(mac.entries.read_text())
    put(store, work=own / ".credentials.json")
    mac.entries.write_text(json.dumps({**whole, "locked": True}))
    done = invoke("auth", "remove", "work", "--yes")
    assert done.exit_code == 77
    assert f"the keychain entry '{service_of(own)}' could not be removed" in done.stderr
    assert "`supervisor auth cleanup` tries again" in done.stderr
    assert own.exists()
    mac.entries.write_text(json.dumps(whole))
    done = invoke("auth", "cleanup", "--force")
    assert done.exit_code == 0, done.stderr
    assert not own.exists()
    assert entries(mac) == []


def test_a_state_directory_behind_a_link_has_logins_of_our_own_too(
    invoke: Invoke, store: Path, mac: Mac, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "link").symlink_to(store.parent)
    monkeypatch.setenv("SUPERVISOR_STATE_DIR", str(home / "link"))
    own, orphan = store.parent / "logins" / "work", store.parent / "logins" / "orphan"
    in_the_keychain(mac, own, orphan)
    put(store, work=own / ".credentials.json")
    assert invoke("auth", "remove", "work", "--yes").stdout == "account work is forgotten\n"
    assert entries(mac) == [service_of(orphan)]
    assert invoke("auth", "cleanup", "--force").exit_code == 0
    assert entries(mac) == []
    assert list((store.parent / "logins").iterdir()) == []


@pytest.mark.parametrize(
    "words", [("auth", "remove", "work", "--yes"), ("uninstall", "--purge", "--yes")]
)
def test_of_a_link_among_our_logins_only_the_link_goes(
    invoke: Invoke, store: Path, mac: Mac, home: Path, words: tuple[str, ...]
) -> None:
    in_the_keychain(mac, home / ".claude")
    (store.parent / "logins").mkdir()
    link = store.parent / "logins" / "work"
    link.symlink_to(home / ".claude")
    put(store, work=link / ".credentials.json")
    done = invoke(*words)
    assert done.exit_code == 0, done.stderr
    assert entries(mac) == ["Claude Code-credentials"]
    assert (home / ".claude").is_dir()
    assert not link.is_symlink()


def test_purge_leaves_no_login_of_our_making(invoke: Invoke, store: Path, mac: Mac) -> None:
    own = store.parent / "logins" / "work"
    in_the_keychain(mac, own)
    (own / ".credentials.json").write_text(LOGIN)
    put(store, work=own / ".credentials.json")
    (store.parent / ".renewing-work.lock").touch()
    done = invoke("uninstall", "--purge", "--yes")
    assert done.exit_code == 0, done.output
    assert entries(mac) == []
    assert not store.parent.exists()


def test_purge_says_what_it_could_not_remove(invoke: Invoke, store: Path, mac: Mac) -> None:
    own = store.parent / "logins" / "work"
    in_the_keychain(mac, own)
    mac.entries.write_text('{"locked": true}')
    done = invoke("uninstall", "--purge", "--yes")
    assert done.exit_code == 1
    assert f"{own} is left: the keychain entry" in done.stderr
    assert own.exists()
