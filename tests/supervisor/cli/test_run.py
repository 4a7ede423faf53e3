"""`supervisor run` hands on what was asked, and ends with the exit code of what was started."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_type_hints

import pytest

import supervisor
from protocol.config.model import Logs, Strategy
from supervisor import instance
from supervisor.cli import run as run_module
from supervisor.configuration import Loaded
from supervisor.options import RunOptions
from tests.supervisor.cli.conftest import Invoke, Start


class Worker(ModuleType):
    """Stands in for `supervisor.starting`: remembers what it was given."""

    def __init__(self) -> None:
        super().__init__("supervisor.starting")
        self.code = 0
        self.failure: Exception | None = None
        self.given: list[tuple[Loaded, RunOptions]] = []

    def run(self, loaded: Loaded, options: RunOptions) -> int:
        self.given.append((loaded, options))
        if self.failure is not None:
            raise self.failure
        return self.code


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    worker = Worker()
    monkeypatch.setitem(sys.modules, "supervisor.starting", worker)
    monkeypatch.setattr(supervisor, "starting", worker, raising=False)
    return worker


def overrides_of(worker: Worker) -> Mapping[str, Any]:
    return worker.given[0][1].overrides


def test_without_options_nothing_is_overridden(
    worker: Worker, invoke: Invoke, state_dir: Path
) -> None:
    assert invoke("run").exit_code == 0
    loaded, options = worker.given[0]
    assert options == RunOptions(state_directory=state_dir)
    assert (options.overrides, options.argument) == ({}, None)
    assert (options.manage_client, options.quiet) == (True, False)
    assert loaded.config.server.port == 4080


def test_every_option_reaches_the_configuration_and_the_worker(
    worker: Worker, invoke: Invoke, tmp_path: Path
) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[server]\nport = 1234\n")
    done = invoke(
        *("run", str(file), "--host", "::1", "--port", "0", "--strategy", "weighted"),
        *("--no-client", "--log-level", "debug", "--quiet"),
    )
    assert done.exit_code == 0
    loaded, options = worker.given[0]
    assert (loaded.config.server.host, loaded.config.server.port) == ("::1", 0)
    assert loaded.config.routing.strategy == "weighted"
    assert loaded.config.logs.level == "debug"
    assert loaded.config.client.manage is False
    assert loaded.path == options.argument == file
    assert (options.manage_client, options.quiet) == (False, True)
    assert overrides_of(worker) == {
        "server.host": "::1",
        "server.port": 0,
        "routing.strategy": "weighted",
        "logs.level": "debug",
        "client.manage": False,
    }


@pytest.mark.parametrize("code", [0, 70, 73, 77])
def test_the_exit_code_is_the_workers(worker: Worker, invoke: Invoke, code: int) -> None:
    worker.code = code
    assert invoke("run").exit_code == code


def test_all_errors_of_the_configuration_are_printed_and_nothing_starts(
    worker: Worker, invoke: Invoke, tmp_path: Path
) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[server]\nport = 99999\nprot = 1\n[routing]\nstrategy = 7\n")
    done = invoke("run", str(file))
    assert (done.exit_code, done.stdout) == (78, "")
    assert "the configuration has 3 errors" in done.stderr
    for key in ("server.port", "server.prot", "routing.strategy"):
        assert f"{file}: {key}: found" in done.stderr
    assert worker.given == []


def test_a_second_instance_is_73_and_names_the_first(
    worker: Worker, invoke: Invoke, state_dir: Path
) -> None:
    first = instance.Instance(
        pid=4711, host="0.0.0.0", port=4080, started_at="", id="x", version=""
    )
    worker.failure = instance.AlreadyRunning(first, state_dir)
    done = invoke("run")
    assert done.exit_code == 73
    assert "already running: pid 4711 at http://127.0.0.1:4080" in done.stderr
    assert "supervisor stop" in done.stderr


def test_a_state_directory_that_can_not_be_written_is_77_with_its_path(
    worker: Worker, invoke: Invoke, state_dir: Path
) -> None:
    error = PermissionError(13, "Permission denied")
    worker.failure = instance.StateDirectoryUnusable(state_dir, error)
    done = invoke("run")
    assert done.exit_code == 77
    assert f"{state_dir}: Permission denied" in done.stderr


def test_warnings_do_not_stop_it(
    worker: Worker, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPERVISOR_SERVER_PROT", "1")
    done = invoke("run")
    assert done.exit_code == 0
    assert done.stderr.startswith("warning: SUPERVISOR_SERVER_PROT")


@pytest.mark.parametrize(
    "arguments",
    [["--port", "65536"], ["--port", "x"], ["--strategy", "best"], ["--log-level", "loud"]],
)
def test_an_impossible_option_is_a_usage_error(
    worker: Worker, invoke: Invoke, arguments: list[str]
) -> None:
    assert invoke("run", *arguments).exit_code == 2
    assert worker.given == []


def test_the_choices_are_those_of_the_configuration() -> None:
    assert get_args(Strategy) == run_module.STRATEGIES
    assert get_args(get_type_hints(Logs)["level"]) == run_module.LOG_LEVELS


def test_errors_of_a_real_process_are_on_stderr(start: Start, tmp_path: Path) -> None:
    done = start("run", str(tmp_path / "missing.toml"))
    assert (done.returncode, done.stdout) == (78, "")
    assert str(tmp_path / "missing.toml") in done.stderr
