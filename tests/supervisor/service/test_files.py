"""The files of service managers: read back by those who read them, where they are here."""

from __future__ import annotations

import os
import plistlib
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.config import Account, Client, Config, Server, variable_name
from protocol.config.schema import settings
from supervisor.service.agent import agent
from supervisor.service.description import Description, described, own_command, sorted_out
from supervisor.service.surroundings import read_environment_file
from supervisor.service.task import task
from supervisor.service.unit import NEVER_AGAIN, command_line, program_of, service_unit, socket_unit
from tests.kit import canaries

PLAIN = Description(
    command=("/usr/bin/true",),
    run=("run", "--port", "4080"),
    environment=(("CLAUDE_CONFIG_DIR", "/home/me/.claude"),),
    environment_file="/home/me/.config/llm-supervisor/service.env",
    state_directory="/home/me/.local/state/llm-supervisor",
    log_file="/home/me/.local/state/llm-supervisor/service.log",
    stop_seconds=55.0,
    address="127.0.0.1:4080",
    writes=("/home/me/.local/state/llm-supervisor", "/home/me/.claude"),
)
ODD = msgspec.structs.replace(
    PLAIN,
    run=("run", "/tmp/a b%h$HOME\\x'\"/c.toml"),
    environment=(("SUPERVISOR_ROUTING_SWITCH_AT", '{ "5h" = 0.9 } %i'), ("NO_PROXY", "a, b")),
)


def _verified(directory: Path, name: str, text: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here")
    path = directory / name
    path.write_text(text)
    return subprocess.run(
        ["systemd-analyze", "--user", "verify", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("service", [PLAIN, ODD], ids=["plain", "odd"])
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path, service: Description) -> None:
    ended = _verified(tmp_path, "llm-supervisor.service", service_unit(service))
    assert (ended.returncode, ended.stdout + ended.stderr) == (0, "")


def test_systemd_finds_nothing_wrong_with_the_socket_and_its_service(tmp_path: Path) -> None:
    (tmp_path / "llm-supervisor.service").write_text(service_unit(PLAIN))
    ended = _verified(tmp_path, "llm-supervisor.socket", socket_unit(PLAIN))
    assert (ended.returncode, ended.stdout + ended.stderr) == (0, "")


def test_systemd_would_have_found_a_key_it_does_not_know(tmp_path: Path) -> None:
    broken = service_unit(PLAIN).replace("WatchdogSec=", "WatchdogSeconds=")
    ended = _verified(tmp_path, "llm-supervisor.service", broken)
    assert "WatchdogSeconds" in ended.stderr


def test_the_unit_says_what_a_service_of_ours_needs() -> None:
    lines = service_unit(PLAIN).splitlines()
    for line in (
        "Type=notify",
        "ExecStart=/usr/bin/true run --port 4080",
        "ExecStopPost=-/usr/bin/true repair",
        "Restart=on-failure",
        "RestartPreventExitStatus=73 77 78",
        "WatchdogSec=30",
        "TimeoutStopSec=55",
        "NoNewPrivileges=yes",
        "EnvironmentFile=-/home/me/.config/llm-supervisor/service.env",
    ):
        assert line in lines
    assert {73, 77, 78} == set(NEVER_AGAIN)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), min_size=1))
def test_a_word_of_a_command_line_is_read_back_as_it_was(word: str) -> None:
    """By the rules of systemd.service(5): quotes, backslashes, then % and $ doubled."""
    written = command_line((word, "next"))
    assert program_of(f"ExecStart={written}".encode()) == word


def test_a_line_end_in_a_word_does_not_end_the_line() -> None:
    assert "\n" not in command_line(("a\nExecStart=/evil",))


def test_the_agent_is_read_back_as_it_was() -> None:
    read = plistlib.loads(agent(ODD))
    assert read["ProgramArguments"] == ["/usr/bin/true", *ODD.run]
    assert read["EnvironmentVariables"] == dict(ODD.environment)
    assert read["KeepAlive"] == {"SuccessfulExit": False}
    assert read["ExitTimeOut"] == 55
    assert read["RunAtLoad"] is True
    assert read["StandardErrorPath"] == ODD.log_file
    assert plistlib.loads(plistlib.dumps(read)) == read


def test_the_task_is_xml_with_the_command_in_it() -> None:
    root = ElementTree.fromstring(task(ODD).encode("utf-16"))  # noqa: S314 - our own
    space = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
    found = {one.tag.removeprefix(space): one.text or "" for one in root.iter()}
    assert found["Command"] == "/usr/bin/true"
    assert found["Arguments"].startswith("run ")
    assert found["ExecutionTimeLimit"] == "PT0S"


def test_a_stop_gets_the_drain_and_what_comes_after_it() -> None:
    config = Config(server=Server(drain_seconds=300.0), client=Client(release_after=10.0))
    assert described(config, {}).stop_seconds >= 310 + 12


def test_the_description_names_what_is_written_to() -> None:
    account = Account("work", credentials="/elsewhere/.credentials.json")
    config = Config(accounts=(account,), client=Client(settings=("/c/settings.json",)))
    service = described(config, {"SUPERVISOR_STATE_DIR": "/state"}, port=4090)
    assert set(service.writes) == {"/state", "/c", "/elsewhere"}
    assert service.run == ("run", "--port", "4090")
    assert service.address == "127.0.0.1:4090"
    assert described(Config(server=Server(host="::1")), {}).address == "[::1]:4080"


def test_what_it_needs_of_the_shell_goes_with_it_and_secrets_stay() -> None:
    secret = "sk-ant-api03-not-for-a-unit-file"
    canaries.used_in(secret)
    environ = {
        "PATH": "/bin",
        "ANTHROPIC_API_KEY": secret,
        "SUPERVISOR_ACCESS_TOKEN": secret,
        "SUPERVISOR_STATE_DIR": "/state",
        "SUPERVISOR_UNKNOWN_KEY": "x",
        "HTTPS_PROXY": "http://me:word@proxy:1",
        "NO_PROXY": "a",
        "CLAUDE_CONFIG_DIR": "",
    }
    carried, left = sorted_out(environ)
    assert carried == {"NO_PROXY": "a", "SUPERVISOR_STATE_DIR": "/state"}
    assert sorted(left) == ["HTTPS_PROXY", "SUPERVISOR_ACCESS_TOKEN"]
    assert secret not in service_unit(described(Config(), environ))


def test_no_setting_that_is_a_secret_is_ever_carried() -> None:
    environ = {variable_name(path): "x" for path in settings()}
    carried, left = sorted_out(environ)
    assert {"SUPERVISOR_ACCESS_TOKEN", "SUPERVISOR_PROBE_API_KEY"} == set(left)
    assert "SUPERVISOR_SERVER_TLS_KEY" in carried, "a path, no key"


def test_the_program_of_a_service_is_named_by_its_path() -> None:
    first, *_ = own_command()
    assert os.access(first, os.X_OK)
    assert Path(first).is_absolute()


def test_the_environment_file_is_read_as_systemd_would(tmp_path: Path) -> None:
    file = tmp_path / "service.env"
    file.write_text('# a comment\nA=1\n  B = "two words"\n\nno sign\n;C=3\n')
    assert read_environment_file(file) == {"A": "1", "B": "two words"}
    assert read_environment_file(tmp_path / "none") == {}
