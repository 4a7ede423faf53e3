"""Two logins looked after by the vault and the refresh actor for weeks of virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from actors.credential_reading import CredentialReader, Files
from actors.mailbox import Mailbox
from actors.messages import LoginsKnown
from actors.refresh import RefreshActor
from actors.vault import VaultActor
from protocol import credentials
from protocol.config import Account, Config
from protocol.credentials import Known, Subject
from protocol.oauth import OAuthClient
from protocol.refreshing import Policy
from server.scripted import Answer, ScriptedLogins, SeenRequest
from tests.actors.living import living
from tests.kit.logins import STORE, login_file, login_path, store_entry, store_file
from tests.kit.memory_credentials import MemoryCredentials
from tests.kit.program import wall_time
from tests.kit.rounds import rounds

DAY = 86400.0
HOURS_OF_A_TOKEN = 8
CONFIG = Config(accounts=(Account("work", credentials=login_path("work"), follow="never"),))


class House:
    """A vault and a refresh actor with one stored login and one in a file."""

    def __init__(self) -> None:
        self.endpoint = ScriptedLogins(wall_time, lifetime=HOURS_OF_A_TOKEN * 3600)
        self.disk = MemoryCredentials(wall_time)
        self.disk.put(STORE, store_file(home=store_entry(self.endpoint.grant("home"))))
        self.disk.put(login_path("work"), login_file(self.endpoint.grant("work")))
        self._reader = CredentialReader(self.disk, STORE, Path("/state/logins.json"))
        self.known = self._reader.read_at_start(credentials.paths(CONFIG, Known()))
        self.vault: Mailbox[Any] = Mailbox("vault")
        self.refresh: Mailbox[Any] = Mailbox("refresh")

    def subjects(self) -> tuple[Subject, ...]:
        return credentials.subjects(CONFIG, self.known)

    async def read(self, before: Known) -> Known:
        return await self._reader.read(before, credentials.paths(CONFIG, before))

    async def changed(self, known: Known) -> None:
        self.known = known
        await self.refresh.tell(LoginsKnown(self.subjects()))

    async def post(self, _url: str, body: bytes) -> tuple[int, bytes]:
        await trio.sleep(0.4)
        seen = SeenRequest(0, 0, 0, b"POST", b"/v1/oauth/token", (), 0.0, body=body)
        answer: Answer = self.endpoint.refresh(seen)
        return answer.status, answer.body


@pytest.mark.promise("T1")
@pytest.mark.sweep
async def test_neither_of_two_logins_is_ever_lost_or_expired(autojump_clock: object) -> None:
    days = rounds(quick=3, full=30)
    house = House()
    vault = VaultActor(
        house.disk,
        Files(STORE, Path("/state/logins.json"), house.read),
        house.post,
        OAuthClient,
        wall_time,
        lambda: house.known,
        house.changed,
        look_seconds=600.0,
    )
    refresh = RefreshActor(house.vault, house.subjects, Policy, wall_time, lambda: 0.5)
    async with living(vault.run, house.vault), living(refresh.run, house.refresh):
        for _ in range(days * 24):
            await trio.sleep(3600)
            for subject in house.subjects():
                assert not subject.needs_login
                assert subject.expires_at is not None
                assert subject.expires_at - wall_time() > 300
    assert house.endpoint.reused == []
    # Every eight hours less ten minutes ahead and half a minute of jitter.
    expected = int(days * DAY / (HOURS_OF_A_TOKEN * 3600 - 630))
    assert len(house.endpoint.calls) == 2 * expected
