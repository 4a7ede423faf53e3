"""One renewal of one login, as one transaction: lock, compare, request, compare, write.

A refresh token is good for one use. So nobody else may use it meanwhile (the lock), it must still
be the one in the file (compared before the request and again before the write, because a suspend
makes a lock stale), and what came for it is on the disk before anybody sees it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

import msgspec
import trio

from actors.credential_disk import CredentialDisk, Held
from protocol import credentials_file, token_file
from protocol.credentials import Source, Subject, credential_of
from protocol.login import CredentialFileInvalid, CredentialsUnusable, Login, Pair, token_digest
from protocol.oauth import EndpointUnreachable, OAuthClient, Refused, read_answer, refresh_body
from protocol.refreshing import Outcome
from protocol.secrets import Secret, scrub

Ask = Callable[[str, bytes], Awaitable[tuple[int, bytes]]]
"""Posts JSON to a URL: status and body. Raises EndpointUnreachable."""


class Unwritten(msgspec.Struct, frozen=True):
    """A pair that came and is not on the disk yet. `before` is the file as it was when `sent`, the
    refresh token that it came for, went out."""

    source: Source
    sent: Secret
    pair: Pair
    before: bytes

    def __repr__(self) -> str:
        return f"Unwritten({self.source.name})"


class Renewal:
    """`keep` is told a pair before it is written; `write` returns when it is on the disk."""

    def __init__(
        self,
        disk: CredentialDisk,
        store: Path,
        ask: Ask,
        client: OAuthClient,
        wall_clock: Callable[[], float],
        write: Callable[[Unwritten], Awaitable[bool]],
    ) -> None:
        self._disk = disk
        self._store = store
        self._ask = ask
        self._client = client
        self._wall_clock = wall_clock
        self._write = write

    async def run(self, subject: Subject, held: Held) -> Outcome:
        """The lock is `held`. Raises CredentialsUnusable and OSError for the file."""
        source = subject.source
        before, login = await self._read(source)
        if not _is_still(login, subject):
            return Outcome("replaced")
        outcome = await self._exchange(source, before, login, held)
        if not isinstance(outcome, Refused):
            return outcome
        if outcome.dead:
            # Somebody may have used it and written what came for it: then that is the login now.
            try:
                before, now = await self._read(source)
            except (OSError, CredentialsUnusable):
                return _refused("dead", outcome, login)  # another one is noticed when it is read
            if token_digest(now.refresh_token) == token_digest(login.refresh_token):
                return _refused("dead", outcome, login)
            if now.refresh_token is None or (now.expires_at or 0.0) > self._wall_clock():
                return Outcome("replaced")
            login = now
            outcome = await self._exchange(source, before, login, held)
            if not isinstance(outcome, Refused):
                return outcome
            if outcome.dead:
                return _refused("dead", outcome, login)
        return _refused("refused" if outcome.counts else "unreachable", outcome, login)

    async def _exchange(
        self, source: Source, before: bytes, login: Login, held: Held
    ) -> Outcome | Refused:
        if login.refresh_token is None or not await held.still_ours():
            return Outcome("replaced" if login.refresh_token is None else "busy")
        # From here on a cancelled task could leave with a token that is used up. So it runs to its
        # end, which the endpoint's own deadline and that of the write bound.
        with trio.CancelScope(shield=True):
            try:
                answer = await self._post(login, scoped=True)
                if isinstance(answer, Refused) and answer.about_scope:
                    answer = await self._post(login, scoped=False)
            except EndpointUnreachable as reason:
                return Outcome("unreachable", scrub(str(reason)))
            if isinstance(answer, Refused):
                return answer
            written = await self._write(Unwritten(source, login.refresh_token, answer, before))
        return Outcome("renewed" if written else "replaced")

    async def _post(self, login: Login, *, scoped: bool) -> Pair | Refused:
        body = refresh_body(login, self._client, scoped=scoped)
        status, answered = await self._ask(self._client.token_url, body)
        return read_answer(status, answered, self._wall_clock())

    async def _read(self, source: Source) -> tuple[bytes, Login]:
        path = path_of(source, self._store)
        content = await self._disk.look(path)
        data = b"" if content is None else content.data
        return data, login_in(data, source)


def path_of(source: Source, store: Path) -> Path:
    """The file that a login is in."""
    return Path(source.path) if source.path else store


def login_in(data: bytes, source: Source) -> Login:
    """The login of `source` in its file's content; none where there is none or it is broken."""
    try:
        if source.path:
            return credentials_file.parse(data)
        account = token_file.parse(data).account(source.name)
    except CredentialFileInvalid:
        return credentials_file.NO_LOGIN
    return credentials_file.NO_LOGIN if account is None else account.login


def with_pair(data: bytes, unwritten: Unwritten) -> bytes | None:
    """The file with the new pair; None where another refresh token is in it, which stays. Raises
    CredentialFileInvalid for a file that does not parse."""
    source, sent, pair = unwritten.source, unwritten.sent, unwritten.pair
    if source.path:
        return credentials_file.renewed(data, sent, pair)
    changed = token_file.renewed(token_file.parse(data), source.name, sent, pair)
    return None if changed is None else token_file.encode(changed)


def _is_still(login: Login, subject: Subject) -> bool:
    if token_digest(login.refresh_token) != subject.digest:
        return False
    found = credential_of(login, subject.source)
    known = subject.credential
    return (found and found.secret) == (known and known.secret)


def _refused(
    kind: Literal["dead", "refused", "unreachable"], refused: Refused, login: Login
) -> Outcome:
    told = f"{refused.status} {refused.error}".strip()
    return Outcome(kind, told, digest=token_digest(login.refresh_token))
