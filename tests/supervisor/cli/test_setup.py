"""`supervisor setup`: what it finds, asks, does and says; and that it does nothing half."""

from __future__ import annotations

import json
import os
import time
import tomllib
from pathlib import Path

import pytest

from protocol.config import Config, decode
from supervisor.first_config import first_config
from tests.kit import canaries
from tests.kit.rounds import rounds
from tests.kit.service_commands import (
    ACTIVE,
    INACTIVE,
    NO_BUS,
    FakeServiceCommand,
    installed,
    on_system,
)
from tests.kit.terminal import Terminal
from tests.supervisor.cli.conftest import Invoke
from tests.supervisor.stub_instance import stub_instance

ACCESS = "sk-ant-oat01-setup-access"
KEY = "sk-ant-api03-setup-key"


@pytest.fixture
def systemctl(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeServiceCommand:
    """One without a user bus."""
    fake = installed(tmp_path / "bin", "systemctl", monkeypatch)
    fake.say(("--user", 1, NO_BUS))
    return fake


@pytest.fixture
def usual_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is free, whatever else runs on this machine."""
    monkeypatch.setattr("supervisor.cli.setup_steps.is_free", lambda port: True)


@pytest.fixture
def config(home: Path) -> Path:
    return home / ".config" / "llm-supervisor" / "config.toml"


def _log_in(directory: Path) -> Path:
    canaries.used_in(ACCESS)
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / ".credentials.json"
    oauth = {
        "accessToken": ACCESS,
        "refreshToken": "sk-ant-ort01-setup-refresh",
        "expiresAt": int((time.time() + 9e5) * 1000),
    }
    file.write_text(json.dumps({"claudeAiOauth": oauth}))
    file.chmod(0o600)
    return file


def _files(home: Path) -> dict[str, bytes]:
    """Everything but lock files, which stay."""
    return {
        str(path): path.read_bytes()
        for path in sorted(home.rglob("*"))
        if path.is_file() and not path.name.endswith(".lock")
    }


def _stored(state: Path) -> dict[str, dict[str, str]]:
    stored: dict[str, dict[str, str]] = json.loads((state / "accounts.json").read_text())[
        "accounts"
    ]
    return stored


@pytest.mark.usefixtures("systemctl", "usual_port")
def test_yes_takes_logins_and_keys_writes_a_file_and_says_what_is_next(
    invoke: Invoke, home: Path, state_dir: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _log_in(home / ".claude-work")
    monkeypatch.setenv("CLAUDE_CONFIG_DIRS", str(home / ".claude-work"))
    monkeypatch.setenv("ANTHROPIC_API_KEY_SPARE_ONE", KEY)
    ended = invoke("setup", "--yes", "--keys")
    assert ended.exit_code == 0, ended.output
    stored = _stored(state_dir)
    assert stored["work"]["credentials"] == str(home / ".claude-work" / ".credentials.json")
    assert stored["spare-one"]["accessToken"] == KEY
    assert config.stat().st_mode & 0o777 == 0o600
    assert decode(tomllib.loads(config.read_text()), variables={}, source="x") == Config()
    assert f"no service: systemd user unit: {NO_BUS}" in ended.output, ended.output
    assert "supervisor run" in ended.output
    assert KEY not in ended.output
    assert ACCESS not in ended.output


@pytest.mark.usefixtures("systemctl")
def test_a_second_time_changes_nothing(
    invoke: Invoke, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _log_in(home / ".claude")
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    invoke("setup", "--yes", "--keys")
    before = _files(home)
    ended = invoke("setup", "--yes", "--keys")
    assert ended.exit_code == 0
    assert "everything is set up already" in ended.output
    assert _files(home) == before


@pytest.mark.usefixtures("systemctl")
def test_a_key_that_lies_in_the_shell_does_not_pay_where_a_login_does(
    invoke: Invoke, home: Path, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    _log_in(home / ".claude")
    invoke("setup", "--yes")
    assert list(_stored(state_dir)) == ["claude"]


@pytest.mark.usefixtures("systemctl")
def test_without_a_login_the_key_is_taken_and_the_token_of_another_server_is_not(
    invoke: Invoke, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("CLAUDE_CODE_OAUTH_TOKEN", "with blanks in it")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "another")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://elsewhere")
    ended = invoke("setup", "--yes")
    assert list(_stored(state_dir)) == ["api-key"]
    assert "CLAUDE_CODE_OAUTH_TOKEN is ignored" in ended.output


@pytest.mark.usefixtures("systemctl")
def test_a_file_of_yours_is_never_written_over_and_what_would_change_is_shown(
    invoke: Invoke, config: Path
) -> None:
    config.parent.mkdir(parents=True)
    config.write_text("[server]\nport = 4085\n")
    ended = invoke("setup", "--yes", "--port", "4090", "--no-client")
    assert config.read_text() == "[server]\nport = 4085\n"
    assert "is left as it is" in ended.output
    assert "port = 4090    # now 4085" in ended.output
    assert "manage = false    # now true" in ended.output
    assert "to get what you chose" not in invoke("setup", "--yes", "--port", "4085").output


@pytest.mark.usefixtures("systemctl")
def test_a_configuration_with_errors_is_told_before_anything_is_done(
    invoke: Invoke, home: Path, config: Path
) -> None:
    _log_in(home / ".claude")
    config.parent.mkdir(parents=True)
    config.write_text("[server]\nport = -1\n")
    before = _files(home)
    assert invoke("setup", "--yes").exit_code == 78
    assert _files(home) == before


@pytest.mark.usefixtures("systemctl")
def test_nobody_to_ask_and_no_yes_is_an_error_that_names_the_flag(
    invoke: Invoke, home: Path
) -> None:
    _log_in(home / ".claude")
    before = _files(home)
    ended = invoke("setup")
    assert ended.exit_code == 2
    assert "--logins or --no-logins, or --yes" in ended.output
    assert _files(home) == before


def test_every_question_has_a_flag(
    invoke: Invoke,
    home: Path,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    systemctl: FakeServiceCommand,
) -> None:
    """With all of them nobody is asked, and with all of them off nothing is done."""
    systemctl.say()
    _log_in(home / ".claude")
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    before = _files(home)
    off = ("--no-logins", "--no-keys", "--no-config-file", "--no-client", "--no-service")
    ended = invoke("setup", *off, "--port", "4090")
    assert ended.exit_code == 0, ended.output
    assert _files(home) == before
    on = [flag.replace("--no-", "--") for flag in off]
    assert invoke("setup", *on, "--port", "4090").exit_code == 0
    assert "port = 4090" in config.read_text()


def test_the_service_is_installed_and_started(
    invoke: Invoke, home: Path, systemctl: FakeServiceCommand
) -> None:
    systemctl.say(("show ", 0, ACTIVE))
    ended = invoke("setup", "--yes")
    assert ended.exit_code == 0
    assert "the service runs" in ended.output
    assert "--user restart llm-supervisor.service" in systemctl.calls()
    systemctl.say(("show ", 0, INACTIVE))
    again = invoke("setup", "--yes").output
    assert "supervisor service start" in again
    assert not [c for c in systemctl.calls() if "show" not in c]


@pytest.mark.usefixtures("systemctl")
def test_the_service_manager_is_that_of_the_system(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path / "macos", "launchctl", monkeypatch).say(("", 1, "no such domain"))
    with monkeypatch.context() as macos:
        on_system("darwin", macos)
        assert "no service: launchd agent: no such domain" in invoke("setup", "--yes").output
    assert f"no service: systemd user unit: {NO_BUS}" in invoke("setup", "--yes").output


@pytest.mark.usefixtures("systemctl")
def test_a_service_that_was_asked_for_and_does_not_start_fails_after_all_else_is_done(
    invoke: Invoke, config: Path
) -> None:
    ended = invoke("setup", "--yes", "--service")
    assert ended.exit_code == 1
    assert config.exists()
    assert ended.output.index("what next") < ended.output.index("daemon-reload` failed")


@pytest.mark.usefixtures("systemctl")
def test_a_taken_port_is_noticed_and_another_one_written_down(
    invoke: Invoke, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.cli.setup_steps.is_free", lambda port: port > 4081)
    ended = invoke("setup", "--yes")
    assert "port 4080 is taken" in ended.output
    assert tomllib.loads(config.read_text())["server"]["port"] == 4082


@pytest.mark.usefixtures("systemctl")
def test_an_instance_that_runs_is_pointed_at(
    invoke: Invoke, home: Path, state_dir: Path, config: Path
) -> None:
    (home / ".claude").mkdir()
    config.parent.mkdir(parents=True)
    config.write_text("")
    with stub_instance(state_dir, config=str(config)) as server:
        ended = invoke("setup", "--yes")
        settings = json.loads((home / ".claude" / "settings.json").read_text())
        url = settings["env"]["ANTHROPIC_BASE_URL"]
        assert url.endswith(f":{server.server_address[1]}")
        assert "Claude Code points there" in ended.output
        again = invoke("setup", "--yes")
        assert "everything is set up already" in again.output


@pytest.mark.usefixtures("systemctl")
def test_a_client_that_cannot_be_pointed_fails_after_all_else_is_done(
    invoke: Invoke, home: Path, state_dir: Path, config: Path
) -> None:
    (home / ".claude").mkdir()
    settings = home / ".claude" / "settings.json"
    settings.write_text("{")
    with stub_instance(state_dir, config=str(config)):
        ended = invoke("setup", "--yes")
    assert ended.exit_code == 1
    assert "what next:" in ended.output
    assert "nothing was changed" in ended.output
    assert settings.read_text() == "{"
    assert config.exists()


def test_the_first_configuration_is_valid_and_shows_the_defaults() -> None:
    text = first_config()
    assert decode(tomllib.loads(text), variables={}, source="x") == Config()
    shown = "\n".join(
        line.removeprefix("# ") if line.startswith("# ") and " = " in line else line
        for line in text.splitlines()
        if "[[" not in line and "${" not in line
    )
    plain = shown.split("name = ")[0] + "[routing]" + shown.partition("[routing]")[2]
    before, _, after = plain.partition('name = "openai"')
    plain = before + "[client]" + after.partition("[client]")[2]
    plain = plain.replace('token = ""', "")
    assert decode(tomllib.loads(plain), variables={}, source="x") == Config()
    for key in ("drain_seconds", "strategy", "max_wait", "manage", "keep_days", "subscription_use"):
        assert f"{key} = " in plain


@pytest.mark.parametrize("port", [4080, 4090])
@pytest.mark.parametrize("manage", [True, False])
def test_what_was_chosen_is_written_out(port: int, manage: bool) -> None:
    made = decode(tomllib.loads(first_config(port=port, manage=manage)), variables={}, source="x")
    assert (made.server.port, made.client.manage) == (port, manage)


QUESTIONS = (
    "Use the login in",
    "Store the key in $ANTHROPIC_API_KEY",
    "Point Claude Code here",
    "Write a commented configuration",
    "install a service",
)


@pytest.mark.sweep
@pytest.mark.parametrize("number", (4, 0, 1, 2, 3)[: rounds(quick=2, full=5)])
def test_ctrl_c_at_any_question_leaves_everything_as_it_was(
    home: Path, monkeypatch: pytest.MonkeyPatch, systemctl: FakeServiceCommand, number: int
) -> None:
    systemctl.say(("show ", 0, ACTIVE))
    _log_in(home / ".claude")
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    before = _files(home)
    with Terminal("setup", "--port", "4099") as terminal:
        for question in QUESTIONS[:number]:
            terminal.sees(question)
            terminal.types("y\r")
        terminal.sees(QUESTIONS[number])
        terminal.sees("]: ")
        assert terminal.breaks_off() == 1
        assert "broken off; nothing was changed" in terminal.said
    assert _files(home) == before


def test_a_person_is_guided_from_an_empty_home_to_the_end(
    home: Path, config: Path, state_dir: Path, monkeypatch: pytest.MonkeyPatch,
    systemctl: FakeServiceCommand,
) -> None:  # fmt: skip
    systemctl.say(("show ", 0, ACTIVE))
    _log_in(home / ".claude")
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    with Terminal("setup", "--port", "4099") as terminal:
        for question, answer in zip(QUESTIONS, ("", "", "", "y", "n"), strict=True):
            terminal.sees(question)
            terminal.types(f"{answer}\r")
        assert terminal.ends() == 0, terminal.said
        assert "what next:" in terminal.said
    assert list(_stored(state_dir)) == ["claude"], "the usual answer for a key beside a login is no"
    assert tomllib.loads(config.read_text()) == {
        "server": {"port": 4099}, "upstream": {}, "routing": {}, "client": {}, "access": {},
        "logs": {},
    }  # fmt: skip
    assert not [call for call in systemctl.calls() if "enable" in call]


def test_uninstall_purge_leaves_a_home_as_it_was(
    invoke: Invoke, home: Path, state_dir: Path, systemctl: FakeServiceCommand
) -> None:
    systemctl.say(("show ", 0, INACTIVE))
    _log_in(home / ".claude")
    before = _files(home)
    assert invoke("setup", "--yes").exit_code == 0
    (home / ".config" / "llm-supervisor" / "service.env").write_text("A=1\n")
    (state_dir / "service.log").write_text("x")
    assert invoke("keys", "create", "--name", "ci").exit_code == 0
    assert _files(home) != before
    assert invoke("uninstall").exit_code == 0
    assert invoke("uninstall", "--purge", "--yes").exit_code == 0
    assert _files(home) == before
    assert not (home / ".config" / "systemd").exists()
    assert not (home / ".config" / "llm-supervisor").exists()
    left = sorted(path.name for path in state_dir.iterdir()) if state_dir.exists() else []
    assert left == []


def test_uninstall_refuses_while_another_instance_runs_and_touches_no_service(
    invoke: Invoke, home: Path, state_dir: Path, systemctl: FakeServiceCommand
) -> None:
    systemctl.say(("show ", 0, INACTIVE))
    invoke("service", "install", "--no-start")
    with stub_instance(state_dir):
        assert invoke("uninstall").exit_code == 1
    assert (home / ".config" / "systemd" / "user" / "llm-supervisor.service").exists()
    assert os.path.lexists(state_dir)
