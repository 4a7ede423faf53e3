"""`auth list` and `auth status` where the store broke after an instance had read it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.kit.logins import store_file
from tests.supervisor.cli.conftest import Invoke
from tests.supervisor.stub_instance import stub_instance


@pytest.fixture
def store(state_dir: Path) -> Path:
    state_dir.mkdir(parents=True)
    file = state_dir / "accounts.json"
    file.write_bytes(b'{"version": 1, "accounts": {')
    file.chmod(0o600)
    return file


def account(name: str, state: str = "available", **more: Any) -> dict[str, Any]:
    usual = {"kind": "api_key", "cooldowns": [], "expires_at": None, "email": None}
    return {"name": name, "state": state, **usual, **more}


@contextmanager
def answering(state_dir: Path, body: object) -> Iterator[None]:
    with stub_instance(state_dir) as server:
        server.answers["GET", "/status/accounts"] = 200, body
        yield


def serve(state_dir: Path, *accounts: dict[str, Any]) -> AbstractContextManager[None]:
    return answering(state_dir, {"accounts": list(accounts)})


def test_status_lists_what_the_running_instance_knows_and_says_that_the_file_is_broken(
    invoke: Invoke, store: Path
) -> None:
    expires = datetime.fromtimestamp(time.time() + 7200, UTC).isoformat().replace("+00:00", "Z")
    home = account("home", kind="oauth", email="me@example.test", expires_at=expires)
    with serve(store.parent, account("work"), home):
        done = invoke("auth", "status")
    assert done.exit_code == 1
    said = done.stdout.splitlines()
    assert said[0] == "work: available"
    assert said[1].startswith("home: available, logged in as me@example.test, its token expires in")
    assert f"{store} cannot be used: not JSON" in done.stderr
    assert "the running instance goes on with what it read of it before" in done.stderr


def test_one_account_is_told_of_by_its_name(invoke: Invoke, store: Path) -> None:
    with serve(store.parent, account("work")):
        done = invoke("auth", "status", "work")
    assert (done.exit_code, done.stdout) == (0, "work: available\n")


def test_an_account_that_cannot_serve_does_not_hide_that_the_file_is_broken(
    invoke: Invoke, store: Path
) -> None:
    with serve(store.parent, account("work", "needs_login")):
        done = invoke("auth", "status")
    assert done.exit_code == 1
    assert "cannot serve: work" in done.stderr
    assert f"{store} cannot be used" in done.stderr


def test_list_has_them_too_and_says_whose_word_it_is(invoke: Invoke, store: Path) -> None:
    with serve(store.parent, account("work"), account("client-0a1b2c3d", kind="client")):
        table = invoke("auth", "list")
        found = json.loads(invoke("auth", "list", "--json").stdout)
    assert table.exit_code == 0
    assert "the running instance" in table.stdout
    assert f"warning: {store} cannot be used" in table.stderr
    assert [(one["name"], one["from"]) for one in found] == [("work", "the running instance")]


def test_a_whole_file_has_the_last_word(invoke: Invoke, store: Path) -> None:
    """The instance follows within two seconds: what it still has is not there any more."""
    store.write_bytes(store_file(work={"accessToken": "sk-ant-api03-canary"}))
    with serve(store.parent, account("work"), account("gone")):
        done = invoke("auth", "status")
    assert (done.exit_code, done.stdout) == (0, "work: available\n")


def test_a_broken_file_is_not_taken_for_no_accounts(invoke: Invoke, store: Path) -> None:
    done = invoke("auth", "list")
    assert done.exit_code == 0
    assert "no accounts" not in done.output
    assert f"warning: {store} cannot be used: not JSON" in done.stderr


@pytest.mark.parametrize("answer", [{"accounts": [{"name": "work"}]}, {"accounts": 3}, []])
def test_an_answer_of_an_unknown_form_adds_nothing(
    invoke: Invoke, store: Path, answer: object
) -> None:
    with answering(store.parent, answer):
        done = invoke("auth", "status")
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"{store} cannot be used" in done.stderr
