"""Locks round logins, and a new pair of tokens into the file that it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from actors.credential_disk import CredentialDisk, Held
from actors.renewal import Ask, Renewal, Unwritten, path_of, with_pair
from protocol import dead_logins, token_file
from protocol.credentials import Source, Subject
from protocol.login import (
    CredentialFileInvalid,
    CredentialsLocked,
    CredentialsUnusable,
    token_digest,
)
from protocol.oauth import OAuthClient
from protocol.refreshing import Outcome
from protocol.token_file import TokenFile

WRITES_MAX = 3
"""Tries in a row; somebody else may be writing the same file."""


class LoginWriter:
    """Over one disk and one token store."""

    def __init__(self, disk: CredentialDisk, store: Path) -> None:
        self._disk = disk
        self._store = store

    def lock(self, source: Source) -> AbstractAsyncContextManager[Held]:
        """Whoever holds it may use the login's refresh token."""
        if source.path:
            return self._disk.locked_for_client(Path(source.path))
        # Not the lock of the store: a slow endpoint must not hold up what is done to others.
        return self._disk.locked(self._store.with_name(f"renewing-{source.name}"))

    async def write(self, unwritten: Unwritten) -> bool:
        """True when the pair is on the disk, False when another login has taken its place.

        Under `lock`. Raises OSError and CredentialsUnusable; the pair is still the caller's then.
        """
        path = path_of(unwritten.source, self._store)
        for _ in range(WRITES_MAX):
            if unwritten.source.path:
                done = await self._attempt(path, unwritten)
            else:
                async with self._disk.locked(path):
                    done = await self._attempt(path, unwritten)
            if done is not None:
                return done
        raise OSError(f"{path} changes all the time")

    async def edit_store(self, edit: Callable[[TokenFile], TokenFile | None]) -> None:
        """Puts into effect what `edit` makes of the store; None leaves it. Raises OSError and
        CredentialsUnusable."""
        path = self._store
        async with self._disk.locked(path):
            for _ in range(WRITES_MAX):
                content = await self._disk.look(path)
                if content is None:
                    return
                try:
                    edited = edit(token_file.parse(content.data))
                except CredentialFileInvalid as reason:
                    raise CredentialsUnusable(f"{path} cannot be used: {reason}") from reason
                if edited is None or await self._disk.replace(
                    path, content.data, token_file.encode(edited)
                ):
                    return
        raise OSError(f"{path} changes all the time")

    async def declare_dead(
        self, dead: Subject, notes: Path, also: frozenset[str] = frozenset()
    ) -> None:
        """Remembers that a login needs its owner: in the store, or for somebody else's file as a
        digest in `notes`, with those in `also`. Raises OSError and CredentialsUnusable."""
        if not dead.source.path:
            await self.edit_store(lambda file: _declared(file, dead))
            return
        async with self._disk.locked(notes):
            there = await self._disk.look(notes)
            known = also | _digests(b"" if there is None else there.data)
            data = dead_logins.encode(known, dead.digest)
            if not await self._disk.replace(notes, None if there is None else there.data, data):
                raise OSError(f"{notes} was changed by somebody else")

    async def _attempt(self, path: Path, unwritten: Unwritten) -> bool | None:
        content = await self._disk.look(path)
        before = None if content is None else content.data
        try:
            data = with_pair(before or b"{}", unwritten)
        except CredentialFileInvalid:
            # Broken meanwhile: what is there is kept, and the login must not go with it.
            await self._disk.keep_aside(path)
            before, data = None, with_pair(unwritten.before, unwritten)
        if data is None:
            return False
        return True if await self._disk.replace(path, before, data) else None


def _declared(file: TokenFile, dead: Subject) -> TokenFile | None:
    account = file.account(dead.name)
    if account is None or token_digest(account.login.refresh_token) != dead.digest:
        return None
    return token_file.declared_dead(file, dead.name, account.login.refresh_token)


def _digests(data: bytes) -> frozenset[str]:
    try:
        return dead_logins.decode(data)
    except ValueError:
        return frozenset()  # none yet, or broken: written anew


async def renew_once(
    disk: CredentialDisk,
    store: Path,
    notes: Path,
    subject: Subject,
    ask: Ask,
    client: OAuthClient,
    now: float,
) -> Outcome:
    """One renewal where no program runs that would do it; `now` in epoch seconds. A login that is
    found dead is remembered in `notes` or the store.

    Raises OSError and CredentialsUnusable for the file.
    """
    writer = LoginWriter(disk, store)
    renewal = Renewal(disk, store, ask, client, lambda: now, writer.write)
    try:
        async with writer.lock(subject.source) as held:
            outcome = await renewal.run(subject, held)
    except CredentialsLocked as reason:
        return Outcome("busy", str(reason))
    if outcome.kind == "dead" and outcome.digest == subject.digest:
        await writer.declare_dead(subject, notes)
    return outcome
