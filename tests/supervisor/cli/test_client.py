"""`client`, `repair` and `uninstall`: the settings by hand, and after a death."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from protocol.client_judgement import Circumstances
from protocol.client_lease import Holder, ProcessMark
from supervisor.client_point import Wanted, point_clients
from tests.supervisor.cli.conftest import Invoke, Start
from tests.supervisor.stub_instance import stub_instance

ORIGINAL = b'{"model": "opus"}'
GONE = Holder((ProcessMark(2**22 + 7, "1"),), "", "gone", 9, "")
MINE = Holder((ProcessMark(os.getpid()),), "", "mine", 9, "")


@pytest.fixture
def settings(home: Path) -> Path:
    directory = home / ".claude"
    directory.mkdir()
    file = directory / "settings.json"
    file.write_bytes(ORIGINAL)
    return file


def left_by(holder: Holder, state_dir: Path, settings: Path) -> None:
    """As a killed instance leaves it."""
    state_dir.mkdir(parents=True, exist_ok=True)
    here = Circumstances("http://127.0.0.1:9")
    done = point_clients(
        state_dir, Wanted((str(settings),), here, {}, "https://direct.test", 0.05), holder
    )
    assert done.pointed


def test_what_a_dead_instance_left_is_repaired_once(
    settings: Path, state_dir: Path, invoke: Invoke
) -> None:
    left_by(GONE, state_dir, settings)
    done = invoke("repair", "--if-dead")
    assert (done.exit_code, done.stdout) == (0, f"{settings} is as it was before\n")
    assert settings.read_bytes() == ORIGINAL
    again = invoke("repair", "--if-dead")
    assert (again.exit_code, again.output) == (0, "")
    assert invoke("repair").stdout == "nothing to repair\n"


def test_a_process_that_lives_but_does_not_answer_is_a_case_for_repair_alone(
    settings: Path, state_dir: Path, invoke: Invoke
) -> None:
    left_by(MINE, state_dir, settings)
    assert invoke("repair", "--if-dead").output == ""
    assert settings.read_bytes() != ORIGINAL
    assert invoke("repair").exit_code == 0
    assert settings.read_bytes() == ORIGINAL


def test_a_damaged_lease_is_explained(settings: Path, state_dir: Path, invoke: Invoke) -> None:
    left_by(GONE, state_dir, settings)
    (state_dir / "client.json").write_bytes(b"{")
    for command in (
        ("repair",),
        ("repair", "--if-dead"),
        ("client", "show"),
        ("client", "restore"),
    ):
        done = invoke(*command)
        assert done.exit_code == 1
        assert "client.json cannot be read" in done.stderr


def test_the_settings_are_applied_shown_and_restored_by_hand(
    settings: Path, state_dir: Path, invoke: Invoke, home: Path
) -> None:
    with stub_instance(state_dir) as server:
        done = invoke("client", "apply")
        assert done.exit_code == 0, done.output
        url = json.loads(settings.read_bytes())["env"]["ANTHROPIC_BASE_URL"]
        assert url in done.stdout
        assert server is not None
        shown = invoke("client", "show").stdout
        assert f"points at: {url}" in shown
        assert "set by us: ANTHROPIC_BASE_URL" in shown
        assert "which runs" in shown
        config = home / ".config" / "llm-supervisor" / "config.toml"
        config.parent.mkdir(parents=True)
        config.write_text("[client]\nrelease_after = 0\n")
        assert invoke("client", "apply").exit_code == 0
        assert invoke("client", "restore").stdout == f"{settings} is as it was before\n"
    assert settings.read_bytes() == ORIGINAL
    assert invoke("client", "restore").stdout == "nothing of ours is in the settings\n"
    assert "the upstream itself" in invoke("client", "show").stdout


def test_apply_without_an_instance_says_what_to_do(settings: Path, invoke: Invoke) -> None:
    assert invoke("client", "apply").exit_code == 69
    assert settings.read_bytes() == ORIGINAL


def test_apply_says_why_it_stands_back(settings: Path, state_dir: Path, invoke: Invoke) -> None:
    settings.write_bytes(b'{"env": {"ANTHROPIC_BASE_URL": "https://x.test"}}')
    with stub_instance(state_dir):
        done = invoke("client", "apply")
    assert done.exit_code == 1
    assert "it points at https://x.test" in done.stderr


def test_uninstall_puts_back_and_leaves_the_rest(
    settings: Path, state_dir: Path, invoke: Invoke
) -> None:
    left_by(GONE, state_dir, settings)
    (state_dir / "quota.json").write_bytes(b"{}")
    assert invoke("uninstall").exit_code == 0
    assert settings.read_bytes() == ORIGINAL
    assert (state_dir / "quota.json").exists()


def test_uninstall_refuses_while_an_instance_runs(
    settings: Path, state_dir: Path, invoke: Invoke
) -> None:
    with stub_instance(state_dir):
        done = invoke("uninstall")
    assert done.exit_code == 1
    assert "supervisor stop" in done.stderr


def test_purge_without_a_terminal_wants_a_yes(
    settings: Path, state_dir: Path, start: Start
) -> None:
    left_by(GONE, state_dir, settings)
    done = start("uninstall", "--purge")
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert state_dir.exists()


def test_purge_removes_what_is_ours_and_nothing_else(
    settings: Path, state_dir: Path, home: Path, invoke: Invoke
) -> None:
    left_by(GONE, state_dir, settings)
    config = home / ".config" / "llm-supervisor" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("")
    (state_dir / "logs").mkdir()
    (state_dir / "logs" / "requests-2026-11-21.jsonl").touch()
    (state_dir / "thesis.txt").touch()
    done = invoke("uninstall", "--purge", "--yes")
    assert done.exit_code == 0, done.output
    assert [one.name for one in state_dir.iterdir()] == ["thesis.txt"]
    assert not config.exists()
    assert settings.read_bytes() == ORIGINAL


def test_a_look_where_there_is_nothing_to_repair_imports_next_to_nothing(
    state_dir: Path, start: Start
) -> None:
    done = start("repair", "--if-dead", PYTHONVERBOSE="")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
