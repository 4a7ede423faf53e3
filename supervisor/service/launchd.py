"""The user's own launchd. Never run here: macOS is not what it was made on."""

from __future__ import annotations

import os
import plistlib
from collections.abc import Mapping
from pathlib import Path

from supervisor.service.agent import LABEL, agent
from supervisor.service.commands import CommandFailed, asked, done
from supervisor.service.description import Description
from supervisor.service.keeping import State

_PROBE_SECONDS = 10.0


class Launchd:
    """A `ServiceKeeper`."""

    title = "launchd agent"
    reads_environment_file = False

    def __init__(self, environ: Mapping[str, str]) -> None:
        home = Path(environ.get("HOME") or Path.home())
        self.path = home / "Library" / "LaunchAgents" / f"{LABEL}.plist"
        self._domain = f"gui/{os.getuid()}"
        self._target = f"{self._domain}/{LABEL}"

    def files(self, service: Description) -> dict[Path, bytes]:
        return {self.path: agent(service)}

    def is_ours(self, content: bytes) -> bool:
        try:
            found = plistlib.loads(content)
        except (plistlib.InvalidFileException, ValueError):
            return False
        return isinstance(found, dict) and found.get("Label") == LABEL

    def starts(self, content: bytes) -> str:
        return str(plistlib.loads(content)["ProgramArguments"][0]) if self.is_ours(content) else ""

    def unwanted(self) -> tuple[Path, ...]:
        return ()

    def installed(self) -> tuple[Path, ...]:
        return (self.path,) if os.path.lexists(self.path) else ()

    def unreachable(self) -> str:
        try:
            done("launchctl", "print", self._domain, seconds=_PROBE_SECONDS)
        except CommandFailed as failure:
            return failure.reason
        return ""

    def take_over(self, *, start: bool) -> None:
        done("launchctl", "enable", self._target)
        if start:  # else the next login does it
            self._bootout()
            done("launchctl", "bootstrap", self._domain, str(self.path))

    def by_hand(self, *, start: bool) -> tuple[str, ...]:
        return (
            "log in to the desktop as this user, then:",
            f"launchctl bootstrap {self._domain} '{self.path}'",
        )

    def let_go(self) -> None:
        self._bootout()

    def _bootout(self) -> None:
        loaded, _ = asked("launchctl", "print", self._target, seconds=_PROBE_SECONDS)
        if loaded == 0:
            done("launchctl", "bootout", self._target)

    def forget(self) -> None:
        """Nothing is left of an agent that was booted out."""

    def start(self) -> None:
        loaded, _ = asked("launchctl", "print", self._target, seconds=_PROBE_SECONDS)
        if loaded != 0:
            done("launchctl", "bootstrap", self._domain, str(self.path))
        done("launchctl", "kickstart", self._target)

    def stop(self) -> None:
        done("launchctl", "kill", "SIGTERM", self._target)

    def state(self) -> State:
        try:
            code, said = asked("launchctl", "print", self._target, seconds=_PROBE_SECONDS)
        except CommandFailed as failure:
            return State(None, str(failure))
        if code != 0:
            return State(False, "not loaded")
        found = [line.strip() for line in said.splitlines() if line.strip().startswith("state = ")]
        word = found[0].removeprefix("state = ") if found else "loaded"
        return State(word == "running", word)

    def hints(self) -> tuple[str, ...]:
        return ("its log: service.log in the state directory",)
