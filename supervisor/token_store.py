"""The token store on disk: `accounts.json` in the state directory.

For the command line; the running program has the vault do the same. Every change is one step under
a lock between processes: read, edit, replace whole and durably. So two of them never lose each
other's work, and a crash leaves the old file or the new one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from protocol import token_file
from protocol.login import CredentialFileInvalid, CredentialFileNewer
from protocol.token_file import TokenFile
from supervisor.files import keep_aside, replace_file
from supervisor.private_files import LOCK_SECONDS, CredentialsUnusable, locked, read_private

FILE_NAME = "accounts.json"


class Changed(msgspec.Struct, frozen=True):
    """The store after a change. `aside`: where the old file is now, if it could not be read."""

    file: TokenFile
    aside: Path | None = None


def stored_names(directory: Path) -> tuple[tuple[str, ...], str]:
    """The usable accounts of the store in a state directory, and why it cannot be read, or ""."""
    try:
        return tuple(one.name for one in TokenStore(directory).read().accounts), ""
    except CredentialsUnusable as reason:
        return (), str(reason)


class TokenStore:
    """The store of one state directory; `replace` puts a file in place whole and durably."""

    def __init__(
        self, directory: Path, replace: Callable[[Path, bytes], None] = replace_file
    ) -> None:
        self.path = directory / FILE_NAME
        self._replace = replace

    def read(self) -> TokenFile:
        """What is in it; an empty store where there is none yet. Never takes the lock.

        Raises CredentialsUnusable, for what others can read and for what does not parse.
        """
        content = read_private(self.path)
        if content is None:
            return token_file.EMPTY
        try:
            return token_file.parse(content.data)
        except CredentialFileInvalid as reason:
            raise CredentialsUnusable(
                f"{self.path} cannot be used: {reason}; repair it or move it away"
            ) from reason

    def change(
        self, edit: Callable[[TokenFile], TokenFile], *, patience: float = LOCK_SECONDS
    ) -> Changed:
        """Applies `edit` and writes what it made of the store, if that is anything new.

        A file that does not parse is kept aside and the store begins anew; one of a newer program
        is left alone. What `edit` raises comes through, and nothing is written then. Raises
        CredentialsUnusable, its kind CredentialsLocked after `patience` seconds, and OSError.
        """
        with locked(self.path, patience=patience):
            known, aside = self._readable()
            edited = edit(known)
            if edited is not known and edited.document != known.document:
                self._replace(self.path, token_file.encode(edited))
            return Changed(edited, aside)

    def _readable(self) -> tuple[TokenFile, Path | None]:
        content = read_private(self.path)
        if content is None:
            return token_file.EMPTY, None
        try:
            return token_file.parse(content.data), None
        except CredentialFileNewer as reason:
            raise CredentialsUnusable(f"{self.path} is left alone: {reason}") from reason
        except CredentialFileInvalid:
            aside = keep_aside(Path(os.path.realpath(self.path)))
            return token_file.EMPTY, aside
