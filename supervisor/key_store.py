"""The inbound keys on disk: `keys.json` in the state directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import trio

from protocol import key_file
from protocol.key_file import KeyFile, Note
from supervisor.files import replace_file
from supervisor.private_store import PrivateStore

FILE_NAME = "keys.json"


class KeyStore(PrivateStore[KeyFile]):
    """The keys of one state directory."""

    def __init__(
        self, directory: Path, replace: Callable[[Path, bytes], None] = replace_file
    ) -> None:
        path = directory / FILE_NAME
        super().__init__(path, key_file.parse, key_file.encode, key_file.EMPTY, replace)


class StoredKeys:
    """The store as the running program's `KeyDisk`: in threads, so that a slow disk never holds up a
    stream."""

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
