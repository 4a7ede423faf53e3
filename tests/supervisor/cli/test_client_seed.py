"""`supervisor client seed-models` writes what Claude Code's picker reads."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import click.testing
import pytest

from supervisor.cli.client_seed import seed_models
from supervisor.picker import CACHE, seed
from tests.supervisor.stub_instance import stub_instance

MODELS = [
    {"type": "model", "id": "claude-supervisor-gpt-5", "display_name": "gpt-5 (other)"},
    {"type": "model", "id": "claude-best"},
    {"type": "model", "id": "gpt-5", "display_name": "never shown"},
    {"type": "model"},
]


def run(*arguments: str) -> click.testing.Result:
    return click.testing.CliRunner().invoke(seed_models, arguments)


@pytest.fixture
def claude_directory(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = home / ".claude"
    directory.mkdir()
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    return directory


def test_the_cache_has_the_form_that_claude_code_reads(tmp_path: Path) -> None:
    assert seed(tmp_path, "http://127.0.0.1:4080", MODELS, 1_790_000_000.5) == 2
    path = tmp_path / CACHE
    assert json.loads(path.read_text()) == {
        "baseUrl": "http://127.0.0.1:4080",
        "fetchedAt": 1_790_000_000_500,
        "models": [
            {"id": "claude-supervisor-gpt-5", "display_name": "gpt-5 (other)"},
            {"id": "claude-best", "display_name": "claude-best"},
        ],
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_running_instances_models_are_written(claude_directory: Path, home: Path) -> None:
    with stub_instance(Path(os.environ["SUPERVISOR_STATE_DIR"])) as server:
        server.answers["GET", "/status/models"] = (200, {"models": MODELS})
        done = run()
        url = f"http://127.0.0.1:{server.server_address[1]}"
    assert (done.exit_code, done.output) == (0, f"{claude_directory / CACHE} has 2 models\n")
    assert json.loads((claude_directory / CACHE).read_text())["baseUrl"] == url


def test_where_nothing_runs_it_says_so(claude_directory: Path) -> None:
    done = run()
    assert done.exit_code == 69
    assert not (claude_directory / CACHE).exists()


def test_without_claude_codes_directory_it_says_where_it_looked(home: Path) -> None:
    with stub_instance(Path(os.environ["SUPERVISOR_STATE_DIR"])) as server:
        server.answers["GET", "/status/models"] = (200, {"models": MODELS})
        done = run()
    assert done.exit_code == 77
    assert "cannot be written" in done.output
