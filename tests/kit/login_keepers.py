"""Processes that share one login file, each as its actors or as a stand-in, in virtual time."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import trio

from actors.credential_reading import CredentialReader, Files
from actors.mailbox import Mailbox
from actors.messages import LoginsKnown
from actors.refresh import RefreshActor
from actors.vault import VaultActor
from protocol import credentials
from protocol.config import Account, Config
from protocol.credentials import Known, Subject
from protocol.login import Content, CredentialsLocked
from protocol.oauth import OAuthClient
from protocol.refreshing import Policy
from server.scripted import Granted, ScriptedLogins
from server.scripted.token_endpoint import LIFETIME
from tests.actors.living import living
from tests.kit.logins import login_file
from tests.kit.memory_credentials import looked

PATH = Path("/home/shared/.claude/.credentials.json")
STALE_SECONDS = 60.0
TOUCH_SECONDS = 5.0
TRIES = 5


class SharedFile:
    """The file, and the lock directory beside it. Without `locking` everybody gets the lock;
    without `comparing` a write goes over whatever is there."""

    def __init__(
        self, now: Callable[[], float], *, locking: bool = True, comparing: bool = True
    ) -> None:
        self.now = now
        self.locking = locking
        self.comparing = comparing
        self.content: tuple[bytes, float] = (b"", 0.0)
        self.history: list[bytes] = []
        self.lock: tuple[object, float] | None = None

    def write(self, data: bytes) -> None:
        self.content = (data, self.now())
        self.history.append(data)

    def tokens(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.content[0])["claudeAiOauth"]
        return found


class Pace:
    """How one process gets on: each of its steps takes a while, and seldom it is suspended."""

    def __init__(self, rng: random.Random, suspends: float) -> None:
        self.random = rng
        self.suspends = suspends
        self.asleep_until = 0.0

    async def step(self) -> None:
        now = trio.current_time()
        if self.random.random() < self.suspends:
            self.asleep_until = now + self.random.uniform(30, 200)
        awake = max(self.asleep_until, now)
        await trio.sleep(awake - now + self.random.choice((0, 0, 0.01, 0.5, 2)))


class Held:
    """The lock of one process; a minute without a touch makes it anybody's."""

    def __init__(self, file: SharedFile, pace: Pace) -> None:
        self._file = file
        self._pace = pace

    async def still_ours(self) -> bool:
        await self._pace.step()
        return self.ours()

    def ours(self) -> bool:
        lock = self._file.lock
        return not self._file.locking or (lock is not None and lock[0] is self)

    def take(self) -> bool:
        lock, now = self._file.lock, trio.current_time()
        if self._file.locking and lock is not None and now - lock[1] <= STALE_SECONDS:
            return False
        self._file.lock = (self, now)
        return True

    async def touch(self) -> None:
        while True:
            await trio.sleep(TOUCH_SECONDS)
            if self.ours() and self._pace.asleep_until <= trio.current_time():
                self._file.lock = (self, trio.current_time())

    def release(self) -> None:
        if self.ours():
            self._file.lock = None


@contextlib.asynccontextmanager
async def locked(file: SharedFile, pace: Pace) -> AsyncGenerator[Held, None]:
    """As Claude Code does: five tries, one to two seconds apart."""
    held = Held(file, pace)
    for attempt in range(TRIES):
        if attempt:
            await trio.sleep(pace.random.uniform(1, 2))
        await pace.step()
        if held.take():
            break
    else:
        raise CredentialsLocked("somebody renews it")
    failed: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(held.touch)
        try:
            yield held
        except Exception as error:
            failed = error
        nursery.cancel_scope.cancel()
    held.release()
    if failed is not None:
        raise failed


class ProcessDisk:
    """The disk as one process of ours sees it; the state directory is its own."""

    def __init__(self, file: SharedFile, pace: Pace) -> None:
        self._file = file
        self._pace = pace
        self._own: dict[Path, bytes] = {}
        self._lock = trio.Lock()

    def read(self, path: Path) -> Content | None:
        if path == PATH:
            return Content(*self._file.content)
        return Content(self._own[path], 0.0) if path in self._own else None

    async def look(self, path: Path) -> Content | None:
        await self._pace.step()
        return self.read(path)

    async def look_all(self, paths: Iterable[Path]) -> list[Content | Exception | None]:
        return [await looked(self.look, path) for path in paths]

    async def look_beside(self, path: Path) -> bytes | None:
        return None

    async def replace(self, path: Path, before: bytes | None, data: bytes) -> bool:
        await self._pace.step()
        if path != PATH:
            self._own[path] = data
            return True
        if self._file.comparing and self._file.content[0] != before:
            return False
        self._file.write(data)
        return True

    async def keep_aside(self, path: Path) -> None:
        raise AssertionError("a file that everybody replaces whole does not break")

    @contextlib.asynccontextmanager
    async def locked(self, path: Path) -> AsyncGenerator[Held, None]:
        """Of its own state directory, which it shares with nobody."""
        async with self._lock:
            yield Held(SharedFile(self._file.now, locking=False), self._pace)

    def locked_for_client(self, path: Path) -> contextlib.AbstractAsyncContextManager[Held]:
        return locked(self._file, self._pace)


