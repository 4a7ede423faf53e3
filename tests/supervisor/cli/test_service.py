"""`supervisor service ...` with a stand-in for systemctl or launchctl."""

from __future__ import annotations

import os
import plistlib
from pathlib import Path

import pytest

from supervisor.service.commands import CommandFailed, asked
from tests.kit.service_commands import (
    ACTIVE,
    INACTIVE,
    NO_BUS,
    FakeServiceCommand,
    installed,
    on_system,
)
from tests.supervisor.cli.conftest import Invoke
from tests.supervisor.stub_instance import stub_instance


@pytest.fixture
def systemctl(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeServiceCommand:
    fake = installed(tmp_path / "bin", "systemctl", monkeypatch)
    fake.say(("show", 0, ACTIVE))
    return fake


@pytest.fixture
def unit(home: Path) -> Path:
    return home / ".config" / "systemd" / "user" / "llm-supervisor.service"


def test_install_writes_the_unit_and_starts_it_now_and_at_every_login(
    invoke: Invoke, systemctl: FakeServiceCommand, unit: Path
) -> None:
    ended = invoke("service", "install", "--port", "4090")
    assert ended.exit_code == 0, ended.output
    assert "run --port 4090" in unit.read_text()
    assert [call for call in systemctl.calls() if "show" not in call] == [
        "--user daemon-reload",
        "--user enable llm-supervisor.service",
        "--user restart llm-supervisor.service",
    ]
    assert "wrote" in ended.output
    assert "journalctl" in ended.output


def test_a_second_install_changes_nothing_and_restarts_nothing(
    invoke: Invoke, systemctl: FakeServiceCommand, unit: Path
) -> None:
    invoke("service", "install")
    systemctl.calls()
    before = unit.stat()
    ended = invoke("service", "install")
    assert ended.exit_code == 0
    assert "is up to date" in ended.output
    assert unit.stat().st_mtime_ns == before.st_mtime_ns
    assert not any("restart" in call or "enable" in call for call in systemctl.calls())


def test_a_file_of_somebody_else_is_left_alone(
    invoke: Invoke, systemctl: FakeServiceCommand, unit: Path
) -> None:
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nExecStart=/mine\n")
    for command in ("install", "uninstall"):
        ended = invoke("service", command)
        assert ended.exit_code == 73
        assert "is not ours" in ended.output
        assert unit.read_text() == "[Service]\nExecStart=/mine\n"
    assert not any("enable" in call or "disable" in call for call in systemctl.calls())


def test_without_a_user_bus_the_file_is_written_and_the_failed_command_is_named(
    invoke: Invoke, systemctl: FakeServiceCommand, unit: Path
) -> None:
    systemctl.say(("--user", 1, NO_BUS))
    ended = invoke("service", "install")
    assert ended.exit_code == 1
    assert unit.exists()
    assert "`systemctl --user daemon-reload` failed: Failed to connect to bus" in ended.output
    assert "systemctl --user enable --now llm-supervisor.service" in ended.output
    assert "enable-linger" in ended.output


def test_where_an_instance_runs_already_it_is_installed_and_not_started(
    invoke: Invoke, systemctl: FakeServiceCommand, unit: Path, state_dir: Path
) -> None:
    systemctl.say(("show", 0, INACTIVE))
    with stub_instance(state_dir):
        ended = invoke("service", "install")
    assert ended.exit_code == 73
    assert "an instance runs already" in ended.output
    assert unit.exists()
    calls = systemctl.calls()
    assert any("enable" in call for call in calls)
    assert not any("restart" in call for call in calls)


def test_with_a_socket_there_are_two_units_and_without_again_one(
    invoke: Invoke, systemctl: FakeServiceCommand, unit: Path
) -> None:
    invoke("service", "install", "--socket", "--port", "4090")
    socket_unit = unit.with_suffix(".socket")
    assert "ListenStream=127.0.0.1:4090" in socket_unit.read_text()
    assert any(
        "enable llm-supervisor.socket llm-supervisor.service" in c for c in systemctl.calls()
    )
    invoke("service", "install", "--port", "4090")
    assert socket_unit.exists(), "as it was installed"
    invoke("service", "install", "--no-socket", "--port", "4090")
    assert not socket_unit.exists()


def test_uninstall_stops_it_and_leaves_nothing(
    invoke: Invoke, systemctl: FakeServiceCommand, unit: Path, home: Path
) -> None:
    invoke("service", "install", "--socket")
    link = unit.parent / "default.target.wants" / unit.name
    link.parent.mkdir()
    link.symlink_to(unit)
    systemctl.calls()
    ended = invoke("service", "uninstall")
    assert ended.exit_code == 0
    assert systemctl.calls() == [
        "--user disable --now llm-supervisor.socket llm-supervisor.service",
        "--user daemon-reload",
    ]
    assert not unit.exists()
    assert not link.is_symlink()
    again = invoke("service", "uninstall")
    assert (again.exit_code, again.output) == (0, "there is no service installed\n")


def test_uninstall_without_a_bus_removes_the_files_and_says_what_was_not_done(
    invoke: Invoke, systemctl: FakeServiceCommand, unit: Path
) -> None:
    invoke("service", "install")
    systemctl.say(("--user", 1, NO_BUS))
    ended = invoke("service", "uninstall")
    assert ended.exit_code == 0
    assert not unit.exists()
    assert "supervisor stop" in ended.output


@pytest.mark.parametrize("word", ["start", "stop"])
def test_start_and_stop_are_handed_on(
    invoke: Invoke, systemctl: FakeServiceCommand, word: str
) -> None:
    assert invoke("service", word).exit_code == 1, "there is none yet"
    invoke("service", "install", "--no-start")
    systemctl.calls()
    assert invoke("service", word).exit_code == 0
    assert f"--user {word} llm-supervisor.service" in systemctl.calls()
    systemctl.say((word, 1, "Job failed."))
    ended = invoke("service", word)
    assert ended.exit_code == 1
    assert "Job failed." in ended.output


def test_status_ends_with_0_69_or_1(invoke: Invoke, systemctl: FakeServiceCommand) -> None:
    assert invoke("service", "status").exit_code == 1
    invoke("service", "install", "--no-start")
    ended = invoke("service", "status")
    assert ended.exit_code == 0
    assert "active (running), enabled" in ended.output
    systemctl.say(("show", 0, INACTIVE))
    assert invoke("service", "status").exit_code == 69
    systemctl.say(("show", 1, NO_BUS))
    ended = invoke("service", "status")
    assert ended.exit_code == 69
    assert "systemd does not answer" in ended.output


def test_print_writes_nothing_and_its_output_is_the_file(
    invoke: Invoke, systemctl: FakeServiceCommand, unit: Path
) -> None:
    shown = invoke("service", "print", "--port", "4090").stdout
    assert not unit.exists()
    assert systemctl.calls() == []
    invoke("service", "install", "--port", "4090")
    assert shown == unit.read_text()


def test_what_the_service_will_lack_is_said(
    invoke: Invoke, systemctl: FakeServiceCommand, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = home / ".config" / "llm-supervisor" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('[[account]]\nname = "work"\napi_key = "${WORK_KEY}"\n')
    monkeypatch.setenv("WORK_KEY", "sk-ant-api03-in-the-shell")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:word@proxy:1")
    said = invoke("service", "install").output
    assert "WORK_KEY" in said
    assert "service.env" in said
    assert "HTTPS_PROXY may hold a secret" in said
    assert "word" not in said
    (file.parent / "service.env").write_text("WORK_KEY=x\nHTTPS_PROXY=http://proxy:1\n")
    assert "warning" not in invoke("service", "install").output


def test_keys_that_only_the_shell_has_are_said_to_be_lacking(
    invoke: Invoke, systemctl: FakeServiceCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-api03-in-the-shell")
    assert "are not the service's" in invoke("service", "install").output


def test_a_configuration_with_errors_is_refused_before_anything_is_written(
    invoke: Invoke, systemctl: FakeServiceCommand, unit: Path, tmp_path: Path
) -> None:
    config = tmp_path / "c.toml"
    config.write_text("[server]\nport = -1\n")
    assert invoke("service", "install", "--config", str(config)).exit_code == 78
    assert not unit.exists()


def test_without_systemd_it_is_said_what_else_there_is(
    invoke: Invoke, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(home))
    ended = invoke("service", "install")
    assert ended.exit_code == 1
    assert "there is no systemd here" in ended.output


def test_on_windows_a_task_is_printed_and_nothing_is_installed(
    invoke: Invoke, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_system("win32", monkeypatch)
    assert "<Task " in invoke("service", "print").stdout
    ended = invoke("service", "install")
    assert ended.exit_code == 1
    assert "schtasks" in ended.output


@pytest.fixture
def launchctl(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeServiceCommand:
    on_system("darwin", monkeypatch)
    return installed(tmp_path / "bin", "launchctl", monkeypatch)


def test_on_macos_an_agent_is_written_loaded_and_removed(
    invoke: Invoke, launchctl: FakeServiceCommand, home: Path
) -> None:
    target = f"gui/{os.getuid()}/llm-supervisor"
    launchctl.say((f"print {target}", 113, "Could not find service"))
    ended = invoke("service", "install", "--port", "4090")
    path = home / "Library" / "LaunchAgents" / "llm-supervisor.plist"
    assert plistlib.loads(path.read_bytes())["ProgramArguments"][-2:] == ["--port", "4090"]
    assert f"bootstrap gui/{os.getuid()} {path}" in launchctl.calls()
    assert ended.exit_code == 0
    launchctl.say((f"print {target}", 0, "\tstate = running"))
    assert invoke("service", "status").exit_code == 0
    assert "up to date" in invoke("service", "install", "--port", "4090").output
    launchctl.calls()
    invoke("service", "stop")
    assert f"kill SIGTERM {target}" in launchctl.calls()
    invoke("service", "start")
    assert f"kickstart {target}" in launchctl.calls()
    invoke("service", "uninstall")
    assert f"bootout {target}" in launchctl.calls()
    assert not path.exists()


def test_on_macos_no_environment_file_is_promised(
    invoke: Invoke, launchctl: FakeServiceCommand, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """launchd reads none."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "c"))
    file = home / "c" / "llm-supervisor" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('[[account]]\nname = "work"\napi_key = "${WORK_KEY}"\n')
    (file.parent / "service.env").write_text("WORK_KEY=x\n")
    monkeypatch.setenv("WORK_KEY", "sk-ant-api03-in-the-shell")
    said = invoke("service", "install", "--no-start").output
    assert "WORK_KEY" in said
    assert "service.env" not in said


def test_a_plist_of_somebody_else_is_left_alone(
    invoke: Invoke, launchctl: FakeServiceCommand, home: Path
) -> None:
    path = home / "Library" / "LaunchAgents" / "llm-supervisor.plist"
    path.parent.mkdir(parents=True)
    for content in (plistlib.dumps({"Label": "other"}), b"rubbish"):
        path.write_bytes(content)
        assert invoke("service", "install").exit_code == 73
        assert path.read_bytes() == content
    assert invoke("service", "install", "--socket").exit_code == 2


def test_a_command_that_hangs_or_is_not_there_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="No such file"):
        asked(str(tmp_path / "none"))
    with pytest.raises(CommandFailed, match="did not end within"):
        asked("sleep", "5", seconds=0.05)
