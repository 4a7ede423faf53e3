"""The files for status bars: written when something changed, seldom enough, and whatever happens."""

from __future__ import annotations

import datetime
import errno
import itertools
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio

from actors.mailbox import Mailbox
from actors.messages import Describe, DispatcherMessage
from actors.usage_file import IDLE_SECONDS, STALE_SECONDS, UsageFileActor
from actors.usage_places import UsagePlaces
from protocol.account import new_account
from protocol.accounts import AccountSpec, AccountState
from protocol.dispatch import DispatchState, Strategy
from protocol.identity import client_name, login_name
from protocol.quota import Quota, Window
from protocol.request import RequestHead
from protocol.usage_file import FILE_NAME
from tests.actors.living import living
from tests.kit.memory_disk import MemoryDisk

MAIN = Path("/claude/usage-status.md")
MAIN_ALONE = UsagePlaces(MAIN)
RED, BLUE = Path("/red"), Path("/blue")
WALL = 1_795_240_000.0
SALT = b"salt"


def name_of(token: str) -> str:
    head = RequestHead("POST", b"/v1/messages", ((b"authorization", f"Bearer {token}".encode()),))
    return client_name(head, SALT)


class WatchedDisk(MemoryDisk):
    def __init__(self) -> None:
        super().__init__()
        self.replaced: list[tuple[float, Path]] = []
        self.reads = 0
        self.missing: set[Path] = set()

    async def read(self, path: Path) -> bytes:
        self.reads += 1
        return await super().read(path)

    async def replace(self, path: Path, data: bytes) -> None:
        if path.parent in self.missing:
            raise FileNotFoundError(errno.ENOENT, "no such directory", str(path))
        await super().replace(path, data)
        self.replaced.append((trio.current_time(), path))


class Scene:
    """The actor, a disk, and a dispatcher that knows what the test says."""

    def __init__(self, places: UsagePlaces = MAIN_ALONE, *, pool: bool = False) -> None:
        self.places = places
        self.disk = WatchedDisk()
        self.dispatcher: Mailbox[DispatcherMessage] = Mailbox("dispatcher")
        self.inbox = self.dispatcher.open_inbox()
        self.asked = 0
        self.state = DispatchState(Strategy(pool, "https://up"))
        self.actor = UsageFileActor(
            self.disk,
            lambda: self.places,
            self.dispatcher,
            lambda: WALL + trio.current_time(),
            lambda data: login_name(data, SALT),
            lambda epoch: datetime.datetime.fromtimestamp(epoch, datetime.UTC),
        )

    def reads(self, name: str, utilization: float) -> None:
        """A reading of an account."""
        kind = "client" if name.startswith("client-") else "token"
        known = self.state.accounts.get(name) or new_account(
            AccountSpec(name, kind, None, "https://up")
        )
        now = WALL + trio.current_time()
        quota = Quota({"5h": Window(utilization, "allowed", now + 9000, now)}, "five_hour")
        account: AccountState = msgspec.structs.replace(known, quota=quota)
        self.state = msgspec.structs.replace(
            self.state, accounts={**self.state.accounts, name: account}
        )

    def login(self, directory: Path, token: str) -> None:
        """Claude Code has written a login."""
        document = {"claudeAiOauth": {"accessToken": token, "refreshToken": "r"}}
        self.disk.files[directory / ".credentials.json"] = json.dumps(document).encode()

    def file(self, path: Path = MAIN) -> str:
        return self.disk.files.get(path, b"").decode()

    async def dispatch(self) -> None:
        async for envelope in self.inbox:
            if isinstance(envelope.message, Describe):
                self.asked += 1
                envelope.reply_to(envelope.message).send(self.state)

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.dispatch)
            async with living(self.actor.run):
                yield
            nursery.cancel_scope.cancel()


async def test_a_reading_is_there_within_a_second_and_nothing_is_written_without_a_new_one(
    autojump_clock: object,
) -> None:
    scene = Scene(pool=True)
    async with scene.life():
        await trio.sleep(5)
        assert scene.disk.files == {}, "nothing known, nothing written"
        scene.reads("work", 0.09)
        await trio.sleep(1)
        assert scene.file().startswith("5h=9% bottleneck=five_hour (")
        await trio.sleep(3 * STALE_SECONDS)
        assert len(scene.disk.replaced) == 1
        scene.reads("work", 0.10)
        await trio.sleep(1)
        assert scene.file().startswith("5h=10% ")


async def test_it_is_written_at_most_twice_a_second_however_many_readings_come(
    autojump_clock: object,
) -> None:
    scene = Scene()
    async with scene.life():
        for number in range(500):
            scene.reads("client-1", number / 1000)
            await trio.sleep(0.02)
    moments = [moment for moment, _ in scene.disk.replaced[:-1]]
    assert 15 <= len(moments) <= 21
    assert min(b - a for a, b in itertools.pairwise(moments)) >= 0.49
    assert scene.file().startswith("5h=50% "), "the last one, written at the stop, stays"


async def test_each_login_gets_its_own_file_and_the_main_one_has_all(
    autojump_clock: object,
) -> None:
    scene = Scene(UsagePlaces(MAIN, optional=True, logins=(RED, BLUE)))
    scene.login(RED, "token-red")
    scene.login(BLUE, "token-blue")
    async with scene.life():
        scene.reads(name_of("token-red"), 0.1)
        scene.reads(name_of("somebody-else"), 0.3)
        await trio.sleep(2)
        assert scene.file(RED / MAIN.name).startswith("5h=10% ")
        assert scene.file(BLUE / MAIN.name) == ""
        assert scene.file().count("\n") == 2
        scene.reads(name_of("token-blue"), 0.2)
        await trio.sleep(2)
        assert scene.file(BLUE / MAIN.name).startswith("5h=20% ")
        assert scene.file(RED / MAIN.name).startswith("5h=10% ")


