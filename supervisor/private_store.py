"""A private file of ours, read whole and changed in one step.

Every change is made under a lock between processes: read, edit, replace whole and durably. So two of
them never lose each other's work, and a crash leaves the old file or the new one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from protocol.login import CredentialFileInvalid, CredentialFileNewer
from supervisor.files import keep_aside, replace_file
from supervisor.private_files import LOCK_SECONDS, CredentialsUnusable, locked, read_private


class File(Protocol):
    """What is made of a file's content: at least the whole document, what is not known included."""

    @property
    def document(self) -> Mapping[str, Any]: ...


F = TypeVar("F", bound=File)


class Changed(msgspec.Struct, Generic[F], frozen=True):
    """The file after a change. `aside`: where the old one is now, if it could not be read."""

    file: F
    aside: Path | None = None


class PrivateStore(Generic[F]):
    """The file at `path`. `parse` raises CredentialFileInvalid, and its kind CredentialFileNewer;
    `empty` is what stands for no file; `replace` puts one in place whole and durably."""

    def __init__(
        self,
        path: Path,
        parse: Callable[[bytes], F],
        encode: Callable[[F], bytes],
        empty: F,
        replace: Callable[[Path, bytes], None] = replace_file,
    ) -> None:
        self.path = path
        self._parse = parse
        self._encode = encode
        self._empty = empty
        self._replace = replace

    def read(self) -> F:
        """What is in it; an empty one where there is none yet. Never takes the lock.

        Raises CredentialsUnusable, for what others can read and for what does not parse.
        """
        content = read_private(self.path)
        if content is None:
            return self._empty
        try:
            return self._parse(content.data)
        except CredentialFileInvalid as reason:
            raise CredentialsUnusable(
                f"{self.path} cannot be used: {reason}; repair it or move it away"
            ) from reason

    def change(self, edit: Callable[[F], F], *, patience: float = LOCK_SECONDS) -> Changed[F]:
        """Applies `edit` and writes what it made of the file, if that is anything new.

        A file that does not parse is kept aside and a new one begun; one of a newer program is left
        alone. What `edit` raises comes through, and nothing is written then. Raises
        CredentialsUnusable, its kind CredentialsLocked after `patience` seconds, and OSError.
        """
        with locked(self.path, patience=patience):
            known, aside = self._readable()
            edited = edit(known)
            if edited is not known and edited.document != known.document:
                self._replace(self.path, self._encode(edited))
            return Changed(edited, aside)

    def _readable(self) -> tuple[F, Path | None]:
        content = read_private(self.path)
        if content is None:
            return self._empty, None
        try:
            return self._parse(content.data), None
        except CredentialFileNewer as reason:
            raise CredentialsUnusable(f"{self.path} is left alone: {reason}") from reason
        except CredentialFileInvalid:
            return self._empty, keep_aside(Path(os.path.realpath(self.path)))