class Endpoint:
    """The token endpoint as each process reaches it: slowly. With `revokes`, a refresh token that
    comes a second time costs the login (RFC 9700 section 4.14.2)."""

    def __init__(self, logins: ScriptedLogins, *, revokes: bool) -> None:
        self.logins = logins
        self._revokes = revokes

    async def post(self, refresh_token: str, pace: Pace) -> Granted | None:
        """A new pair, or None for invalid_grant."""
        await pace.step()
        self.logins.calls.append(refresh_token)
        if not self.logins.is_current(refresh_token):
            self.logins.reused.append(refresh_token)
            granted = None
            if self._revokes:
                self.logins.revoke_family("shared")
        else:
            granted = self.logins.grant("shared")
        await pace.step()
        return granted


class Ours:
    """One process of ours: its vault and its refresh actor. `known` is what serves requests."""

    def __init__(self, file: SharedFile, endpoint: Endpoint, pace: Pace, follow: str) -> None:
        self.disk = ProcessDisk(file, pace)
        self._endpoint = endpoint
        self._pace = pace
        self._now = file.now
        account = Account("shared", credentials=str(PATH), follow=follow)  # type: ignore[arg-type]
        self._config = Config(accounts=(account,))
        self._reader = CredentialReader(self.disk, Path("/s/accounts.json"), Path("/s/logins.json"))
        self.known = self._reader.read_at_start([str(PATH)])
        self.refresh: Mailbox[Any] = Mailbox("refresh")

    def subjects(self) -> tuple[Subject, ...]:
        return credentials.subjects(self._config, self.known)

    def token(self) -> str:
        """The access token that requests would go out with."""
        credential = self.subjects()[0].credential
        return "" if credential is None else credential.secret.reveal()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        vault_mailbox: Mailbox[Any] = Mailbox("vault")
        vault = VaultActor(
            self.disk,
            Files(Path("/s/accounts.json"), Path("/s/logins.json"), self._read),
            self._post,
            OAuthClient,
            self._now,
            lambda: self.known,
            self._changed,
            look_seconds=20.0,
        )
        refresh = RefreshActor(
            vault_mailbox, self.subjects, Policy, self._now, self._pace.random.random
        )
        async with living(vault.run, vault_mailbox), living(refresh.run, self.refresh):
            yield

    async def _read(self, before: Known) -> Known:
        return await self._reader.read(before, [str(PATH)])

    async def _changed(self, known: Known) -> None:
        self.known = known
        await self.refresh.tell(LoginsKnown(self.subjects()))

    async def _post(self, _url: str, body: bytes) -> tuple[int, bytes]:
        sent = json.loads(body)["refresh_token"]
        # No deadline: the clock that it would go by stands still while a machine is suspended.
        granted = await self._endpoint.post(sent, self._pace)
        if granted is None:
            return 400, b'{"error": "invalid_grant"}'
        answer = {
            "access_token": granted.access_token,
            "refresh_token": granted.refresh_token,
            "expires_in": LIFETIME,
        }
        return 200, json.dumps(answer).encode()


def standing_in(file: SharedFile, endpoint: Endpoint, pace: Pace) -> Callable[[], Awaitable[None]]:
    """What follows the client's protocol: under five minutes left, lock, read again, ask, compare,
    write. It leaves the file alone when the endpoint says no; without comparing it blanks the
    tokens then, as clients did once."""

    async def run() -> None:
        while True:
            await trio.sleep(pace.random.uniform(1, 40))
            await pace.step()
            if file.tokens()["expiresAt"] / 1000 > file.now() + 300:
                continue
            with contextlib.suppress(CredentialsLocked):
                async with locked(file, pace) as held:
                    await _renew(file, endpoint, pace, held)

    return run


async def _renew(file: SharedFile, endpoint: Endpoint, pace: Pace, held: Held) -> None:
    await pace.step()
    tokens = file.tokens()
    if tokens["expiresAt"] / 1000 > file.now() + 300 or not held.ours():
        return
    granted = await endpoint.post(tokens["refreshToken"], pace)
    await pace.step()
    if granted is None:
        if not file.comparing:
            file.write(
                b'{"claudeAiOauth": {"accessToken": "", "refreshToken": "", "expiresAt": 0}}'
            )
        return
    if file.comparing and file.tokens()["refreshToken"] != tokens["refreshToken"]:
        return
    file.write(login_file(granted))
