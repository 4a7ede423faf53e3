"""The container's files, as far as they can be looked at without an engine that builds them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.config import ConfigInvalid, variable_name
from protocol.config.schema import settings
from supervisor import configuration
from tests.supervisor.stub_instance import stub_instance

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "Containerfile").read_text("utf-8")
JOINED = re.sub(r"\\\n\s*", "", TEXT)


def _environment() -> dict[str, str]:
    (line,) = re.findall(r"^ENV (.+)$", JOINED, re.MULTILINE)
    return {name: value.strip('"') for name, value in re.findall(r'(\w+)=("[^"]*"|\S+)', line)}


def test_what_is_copied_is_there_and_is_let_through() -> None:
    sources = [
        word
        for line in re.findall(r"^COPY (?!--from)(.+)$", JOINED, re.MULTILINE)
        for word in line.split()[:-1]
    ]
    assert {"actors", "protocol", "server", "supervisor", "pyproject.toml"} <= set(sources)
    let_through = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    for source in sources:
        assert (ROOT / source).exists()
        assert source.partition("/")[0] in let_through


def test_its_settings_are_ours_and_it_starts_with_a_token_alone(tmp_path: Path) -> None:
    environment = _environment()
    known = {variable_name(path) for path in settings()} | {"SUPERVISOR_STATE_DIR"}
    ours = {name: value for name, value in environment.items() if name.startswith("SUPERVISOR_")}
    assert len(ours) == 4
    assert set(ours) <= known
    with pytest.raises(ConfigInvalid, match="without"):
        configuration.load(environ=ours)
    with_token = {**ours, "SUPERVISOR_ACCESS_TOKEN": "made-up"}
    loaded = configuration.load(environ=with_token)
    assert loaded.config.server.host == "0.0.0.0"
    assert not loaded.config.client.manage
    assert loaded.warnings == ()


def test_it_runs_as_nobody_special_and_state_is_in_a_volume() -> None:
    assert re.search(r"^USER 10001:10001$", TEXT, re.MULTILINE)
    assert re.search(r'^VOLUME \["/state"\]$', TEXT, re.MULTILINE)
    assert _environment()["SUPERVISOR_STATE_DIR"] == "/state"


def test_its_health_is_that_of_the_instance(tmp_path: Path) -> None:
    (command,) = re.findall(r"^HEALTHCHECK .*?CMD (\[.+\])$", JOINED, re.MULTILINE)
    first, *words = json.loads(command)
    assert first == "python"

    def healthy() -> bool:
        environment = {**os.environ, "SUPERVISOR_STATE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
        ended = subprocess.run(
            [sys.executable, *words], env=environment, capture_output=True, check=False
        )
        assert ended.stderr == b""
        return ended.returncode == 0

    assert not healthy()
    with stub_instance(tmp_path):
        assert healthy()
    assert not healthy()
