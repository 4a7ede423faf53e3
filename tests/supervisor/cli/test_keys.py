"""`supervisor keys ...` makes, lists, revokes and forgets the keys of clients."""

from __future__ import annotations

import json
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from protocol.key_file import parse, ring_of
from protocol.status_view import utc
from tests.supervisor.cli.conftest import Invoke
from tests.supervisor.stub_instance import stub_instance


@pytest.fixture
def path(state_dir: Path) -> Path:
    return state_dir / "keys.json"


def only(path: Path) -> dict[str, Any]:
    entries = json.loads(path.read_text())["keys"]
    assert len(entries) == 1
    entry: dict[str, Any] = entries[0]
    return entry


def test_a_key_is_shown_once_alone_on_stdout_and_only_its_hash_is_kept(
    invoke: Invoke, path: Path
) -> None:
    done = invoke("keys", "create", "--name", "ci")
    assert done.exit_code == 0, done.stderr
    shown = done.stdout.strip()
    assert done.stdout == f"{shown}\n"
    assert "90 d" in done.stderr
    assert "not shown again" in done.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert shown not in path.read_text()
    found = ring_of(parse(path.read_bytes())).find(shown.encode())
    assert found is not None
    assert found.name == "ci"
    assert not found.owner
    assert found.expires is not None
    assert abs(found.expires - time.time() - 90 * 86400) < 60


