"""Takes over a renewed certificate of the front end when its files change.

They are compared by their content once a second, like the configuration's: a certificate is often
renewed by pointing a symbolic link elsewhere, and then its key's, a moment later.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from actors.runtime import Context

CHECK_SECONDS = 1.0
SETTLING_LOOKS_MAX = 8


class Certificates(Protocol):
    """The pair of certificate and key as a port: what is in force, and what the files hold."""

    async def look(self) -> bytes | None:
        """A digest of both files; None where one of them cannot be read."""
        ...

    def is_new(self, digest: bytes | None) -> bool:
        """Whether that is worth reading: it is not in force, and was not refused already."""
        ...

    async def renew(self, digest: bytes | None) -> bool:
        """Reads the files and takes them if they are a pair; what is in force stays otherwise."""
        ...


class CertificateWatcherActor:
    """What was refused is remembered by `certificates`, so a crash forgets and repeats nothing.

    `taken` is called after a pair was taken.
    """

    def __init__(self, certificates: Certificates, taken: Callable[[], Awaitable[None]]) -> None:
        self._certificates = certificates
        self._taken = taken

    async def run(self, context: Context[None, None]) -> None:
        """Until the program stops."""
        context.ready()
        while not context.stopping.is_set():
            found = await self._certificates.look()
            if self._certificates.is_new(found):
                settled = await self._settled(found)
                if await self._certificates.renew(settled):
                    await self._taken()
            with trio.move_on_after(CHECK_SECONDS):
                await context.stopping.wait()

    async def _settled(self, found: bytes | None) -> bytes | None:
        """What is there at two looks in a row: certificate and key are replaced one after the
        other. What is never done is taken as it is."""
        for _ in range(SETTLING_LOOKS_MAX):
            await trio.sleep(CHECK_SECONDS / 4)
            before, found = found, await self._certificates.look()
            if found == before:
                break
        return found