async def test_a_login_that_rotates_goes_on_in_its_file_and_is_no_second_one(
    autojump_clock: object,
) -> None:
    scene = Scene(UsagePlaces(MAIN, optional=True, logins=(RED,)))
    scene.login(RED, "first")
    async with scene.life():
        scene.reads(name_of("first"), 0.1)
        await trio.sleep(2)
        scene.login(RED, "second")
        scene.reads(name_of("second"), 0.2)
        await trio.sleep(3)
        assert scene.file(RED / MAIN.name).startswith("5h=20% ")
        assert scene.file().startswith("5h=20% ")
        assert scene.file().count("\n") == 1


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"claudeAiOauth": {"accessToken": 5}}', None]
)
async def test_a_login_file_that_is_missing_or_broken_changes_nothing(
    autojump_clock: object, content: bytes | None
) -> None:
    scene = Scene(UsagePlaces(MAIN, optional=True, logins=(RED,)))
    scene.login(RED, "first")
    async with scene.life():
        scene.reads(name_of("first"), 0.1)
        await trio.sleep(2)
        if content is None:
            del scene.disk.files[RED / ".credentials.json"]
        else:
            scene.disk.files[RED / ".credentials.json"] = content
        scene.reads(name_of("first"), 0.2)
        await trio.sleep(3)
        assert scene.file(RED / MAIN.name).startswith("5h=20% ")


async def test_logins_are_read_only_when_something_new_is_known_and_once_a_second(
    autojump_clock: object,
) -> None:
    scene = Scene(UsagePlaces(logins=(RED,)))
    async with scene.life():
        await trio.sleep(20)
        assert scene.disk.reads == 0
        for number in range(100):
            scene.reads("client-1", number / 100)
            await trio.sleep(0.1)
        assert 8 <= scene.disk.reads <= 11


async def test_logins_mean_nothing_while_there_are_accounts(autojump_clock: object) -> None:
    scene = Scene(UsagePlaces(MAIN, logins=(RED,)), pool=True)
    async with scene.life():
        scene.reads("work", 0.1)
        await trio.sleep(2)
    assert list(scene.disk.files) == [MAIN]
    assert scene.disk.reads == 0


async def test_a_reload_that_brings_accounts_leaves_the_logins_files_alone(
    autojump_clock: object,
) -> None:
    """They were of passthrough mode; nobody reads those logins any more."""
    scene = Scene(UsagePlaces(MAIN, logins=(RED,)))
    scene.login(RED, "token-red")
    async with scene.life():
        scene.reads(name_of("token-red"), 0.1)
        await trio.sleep(2)
        before = scene.file(RED / FILE_NAME)
        assert "5h=10%" in before
        scene.state = msgspec.structs.replace(scene.state, strategy=Strategy(True, "https://up"))
        scene.reads("work", 0.2)
        scene.reads(name_of("token-red"), 0.7)
        await trio.sleep(2)
    assert "5h=20%" in scene.file()
    assert scene.file(RED / FILE_NAME) == before


async def test_a_disk_that_refuses_is_said_once_and_tried_again(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene()
    scene.disk.failing = True
    async with scene.life():
        with caplog.at_level(logging.WARNING):
            scene.reads("client-1", 0.1)
            await trio.sleep(3 * IDLE_SECONDS)
            assert [record.levelname for record in caplog.records] == ["WARNING"]
            scene.disk.failing = False
            await trio.sleep(2 * IDLE_SECONDS)
            assert scene.file().startswith("5h=10% ")
            assert "written again" in caplog.records[-1].getMessage()


async def test_where_claude_code_has_no_directory_nothing_is_written_or_said(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    """The control: a path that the owner named is missed aloud."""
    for optional, said in ((True, 0), (False, 1)):
        scene = Scene(UsagePlaces(MAIN, optional))
        scene.disk.missing.add(MAIN.parent)
        caplog.clear()
        async with scene.life():
            with caplog.at_level(logging.WARNING):
                scene.reads("client-1", 0.1)
                await trio.sleep(3 * IDLE_SECONDS)
                assert len(caplog.records) == said
                scene.disk.missing.clear()
                await trio.sleep(2 * IDLE_SECONDS)
        assert scene.file().startswith("5h=10% "), "it is there as soon as the directory is"


async def test_switched_off_it_asks_nobody_until_it_is_switched_on(autojump_clock: object) -> None:
    scene = Scene(UsagePlaces())
    scene.reads("client-1", 0.1)
    async with scene.life():
        await trio.sleep(60)
        assert scene.asked == 0
        scene.places = UsagePlaces(MAIN)
        await trio.sleep(2 * IDLE_SECONDS)
        assert scene.file().startswith("5h=10% ")


async def test_no_token_is_kept_or_logged(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(UsagePlaces(MAIN, optional=True, logins=(RED,)))
    token = "sk-ant-oat01-" + "q" * 40
    scene.login(RED, token)
    with caplog.at_level(logging.DEBUG):
        async with scene.life():
            scene.reads(name_of(token), 0.1)
            await trio.sleep(2)
    assert scene.file(RED / MAIN.name)
    assert token not in repr(vars(scene.actor))
    assert token not in caplog.text
    assert token.encode() not in b"".join(
        data for path, data in scene.disk.files.items() if path.name != ".credentials.json"
    )
