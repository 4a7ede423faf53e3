"""The port to `keys.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from protocol.key_file import KeyFile, Note


class KeyDisk(Protocol):
    """`keys.json`: who has a key, and what each has used."""

    async def stamp(self) -> object:
        """Another one whenever the file is another one; raises OSError."""
        ...

    async def read(self) -> KeyFile:
        """Raises CredentialsUnusable."""
        ...

    async def note(self, notes: Mapping[str, Note]) -> KeyFile:
        """Writes down their use; raises CredentialsUnusable and OSError."""
        ...
