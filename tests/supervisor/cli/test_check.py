"""`supervisor check` shows what is in effect, or everything that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.supervisor.cli.conftest import Invoke


def test_a_valid_file_is_shown_with_where_each_value_came_from(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPERVISOR_LOGS_LEVEL", "debug")
    file = tmp_path / "config.toml"
    file.write_text('[server]\nport = 1234\n[access]\ntoken = "hush-hush-hush"\n')
    file.chmod(0o600)
    done = invoke("check", str(file))
    assert (done.exit_code, done.stderr) == (0, "")
    assert str(file) in done.stdout
    lines = done.stdout.splitlines()
    assert any(line.startswith("port = 1234") and "file" in line for line in lines)
    assert any('level = "debug"' in line and "SUPERVISOR_LOGS_LEVEL" in line for line in lines)
    assert "hush" not in done.output


def test_no_file_is_a_working_configuration(invoke: Invoke) -> None:
    done = invoke("check")
    assert done.exit_code == 0
    assert "port = 4080" in done.stdout


def test_warnings_are_on_stderr_and_do_not_fail_it(invoke: Invoke, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[access]\ntoken = "hush-hush-hush"\n')
    file.chmod(0o644)
    done = invoke("check", str(file))
    assert done.exit_code == 0
    assert done.stderr.startswith(f"warning: {file}")
    assert "chmod" in done.stderr
    assert "chmod" not in done.stdout


@pytest.mark.promise("G1")
def test_all_errors_come_at_once(invoke: Invoke, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[server]\nport = -1\n[nonsense]\n")
    done = invoke("check", str(file))
    assert (done.exit_code, done.stdout) == (78, "")
    assert "the configuration has 2 errors" in done.stderr
    assert "server.port" in done.stderr
    assert "nonsense" in done.stderr


def test_a_single_error_is_one_error(invoke: Invoke, tmp_path: Path) -> None:
    done = invoke("check", str(tmp_path / "missing.toml"))
    assert done.exit_code == 78
    assert "the configuration has 1 error\n" in done.stderr


def test_a_file_that_this_user_may_not_read_is_77(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    file = tmp_path / "config.toml"
    file.touch()
    monkeypatch.setattr("pathlib.Path.open", refuse)
    done = invoke("check", str(file))
    assert done.exit_code == 77
    assert str(file) in done.stderr
