"""The token store on disk: `accounts.json` in the state directory.

For the command line; the running program has the vault do the same.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from protocol import token_file
from protocol.token_file import TokenFile
from supervisor.files import replace_file
from supervisor.private_files import CredentialsUnusable
from supervisor.private_store import PrivateStore

FILE_NAME = "accounts.json"


def stored_names(directory: Path) -> tuple[tuple[str, ...], str]:
    """The usable accounts of the store in a state directory, and why it cannot be read, or ""."""
    try:
        return tuple(one.name for one in TokenStore(directory).read().accounts), ""
    except CredentialsUnusable as reason:
        return (), str(reason)


class TokenStore(PrivateStore[TokenFile]):
    """The store of one state directory."""

    def __init__(
        self, directory: Path, replace: Callable[[Path, bytes], None] = replace_file
    ) -> None:
        path = directory / FILE_NAME
        super().__init__(path, token_file.parse, token_file.encode, token_file.EMPTY, replace)
