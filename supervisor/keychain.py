"""Claude Code's login in the macOS keychain, by the system's `security` tool.

Where Claude Code keeps its login in the keychain there is no `.credentials.json`. The entry's
service is `Claude Code-credentials`, and for a configuration directory of one's own also eight hex
digits of its name's hash (from the bundle of 2.1.329). It has the same text as the file. Written is
through the tool's standard input: a secret on a command line can be read by everybody.

Never run on a Mac: its tests have a stand-in for the tool.
"""

from __future__ import annotations

import getpass
import hashlib
import re
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

from protocol.login import Content, CredentialsUnusable

TOOL = ("/usr/bin/security",)
NOT_FOUND = 44
"""The tool's exit code where there is no such entry."""

RUN_SECONDS = 5.0
FRESH_SECONDS = 10.0
"""The tool is a process; files are looked at once a second."""

_PLAIN_USER = re.compile(r"[a-zA-Z0-9._-]+")


class Keychain:
    """The entries of this user. `tool` is the command; `monotonic` dates what was read."""

    def __init__(
        self,
        tool: tuple[str, ...] = TOOL,
        monotonic: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._tool = tool
        self._monotonic = monotonic
        self._wall_clock = wall_clock
        self._read: dict[str, tuple[float, Content | None]] = {}

    def look(self, directory: Path) -> Content | None:
        """The login of a configuration directory, at most ten seconds old; None without one.

        It counts as changed when another text was seen first. Raises CredentialsUnusable.
        """
        service = service_of(directory)
        known = self._read.get(service)
        if known is not None and self._monotonic() - known[0] < FRESH_SECONDS:
            return known[1]
        return self.look_now(directory)

    def look_now(self, directory: Path) -> Content | None:
        """The same from the keychain itself."""
        service = service_of(directory)
        data, known = self._find(service), self._read.get(service)
        content = None if known is None else known[1]
        if data is None:
            content = None
        elif content is None or content.data != data:
            # Of the first look nothing is known but that it is there: as old as can be.
            content = Content(data, 0.0 if known is None else self._wall_clock())
        self._read[service] = (self._monotonic(), content)
        return content

    def replace(self, directory: Path, before: bytes, data: bytes) -> bool:
        """Puts `data` in place of `before`; False if something else is there."""
        found = self.look_now(directory)
        if found is None or found.data != before:
            return False
        service = service_of(directory)
        line = f'add-generic-password -U -a "{_user()}" -s "{service}" -X "{data.hex()}"\n'
        done = self._run("-i", stdin=line.encode())
        self._read.pop(service, None)
        found = self.look_now(directory)
        if done.returncode or found is None or found.data != data:
            raise CredentialsUnusable(f"the keychain entry {service!r} could not be written")
        return True

    def remove(self, directory: Path) -> bool:
        """Removes the entry of a configuration directory; False where there is none.

        Raises CredentialsUnusable, which names it.
        """
        service = service_of(directory)
        done = self._run("delete-generic-password", "-a", _user(), "-s", service)
        self._read.pop(service, None)
        if done.returncode not in (0, NOT_FOUND):
            raise CredentialsUnusable(
                f"the keychain entry {service!r} could not be removed (security ended with "
                f"{done.returncode}); unlock the keychain, or remove it in Keychain Access"
            )
        return done.returncode == 0

    def _find(self, service: str) -> bytes | None:
        done = self._run("find-generic-password", "-a", _user(), "-w", "-s", service)
        if done.returncode == NOT_FOUND:
            return None
        if done.returncode:
            raise CredentialsUnusable(
                f"the keychain entry {service!r} cannot be read (security ended with "
                f"{done.returncode}); unlock the keychain, or allow access to it"
            )
        return done.stdout.strip()

    def _run(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(  # noqa: S603 - the tool, and no shell
                [*self._tool, *arguments],
                input=stdin,
                capture_output=True,
                timeout=RUN_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CredentialsUnusable(
                f"the keychain cannot be used: {type(error).__name__} of {self._tool[0]}"
            ) from None


def of_this_machine() -> Keychain | None:
    """None where there is none: everywhere but on macOS."""
    return Keychain() if sys.platform == "darwin" else None


def service_of(directory: Path) -> str:
    """The name of the entry for a configuration directory of Claude Code's."""
    if directory == Path.home() / ".claude":
        return "Claude Code-credentials"
    name = unicodedata.normalize("NFC", str(directory)).encode()
    return f"Claude Code-credentials-{hashlib.sha256(name).hexdigest()[:8]}"


def _user() -> str:
    user = getpass.getuser()
    return user if _PLAIN_USER.fullmatch(user) else "claude-code-user"
