"""The inbound keys on disk: `keys.json` in the state directory.

Every change is one step under a lock between processes: read, edit, replace whole and durably.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import trio

from protocol import key_file
from protocol.key_file import KeyFile, Note
from protocol.login import CredentialFileInvalid, CredentialFileNewer
from supervisor.files import keep_aside, replace_file
from supervisor.private_files import LOCK_SECONDS, CredentialsUnusable, locked, read_private

FILE_NAME = "keys.json"


class Changed(msgspec.Struct, frozen=True):
    """The file after a change. `aside`: where the old one is now, if it could not be read."""

    file: KeyFile
    aside: Path | None = None


class KeyStore:
    """The keys of one state directory; `replace` puts a file in place whole and durably."""

    def __init__(
        self, directory: Path, replace: Callable[[Path, bytes], None] = replace_file
    ) -> None:
        self.path = directory / FILE_NAME
        self._replace = replace

    def read(self) -> KeyFile:
        """What is in it; no keys where there is no file. Never takes the lock.

        Raises CredentialsUnusable, for what others can read and for what does not parse.
        """
        content = read_private(self.path)
        if content is None:
            return key_file.EMPTY
        try:
            return key_file.parse(content.data)
        except CredentialFileInvalid as reason:
            raise CredentialsUnusable(
                f"{self.path} cannot be used: {reason}; repair it or move it away"
            ) from reason

    def change(
        self, edit: Callable[[KeyFile], KeyFile], *, patience: float = LOCK_SECONDS
    ) -> Changed:
        """Applies `edit` and writes what it made of the file, if that is anything new.

        A file that does not parse is kept aside and a new one begun; one of a newer program is left
        alone. What `edit` raises comes through, and nothing is written then. Raises
        CredentialsUnusable, its kind CredentialsLocked after `patience` seconds, and OSError.
        """
        with locked(self.path, patience=patience):
            known, aside = self._readable()
            edited = edit(known)
            if edited is not known and edited.document != known.document:
                self._replace(self.path, key_file.encode(edited))
            return Changed(edited, aside)

    def _readable(self) -> tuple[KeyFile, Path | None]:
        content = read_private(self.path)
        if content is None:
            return key_file.EMPTY, None
        try:
            return key_file.parse(content.data), None
        except CredentialFileNewer as reason:
            raise CredentialsUnusable(f"{self.path} is left alone: {reason}") from reason
        except CredentialFileInvalid:
            return key_file.EMPTY, keep_aside(Path(os.path.realpath(self.path)))


class KeyDisk:
    """The store for the running program, in threads so that a slow disk never holds up a stream."""

    def __init__(self, store: KeyStore) -> None:
        self._store = store

    async def stamp(self) -> object:
        """Another one whenever the file is another one; raises OSError."""
        return await trio.to_thread.run_sync(self._stamp)

    def _stamp(self) -> object:
        try:
            found = self._store.path.stat()
        except FileNotFoundError:
            return None
        return (found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode, found.st_uid)

    async def read(self) -> KeyFile:
        """Raises CredentialsUnusable."""
        return await trio.to_thread.run_sync(self._store.read)

    async def note(self, notes: Mapping[str, Note]) -> KeyFile:
        """Writes down their use. A file that cannot be read is left as it is.

        Raises CredentialsUnusable and OSError.
        """

        def write() -> KeyFile:
            self._store.read()
            return self._store.change(lambda file: key_file.noted(file, notes)).file

        return await trio.to_thread.run_sync(write)