@pytest.mark.parametrize("option", ["--days", "--budget-per-day"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1"])
def test_what_is_no_amount_makes_no_key(
    option: str, value: str, invoke: Invoke, path: Path
) -> None:
    done = invoke("keys", "create", "--name", "ci", option, value)
    assert done.exit_code == 2
    assert f"Invalid value for '{option}'" in done.stderr
    assert not path.exists()


def test_an_end_that_no_calendar_has_is_refused(invoke: Invoke, path: Path) -> None:
    assert invoke("keys", "create", "--name", "ci", "--days", "1e300").exit_code == 2
    assert not path.exists()
    assert invoke("keys", "create", "--name", "ci", "--days", "36500").exit_code == 0


def test_all_that_can_be_said_of_a_key_is_kept(invoke: Invoke, path: Path) -> None:
    done = invoke(
        "keys", "create", "--name", "me", "--days", "0", "--owner", "--requests-per-minute", "9",
        "--tokens-per-minute", "1000", "--budget-per-day", "2.5", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    shown = json.loads(done.stdout)
    entry = only(path)
    assert entry["owner"] is True
    assert entry["expires"] is None
    assert (entry["requests_per_minute"], entry["tokens_per_minute"]) == (9, 1000)
    assert entry["budget_per_day"] == 2.5
    assert shown["id"] == entry["id"]
    assert ring_of(parse(path.read_bytes())).find(shown["key"].encode()) is not None


def test_it_says_when_nobody_is_asked_for_a_key(invoke: Invoke, home: Path) -> None:
    assert "keys = true" in invoke("keys", "create", "--name", "one").stderr
    directory = home / ".config" / "llm-supervisor"
    directory.mkdir(parents=True)
    (directory / "config.toml").write_text("[access]\nkeys = true\n")
    assert "keys = true" not in invoke("keys", "create", "--name", "two").stderr


def test_the_list_shows_whose_they_are_and_no_key(invoke: Invoke) -> None:
    assert invoke("keys", "list").stdout == "there are no keys\n"
    shown = invoke("keys", "create", "--name", "ci", "--budget-per-day", "5").stdout.strip()
    invoke("keys", "create", "--name", "me", "--owner", "--days", "0")
    done = invoke("keys", "list")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["ID", "NAME", "STATE", "EXPIRES", "LAST", "USED", "LIMITS"]
    assert "valid" in lines[1]
    assert "$5/day" in lines[1]
    assert "me (owner)" in lines[2]
    assert "never" in lines[2]
    assert shown not in done.output
    assert [one["name"] for one in json.loads(invoke("keys", "list", "--json").stdout)] == [
        "ci",
        "me",
    ]


def test_a_revoked_key_stays_in_the_list(invoke: Invoke, path: Path) -> None:
    invoke("keys", "create", "--name", "ci")
    key_id = only(path)["id"]
    done = invoke("keys", "revoke", key_id)
    assert (done.exit_code, done.stdout) == (0, f"key {key_id} is revoked\n")
    assert "revoked" in invoke("keys", "list").stdout


def test_a_valid_key_is_only_forgotten_by_force(invoke: Invoke, path: Path) -> None:
    invoke("keys", "create", "--name", "ci")
    key_id = only(path)["id"]
    done = invoke("keys", "delete", key_id)
    assert done.exit_code == 1
    assert "--force" in done.stderr
    assert only(path)["id"] == key_id
    assert invoke("keys", "delete", key_id, "--force").exit_code == 0
    assert json.loads(path.read_text())["keys"] == []


@pytest.mark.parametrize("command", ["revoke", "delete"])
def test_an_unknown_key_is_a_failure_that_says_where_to_look(invoke: Invoke, command: str) -> None:
    done = invoke("keys", command, "00000000")
    assert done.exit_code == 1
    assert "supervisor keys list" in done.stderr


def test_a_name_is_taken_by_a_valid_key_alone(invoke: Invoke, path: Path) -> None:
    invoke("keys", "create", "--name", "ci")
    done = invoke("keys", "create", "--name", "ci")
    assert done.exit_code == 2
    assert "already" in done.stderr
    assert done.stdout == ""
    invoke("keys", "revoke", only(path)["id"])
    assert invoke("keys", "create", "--name", "ci").exit_code == 0


def test_a_file_that_others_can_read_is_said_and_left(invoke: Invoke, path: Path) -> None:
    invoke("keys", "create", "--name", "ci")
    path.chmod(0o644)
    done = invoke("keys", "list")
    assert done.exit_code == 77
    assert "chmod 600" in done.stderr


def test_an_entry_that_cannot_be_used_is_named(invoke: Invoke, path: Path) -> None:
    invoke("keys", "create", "--name", "ci")
    document = json.loads(path.read_text())
    document["keys"][0]["owner"] = "yes"
    path.write_text(json.dumps(document))
    done = invoke("keys", "list")
    assert done.exit_code == 0
    assert "owner is neither true nor false; it lets nobody in" in done.stderr


def test_while_it_runs_the_list_has_what_was_spent(invoke: Invoke, state_dir: Path) -> None:
    invoke("keys", "create", "--name", "ci", "--requests-per-minute", "60", "--budget-per-day", "5")
    key_id = only(state_dir / "keys.json")["id"]
    used = {"requests_last_minute": 3, "tokens_last_minute": None, "cost_today": 0.00125}
    with stub_instance(state_dir) as stub:
        running = {"id": key_id, "used": used, "last_used": utc(time.time() - 61)}
        stub.answers["GET", "/status/keys"] = (200, {"keys": [running]})
        shown = invoke("keys", "list").stdout
        assert "3 of 60 requests/min, $0.0013 of $5/day" in shown
        assert "1 min ago" in shown
        assert json.loads(invoke("keys", "list", "--json").stdout)[0]["used"] == used
        odd = {"id": key_id, "used": {"cost_today": "much"}}
        stub.answers["GET", "/status/keys"] = (200, {"keys": [odd]})
        assert "60 requests/min, $5/day" in invoke("keys", "list").stdout
        stub.answers["GET", "/status/keys"] = (403, {"error": {"message": "no"}})
        assert "60 requests/min, $5/day" in invoke("keys", "list").stdout
    assert "60 requests/min, $5/day" in invoke("keys", "list").stdout
    assert json.loads(invoke("keys", "list", "--json").stdout)[0]["used"] is None


def test_whether_keys_are_asked_for_is_the_running_instances_to_say(
    invoke: Invoke, state_dir: Path, tmp_path: Path
) -> None:
    config = tmp_path / "other.toml"
    config.write_text("[access]\nkeys = true\n")
    assert "not asked for a key yet" in invoke("keys", "create", "--name", "a").stderr
    with stub_instance(state_dir, config=str(config)):
        assert "not asked for a key yet" not in invoke("keys", "create", "--name", "b").stderr
