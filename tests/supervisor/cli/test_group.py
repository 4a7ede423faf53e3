"""The command line as a whole: help, version, completion, and a quick start."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

import supervisor
from supervisor.cli.group import commands
from tests.supervisor.cli.conftest import Invoke, Start

HEAVY = {"trio", "rich", "httpx", "quart", "quart_trio", "hypercorn", "http.client", "platformdirs"}


def test_help_names_every_command_and_what_it_does(start: Start) -> None:
    done = start("--help")
    assert (done.returncode, done.stderr) == (0, "")
    width = max(map(len, commands.commands)) + 2
    for name, command in commands.commands.items():
        assert command.short_help
        assert f"  {name:<{width}}{command.short_help}"[:40] in done.stdout
    assert list(commands.commands) == [
        "setup", "run", "check", "status", "usage", "logs", "explain", "statusline", "auth", "keys", "exec",
        "reload", "stop", "client", "service", "doctor", "repair", "uninstall", "simulate", "demo",
    ]  # fmt: skip
    assert "_SUPERVISOR_COMPLETE=bash_source" in done.stdout


@pytest.mark.parametrize("name", sorted(commands.commands))
def test_every_command_explains_itself(name: str, invoke: Invoke) -> None:
    done = invoke(name, "-h")
    assert done.exit_code == 0
    assert done.stdout.startswith(f"Usage: supervisor {name}")


def test_the_version_is_one_line(start: Start) -> None:
    done = start("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("supervisor ")
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"], ["run", "a", "b"]])
def test_what_is_not_understood_is_a_usage_error(arguments: list[str], start: Start) -> None:
    done = start(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: supervisor" in done.stderr


def test_completion_knows_commands_and_values(start: Start) -> None:
    done = start(
        _SUPERVISOR_COMPLETE="bash_complete",
        COMP_WORDS="supervisor run --strategy ",
        COMP_CWORD="3",
    )
    assert "plain,round-robin" in done.stdout
    assert "_supervisor_completion" in start(_SUPERVISOR_COMPLETE="zsh_source").stdout


def test_asking_for_help_loads_nothing_heavy() -> None:
    program = (
        "import sys; from supervisor.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(*sorted(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "click" in loaded
    assert not loaded & HEAVY


def test_status_does_not_load_the_servers_libraries(start: Start) -> None:
    done = start("status", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 69
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "supervisor.instance" in imported
    assert not imported & {"trio", "httpx", "quart", "hypercorn"}


def test_the_demo_ends_with_its_own_code(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    demonstration = ModuleType("supervisor.demo")
    monkeypatch.setattr(demonstration, "run", lambda: 73, raising=False)
    monkeypatch.setitem(sys.modules, "supervisor.demo", demonstration)
    monkeypatch.setattr(supervisor, "demo", demonstration, raising=False)
    assert invoke("demo").exit_code == 73
