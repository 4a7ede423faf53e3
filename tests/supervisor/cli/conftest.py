"""What the command line's tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click.testing
import pytest

from supervisor.cli.group import commands

Invoke = Callable[..., click.testing.Result]
Start = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def state_dir(home: Path) -> Path:
    """The state directory of the test's environment, not there yet."""
    return Path(os.environ["SUPERVISOR_STATE_DIR"])


@pytest.fixture
def invoke() -> Invoke:
    """Run a command in this process."""

    def invoke(*arguments: str, stdin: str = "") -> click.testing.Result:
        runner = click.testing.CliRunner()
        return runner.invoke(commands, arguments, input=stdin, prog_name="supervisor")

    return invoke


@pytest.fixture
def start() -> Start:
    """Run `python -m supervisor ...` as a process, piped, to its end."""

    def start(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "supervisor", *arguments],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return start
