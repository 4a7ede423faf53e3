"""`supervisor exec` runs a command that talks to the running instance, and touches no file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from supervisor.cli.execute import environment_for
from tests.supervisor.cli.conftest import Invoke, Start
from tests.supervisor.stub_instance import stub_instance

URL = "http://127.0.0.1:4080"
PRINT_ENVIRONMENT = (sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))")


def environment(
    base: Mapping[str, str], *, pool: bool = True, token: str = "", **more: Any
) -> dict[str, str]:
    values = {"url": URL, "host": "127.0.0.1", "client_environment": {}, **more}
    return environment_for(base, pool=pool, token=token, **values)


def test_the_base_url_is_the_instances_whatever_was_there(tmp_path: Path) -> None:
    base = {"HOME": str(tmp_path), "ANTHROPIC_BASE_URL": "https://elsewhere", "OTHER": "stays"}
    for pool in (True, False):
        made = environment(base, pool=pool)
        assert made["ANTHROPIC_BASE_URL"] == URL
        assert made["OTHER"] == "stays"
    assert base["ANTHROPIC_BASE_URL"] == "https://elsewhere"


def test_a_client_without_a_login_is_given_a_token_where_accounts_pay(tmp_path: Path) -> None:
    base = {"HOME": str(tmp_path)}
    assert environment(base)["ANTHROPIC_AUTH_TOKEN"] == "llm-supervisor"
    assert environment(base, token="hush")["ANTHROPIC_AUTH_TOKEN"] == "hush"


@pytest.mark.parametrize(
    "name", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"]
)
def test_a_credential_of_the_clients_own_stays(name: str, tmp_path: Path) -> None:
    base = {"HOME": str(tmp_path), name: "mine"}
    made = environment(base)
    assert made[name] == "mine"
    assert made.get("ANTHROPIC_AUTH_TOKEN", "mine") == "mine"
    assert environment(base, token="hush")["ANTHROPIC_AUTH_TOKEN"] == "hush"


@pytest.mark.parametrize("named", [True, False])
def test_a_login_of_claude_codes_stays(named: bool, tmp_path: Path) -> None:
    directory = tmp_path / ("elsewhere" if named else ".claude")
    base = {"HOME": str(tmp_path)} | ({"CLAUDE_CONFIG_DIR": str(directory)} if named else {})
    assert "ANTHROPIC_AUTH_TOKEN" in environment(base)
    directory.mkdir()
    (directory / ".credentials.json").write_text("{}")
    assert "ANTHROPIC_AUTH_TOKEN" not in environment(base)


def test_a_login_of_claude_codes_that_no_file_has_stays_too(tmp_path: Path) -> None:
    base = {"HOME": str(tmp_path)}
    (tmp_path / ".claude.json").write_text('{"oauthAccount": {"accountUuid": "one"}}')
    assert "ANTHROPIC_AUTH_TOKEN" not in environment(base)


def test_where_the_client_pays_itself_it_gets_no_token_of_ours(tmp_path: Path) -> None:
    base = {"HOME": str(tmp_path)}
    assert "ANTHROPIC_AUTH_TOKEN" not in environment(base, pool=False)
    told = environment(base, pool=False, token="hush")
    assert "ANTHROPIC_AUTH_TOKEN" not in told
    assert told["ANTHROPIC_CUSTOM_HEADERS"] == "x-supervisor-key: hush"
    own = {**base, "ANTHROPIC_CUSTOM_HEADERS": "a: b"}
    told = environment(own, pool=False, token="hush")
    assert told["ANTHROPIC_CUSTOM_HEADERS"] == "a: b\nx-supervisor-key: hush"


def test_the_clients_settings_are_added_and_replace_nothing(tmp_path: Path) -> None:
    made = environment(
        {"HOME": str(tmp_path), "ENABLE_TOOL_SEARCH": "false"},
        client_environment={"ENABLE_TOOL_SEARCH": "true", "OTHER": "1"},
    )
    assert (made["ENABLE_TOOL_SEARCH"], made["OTHER"]) == ("false", "1")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, "127.0.0.1"),
        ({"NO_PROXY": "a, b,"}, "a,b,127.0.0.1"),
        ({"no_proxy": "a"}, "a,127.0.0.1"),
        ({"NO_PROXY": "127.0.0.1,a"}, "127.0.0.1,a"),
        ({"NO_PROXY": "*"}, "*"),
    ],
)
def test_no_proxy_stands_between_in_either_spelling(
    before: dict[str, str], after: str, tmp_path: Path
) -> None:
    made = environment({"HOME": str(tmp_path), **before})
    assert (made["NO_PROXY"], made["no_proxy"]) == (after, after)


def test_two_different_no_proxy_lists_stay_two(tmp_path: Path) -> None:
    made = environment({"HOME": str(tmp_path), "NO_PROXY": "a", "no_proxy": "b"})
    assert (made["NO_PROXY"], made["no_proxy"]) == ("a,127.0.0.1", "b,127.0.0.1")


def test_a_real_command_sees_the_instance(state_dir: Path, start: Start) -> None:
    with stub_instance(state_dir) as server:
        server.answers["GET", "/status"] = (200, {"mode": "pool"})
        done = start("exec", "--", *PRINT_ENVIRONMENT)
    assert (done.returncode, done.stderr) == (0, "")
    seen = json.loads(done.stdout)
    assert seen["ANTHROPIC_BASE_URL"] == f"http://127.0.0.1:{server.server_address[1]}"
    assert seen["ANTHROPIC_AUTH_TOKEN"] == "llm-supervisor"
    assert seen["ENABLE_TOOL_SEARCH"] == "true"
    assert seen["CLAUDE_CODE_ENABLE_FINE_GRAINED_TOOL_STREAMING"] == "1"


def test_the_configured_token_is_what_the_command_sends(
    state_dir: Path, tmp_path: Path, start: Start
) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[access]\ntoken = "hush-hush-hush"\n[client]\nenvironment = { A = "b" }\n')
    with stub_instance(state_dir, token="hush-hush-hush", config=str(file)) as server:
        server.answers["GET", "/status"] = (200, {"mode": "pool"})
        done = start("exec", *PRINT_ENVIRONMENT, ANTHROPIC_API_KEY="mine")
    seen = json.loads(done.stdout)
    assert seen["ANTHROPIC_AUTH_TOKEN"] == "hush-hush-hush"
    assert seen["A"] == "b"
    assert "ENABLE_TOOL_SEARCH" not in seen


def test_a_configuration_that_no_longer_loads_does_not_stand_in_the_way(
    state_dir: Path, tmp_path: Path, start: Start
) -> None:
    file = tmp_path / "config.toml"
    file.write_text("nonsense")
    with stub_instance(state_dir, config=str(file)):
        done = start("exec", *PRINT_ENVIRONMENT)
    assert done.returncode == 0
    assert "supervisor check" in done.stderr


def test_options_output_and_exit_code_are_the_commands_own(state_dir: Path, start: Start) -> None:
    with stub_instance(state_dir):
        for separator in ([], ["--"]):
            done = start("exec", *separator, "sh", "-c", "echo $1 $2; exit 7", "-", "--help", "--x")
            assert (done.returncode, done.stdout) == (7, "--help --x\n")


def test_the_process_is_replaced_so_that_signals_are_the_commands_own(state_dir: Path) -> None:
    with stub_instance(state_dir):
        process = subprocess.Popen(
            [sys.executable, "-m", "supervisor", "exec", "sh", "-c", "echo $$; exec sleep 30"],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"{process.pid}\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == -signal.SIGTERM
        finally:
            process.kill()
            process.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_signal_is_ignored_that_python_alone_ignores(state_dir: Path, start: Start) -> None:
    with stub_instance(state_dir):
        done = start("exec", "grep", "SigIgn", "/proc/self/status")
    ignored = int(done.stdout.split()[1], 16)
    assert not ignored & (1 << (signal.SIGPIPE - 1))
    assert not ignored & (1 << (signal.SIGXFSZ - 1))


def test_a_command_that_is_not_there_is_127(state_dir: Path, start: Start) -> None:
    with stub_instance(state_dir):
        done = start("exec", "no-such-command-anywhere")
    assert (done.returncode, done.stdout) == (127, "")
    assert "command not found: no-such-command-anywhere" in done.stderr


def test_a_file_that_can_not_be_run_is_126(state_dir: Path, tmp_path: Path, start: Start) -> None:
    file = tmp_path / "text"
    file.write_text("text")
    with stub_instance(state_dir):
        done = start("exec", str(file))
    assert done.returncode == 126
    assert f"cannot run {file}" in done.stderr


def test_without_an_instance_nothing_is_run(start: Start, tmp_path: Path) -> None:
    done = start("exec", "touch", str(tmp_path / "made"))
    assert done.returncode == 69
    assert "supervisor run" in done.stderr
    assert not (tmp_path / "made").exists()


def test_without_a_command_it_is_a_usage_error(invoke: Invoke) -> None:
    assert invoke("exec").exit_code == 2


def test_no_file_is_touched(state_dir: Path, home: Path, start: Start) -> None:
    with stub_instance(state_dir):
        before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
        assert start("exec", "true").returncode == 0
        assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before
    assert os.environ.get("ANTHROPIC_BASE_URL") is None
