"""Installing, removing, starting and stopping the service, whoever keeps it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from supervisor.files import replace_file
from supervisor.service.commands import CommandFailed
from supervisor.service.description import Description

FILE_MODE = 0o644
"""As others of their kind: there is no secret in them."""


class State(NamedTuple):
    """`active` None: not known. `words` are for people."""

    active: bool | None
    words: str


class ServiceKeeper(Protocol):
    """One kind of service manager. Its commands raise CommandFailed."""

    title: str
    path: Path
    """The main file."""
    reads_environment_file: bool
    """Whether `Description.environment_file` reaches the service."""

    def files(self, service: Description) -> dict[Path, bytes]:
        """What has to be written."""
        ...

    def is_ours(self, content: bytes) -> bool: ...

    def starts(self, content: bytes) -> str:
        """The program that a file of ours starts, "" where it names none."""
        ...

    def unwanted(self) -> tuple[Path, ...]:
        """Files of an earlier installation that this one is without."""
        ...

    def installed(self) -> tuple[Path, ...]:
        """The files that are there."""
        ...

    def unreachable(self) -> str:
        """Why it cannot be asked for anything now; "" where it can."""
        ...

    def take_over(self, *, start: bool) -> None:
        """Reads the files, starts the service at every login from now on, and now."""
        ...

    def by_hand(self, *, start: bool) -> tuple[str, ...]:
        """What to do where `take_over` failed."""
        ...

    def let_go(self) -> None:
        """Stops the service, and does not start it again."""
        ...

    def forget(self) -> None:
        """After the files are gone."""
        ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def state(self) -> State: ...

    def hints(self) -> tuple[str, ...]:
        """What is good to know of a service that runs."""
        ...


class NotOurs(Exception):
    """There is a file of that name that this program has not written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"{path} is not ours, so it is left alone")


class NoKeeper(Exception):
    """There is no service manager that this program knows; the message says what there is instead."""


def keeper_of(environ: Mapping[str, str], *, socket: bool | None = None) -> ServiceKeeper:
    """The user's own service manager on this system. Raises NoKeeper."""
    platform: str = sys.platform  # compared in place, a type checker would skip the other systems
    if platform == "darwin":
        from supervisor.service.launchd import Launchd

        return Launchd(environ)
    if platform == "win32":
        raise NoKeeper("Windows services are not supported: use the Task Scheduler")
    if shutil.which("systemctl", path=environ.get("PATH")) is None:
        raise NoKeeper("there is no systemd here: `systemctl` is not on the PATH")
    from supervisor.service.systemd import Systemd

    return Systemd(environ, socket=socket)


def write(keeper: ServiceKeeper, service: Description) -> list[Path]:
    """Writes what differs; gives back which. Raises NotOurs and OSError."""
    files = keeper.files(service)
    found = {path: _content(path) for path in (*files, *keeper.unwanted())}
    for path, content in found.items():
        if content is not None and not keeper.is_ours(content):
            raise NotOurs(path)
    changed = [path for path, content in files.items() if found[path] != content]
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, files[path], FILE_MODE)
    for path in keeper.unwanted():
        if found[path] is not None:
            path.unlink()
            changed.append(path)
    return changed


def remove(keeper: ServiceKeeper) -> tuple[list[Path], list[CommandFailed]]:
    """Stops the service and removes its files; what was removed, and what could not be asked for.

    Raises NotOurs and OSError.
    """
    paths = keeper.installed()
    for path in paths:
        content = _content(path)
        if content is not None and not keeper.is_ours(content):
            raise NotOurs(path)
    failed: list[CommandFailed] = []
    try:
        keeper.let_go()
    except CommandFailed as failure:
        failed.append(failure)
    for path in paths:
        path.unlink(missing_ok=True)
    try:
        keeper.forget()
    except CommandFailed as failure:
        failed.append(failure)
    return list(paths), failed


def _content(path: Path) -> bytes | None:
    """None where there is nothing; a link that leads nowhere is somebody's, and is not ours."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b"" if os.path.lexists(path) else None
