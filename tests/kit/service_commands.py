"""Stand-ins for `systemctl` and `launchctl`: on the PATH, they record their calls and obey a script."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

# A shell is started in a millisecond, an interpreter in many.
_PROGRAM = """\
#!/bin/sh
cd '{directory}' || exit 99
printf '%s\\n' "$*" >>calls
number=0
while [ -f "words.$number" ]; do
  case "$*" in
    *"$(cat "words.$number")"*) cat "said.$number"; exit "$(cat "code.$number")" ;;
  esac
  number=$((number + 1))
done
"""

ACTIVE = "ActiveState=active\nSubState=running\nUnitFileState=enabled\nResult=success"
INACTIVE = "ActiveState=inactive\nSubState=dead\nUnitFileState=enabled\nResult=success"
NO_BUS = "Failed to connect to bus: No medium found"


class FakeServiceCommand:
    """One of them. `answers` to a call that has the words: its exit code and what it says; all
    other calls succeed in silence."""

    def __init__(self, directory: Path, name: str) -> None:
        directory.mkdir()
        self._directory = directory
        self.say()
        program = directory / name
        program.write_text(_PROGRAM.format(directory=directory))
        program.chmod(0o755)

    def say(self, *answers: tuple[str, int, str]) -> None:
        """From now on."""
        for old in self._directory.glob("words.*"):
            old.unlink()
        for number, (words, code, said) in enumerate(answers):
            (self._directory / f"code.{number}").write_text(str(code))
            (self._directory / f"said.{number}").write_text(f"{said}\n")
            (self._directory / f"words.{number}").write_text(words)

    def calls(self) -> list[str]:
        """Since the last time it was asked, each as one line."""
        file = self._directory / "calls"
        if not file.exists():
            return []
        lines = file.read_text().splitlines()
        file.unlink()
        return lines


def installed(directory: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> FakeServiceCommand:
    """First on the PATH."""
    fake = FakeServiceCommand(directory, name)
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
    return fake


def on_system(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What keeps services sees another `sys.platform`. Nobody else does: a module that is loaded
    meanwhile for the first time would be another system's for all tests that follow."""
    for module in (
        "supervisor.service.keeping",
        "supervisor.cli.service",
        "supervisor.cli.service_place",
    ):
        monkeypatch.setattr(f"{module}.sys", SimpleNamespace(platform=platform))
