"""The logins of one life of the program: what is known of them, and who looks after them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import trio

from actors.asking import insist
from actors.credential_disk import CredentialDisk
from actors.credential_reading import CredentialReader, Files
from actors.mailbox import ActorStopped, AskFailed, Mailbox
from actors.messages import LoginsKnown, Look, RefreshMessage, VaultMessage
from protocol import credentials
from protocol.config import Config
from protocol.credentials import Known, Subject
from protocol.oauth import OAuthClient
from protocol.refreshing import Policy
from supervisor.token_store import FILE_NAME

log = logging.getLogger("supervisor")

DEAD_FILE_NAME = "logins.json"
LOOK_SECONDS = 5.0
TELL_SECONDS = 5.0


class Logins:
    """`known` is what the vault read last; before it runs, what this read at the start."""

    def __init__(
        self, disk: CredentialDisk, state_directory: Path, config: Callable[[], Config]
    ) -> None:
        self.vault: Mailbox[VaultMessage] = Mailbox("vault")
        self.refresh: Mailbox[RefreshMessage] = Mailbox("refresh")
        self.disk = disk
        self.store = state_directory / FILE_NAME
        self._config = config
        self.notes = state_directory / DEAD_FILE_NAME
        self._reader = CredentialReader(disk, self.store, self.notes)
        # Twice: the store may name more files.
        self.known = self._reader.read_at_start(credentials.paths(config(), Known()))
        self.known = self._reader.read_at_start(credentials.paths(config(), self.known))

    def files(self) -> Files:
        """What the vault reads and writes."""
        return Files(self.store, self.notes, self._read)

    async def _read(self, before: Known) -> Known:
        config = self._config()
        known = await self._reader.read(before, credentials.paths(config, before))
        named = credentials.paths(config, known)
        # The store names a file that was not looked at: without it its account would have no login.
        return known if set(named) == set(known.logins) else await self._reader.read(before, named)

    def subjects(self) -> tuple[Subject, ...]:
        """All logins that accounts have."""
        return credentials.subjects(self._config(), self.known)

    def stored_names(self) -> tuple[str, ...]:
        """The accounts of the token store."""
        return tuple(account.name for account in self.known.stored)

    def is_stored(self, name: str) -> bool:
        """Whether the account of that name is the token store's, not the configuration's."""
        configured = {account.name for account in self._config().accounts}
        return name in self.stored_names() and name not in configured

    def client(self) -> OAuthClient:
        """Whom to ask for new tokens."""
        wanted, usual = self._config().oauth, OAuthClient()
        return OAuthClient(wanted.token_url or usual.token_url, wanted.client_id or usual.client_id)

    def policy(self) -> Policy:
        """`[refresh]`."""
        wanted = self._config().refresh
        return Policy(wanted.ahead, wanted.blocking_under, wanted.disable_after, wanted.timeout)

    async def look_again(self) -> None:
        """Other files are configured: read them before accounts are made of them."""
        try:
            await insist(self.vault, Look(), timeout=LOOK_SECONDS)
        except AskFailed as failure:
            log.warning("the login files are read a little later: %s", failure)

    async def tell_refresh(self) -> None:
        """The logins as they are now."""
        with trio.move_on_after(TELL_SECONDS) as limit:
            try:
                await self.refresh.tell(LoginsKnown(self.subjects()))
            except ActorStopped:
                return  # the program is stopping
        if limit.cancelled_caught:
            log.error("the logins to renew are not known to the one who does it")
