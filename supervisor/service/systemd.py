"""The user's own systemd."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from supervisor.plain_files import is_there
from supervisor.service.commands import CommandFailed, asked, done, user_name
from supervisor.service.description import NAME, Description
from supervisor.service.keeping import State
from supervisor.service.unit import MARK, program_of, service_unit, socket_unit

SERVICE = f"{NAME}.service"
SOCKET = f"{NAME}.socket"
_PROBE_SECONDS = 10.0


class Systemd:
    """A `ServiceKeeper`. With `socket` systemd holds the port, too."""

    title = "systemd user unit"
    reads_environment_file = True

    def __init__(self, environ: Mapping[str, str], *, socket: bool | None = None) -> None:
        """`socket` None: as it is installed."""
        home = Path(environ.get("HOME") or Path.home())
        config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
        self.directory = config / "systemd" / "user"
        self.path = self.directory / SERVICE
        self.socket_path = self.directory / SOCKET
        self._socket = is_there(self.socket_path) if socket is None else socket

    def files(self, service: Description) -> dict[Path, bytes]:
        files = {self.path: service_unit(service).encode()}
        if self._socket:
            files[self.socket_path] = socket_unit(service).encode()
        return files

    def is_ours(self, content: bytes) -> bool:
        return content.startswith(MARK.encode())

    def starts(self, content: bytes) -> str:
        return program_of(content)

    def unwanted(self) -> tuple[Path, ...]:
        return () if self._socket else (self.socket_path,)

    def installed(self) -> tuple[Path, ...]:
        return tuple(path for path in (self.path, self.socket_path) if os.path.lexists(path))

    def unreachable(self) -> str:
        try:
            done("systemctl", "--user", "show-environment", seconds=_PROBE_SECONDS)
        except CommandFailed as failure:
            return failure.reason
        return ""

    def take_over(self, *, start: bool) -> None:
        done("systemctl", "--user", "daemon-reload")
        units = [SOCKET, SERVICE] if self._socket else [SERVICE]
        done("systemctl", "--user", "enable", *units)
        if start:
            # `restart`, so that a unit that was written anew takes effect.
            done("systemctl", "--user", "restart", *units)

    def by_hand(self, *, start: bool) -> tuple[str, ...]:
        now = "--now " if start else ""
        units = f"{SOCKET} {SERVICE}" if self._socket else SERVICE
        linger = f"loginctl enable-linger {user_name()}"
        return (
            f"log in as this user (not by su or sudo), or let systemd run without: {linger}",
            f"then: systemctl --user daemon-reload && systemctl --user enable {now}{units}",
            "without systemd: `supervisor run` in any other way that keeps it running.",
        )

    def let_go(self) -> None:
        """Stops and disables. Raises CommandFailed where systemd cannot be asked."""
        done("systemctl", "--user", "disable", "--now", *self._units())

    def forget(self) -> None:
        """After the files are gone: the links that `enable` made, directories that are empty, and
        systemd's own memory."""
        for target in ("default.target.wants", "sockets.target.wants"):
            for name in (SERVICE, SOCKET):
                link = self.directory / target / name
                if link.is_symlink() and not link.exists():
                    link.unlink()
        for directory in (self.directory, self.directory.parent):
            if directory.is_dir() and not any(directory.iterdir()):
                directory.rmdir()
        done("systemctl", "--user", "daemon-reload")

    def start(self) -> None:
        done("systemctl", "--user", "start", *self._units())

    def stop(self) -> None:
        # The socket first: it would start the service again.
        done("systemctl", "--user", "stop", *self._units())

    def _units(self) -> list[str]:
        return [path.name for path in (self.socket_path, self.path) if os.path.lexists(path)]

    def state(self) -> State:
        try:
            _, said = asked(
                "systemctl", "--user", "show", SERVICE,
                "--property=ActiveState,SubState,UnitFileState,Result,StatusText,NRestarts",
                seconds=_PROBE_SECONDS,
            )  # fmt: skip
        except CommandFailed as failure:
            return State(None, str(failure))
        found = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
        if "ActiveState" not in found:
            return State(None, f"systemd does not answer: {said}")
        words = [f"{found['ActiveState']} ({found.get('SubState', '')})"]
        words += [found["UnitFileState"]] if found.get("UnitFileState") else []
        active = found["ActiveState"] == "active"
        words += [found["StatusText"]] if active and found.get("StatusText") else []
        if found.get("Result", "success") != "success":
            words.append(f"ended by {found['Result']}")
        if found.get("NRestarts", "0") != "0":
            words.append(f"restarted {found['NRestarts']} times")
        return State(active, ", ".join(words))

    def hints(self) -> tuple[str, ...]:
        return (
            "its log: journalctl --user -u llm-supervisor",
            f"also while nobody is logged in: loginctl enable-linger {user_name()}",
        )
