"""Running the command of a service manager, and what to say when it does not do as asked."""

from __future__ import annotations

import getpass
import os
import shlex
import subprocess
from collections.abc import Sequence

from protocol.secrets import scrub

SECONDS = 120.0
"""Starting waits until the program serves, stopping until its streams have ended."""


class CommandFailed(Exception):
    """It ended with another code than 0, or could not be run. `command` is what to try by hand."""

    def __init__(self, command: Sequence[str], reason: str) -> None:
        self.command = shlex.join(command)
        self.reason = reason
        super().__init__(f"`{self.command}` failed: {reason}")


def asked(*command: str, seconds: float = SECONDS) -> tuple[int, str]:
    """Its exit code, and what it said. Raises CommandFailed where it could not be run."""
    try:
        ended = subprocess.run(  # noqa: S603 - the words are ours
            command, capture_output=True, text=True, errors="replace", timeout=seconds,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except OSError as error:
        raise CommandFailed(command, error.strerror or type(error).__name__) from error
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(command, f"it did not end within {seconds:g} s") from error
    return ended.returncode, scrub((ended.stdout + ended.stderr).strip())


def done(*command: str, seconds: float = SECONDS) -> str:
    """What it said. Raises CommandFailed for any exit code but 0."""
    code, said = asked(*command, seconds=seconds)
    if code != 0:
        last = said.splitlines()[-1] if said else ""
        raise CommandFailed(command, last or f"it ended with {code}")
    return said


def user_name() -> str:
    """For commands that want it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in containers, a number without a name
        return str(os.getuid())
