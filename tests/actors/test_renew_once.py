"""One renewal of a login while no program runs, as `auth refresh` does it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.credential_reading import CredentialReader
from actors.login_writing import renew_once
from protocol import credentials
from protocol.config import Account, Config
from protocol.credentials import Subject
from protocol.oauth import EndpointUnreachable, OAuthClient
from protocol.refreshing import Outcome
from server.scripted import Granted
from tests.kit.logins import STORE, login_file, store_entry, store_file
from tests.kit.memory_credentials import MemoryCredentials, full_disk
from tests.kit.program import wall_time

FILE, NOTES = Path("/home/work/.credentials.json"), Path("/state/logins.json")
OLD = Granted("sk-ant-oat01-old", "sk-ant-ort01-old", 1.0)
NEW = {"access_token": "sk-ant-oat01-new", "refresh_token": "sk-ant-ort01-new", "expires_in": 60}


class Place:
    """A disk with one login, in a file or in the store, and a token endpoint with one answer."""

    def __init__(self, *, stored: bool) -> None:
        self.disk = MemoryCredentials(wall_time)
        self.asked: list[str] = []
        self.fault = "no answer within 30 s"
        self.answer: tuple[int, dict[str, Any]] | None = (200, NEW)
        if stored:
            self.config, self.path = Config(), STORE
            self.disk.put(STORE, store_file(work=store_entry(OLD)))
        else:
            self.config = Config(accounts=(Account("work", credentials=str(FILE)),))
            self.path = FILE
            self.disk.put(FILE, login_file(OLD))

    def subject(self) -> Subject:
        reader = CredentialReader(self.disk, STORE, NOTES)
        known = reader.read_at_start([str(FILE)])
        (found,) = credentials.subjects(self.config, known)
        return found

    async def renew(self) -> Outcome:
        return await renew_once(
            self.disk, STORE, NOTES, self.subject(), self._ask, OAuthClient(), wall_time()
        )

    async def _ask(self, _url: str, body: bytes) -> tuple[int, bytes]:
        self.asked.append(json.loads(body)["refresh_token"])
        if self.answer is None:
            raise EndpointUnreachable(self.fault)
        return self.answer[0], json.dumps(self.answer[1]).encode()


@pytest.fixture(params=[True, False], ids=["stored", "in a file"])
async def place(request: pytest.FixtureRequest) -> Place:
    return Place(stored=request.param)


async def test_the_new_pair_is_written_where_the_old_one_was(
    place: Place, autojump_clock: object
) -> None:
    assert (await place.renew()).kind == "renewed"
    data = place.disk.files[place.path][0]
    assert b"sk-ant-ort01-new" in data
    assert b"old" not in data
    assert not place.subject().needs_login


async def test_a_dead_login_is_remembered_and_another_token_lifts_it(
    place: Place, autojump_clock: object
) -> None:
    place.answer = (400, {"error": "invalid_grant"})
    assert (await place.renew()).kind == "dead"
    assert place.asked == [OLD.refresh_token]
    assert place.subject().needs_login
    another = Granted("sk-ant-oat01-x", "sk-ant-ort01-x", 1.0)
    entry = store_entry(another)
    place.disk.put(
        place.path, store_file(work=entry) if place.path == STORE else login_file(another)
    )
    assert not place.subject().needs_login


@pytest.mark.parametrize(
    ("answer", "kind", "detail"),
    [
        (None, "unreachable", "no answer within 30 s"),
        ((500, {}), "unreachable", "500"),
        ((401, {"error": "invalid_client"}), "refused", "401 invalid_client"),
    ],
)
async def test_a_failure_changes_nothing_and_is_said(
    place: Place, answer: Any, kind: str, detail: str, autojump_clock: object
) -> None:
    before = place.disk.files[place.path][0]
    place.answer = answer
    outcome = await place.renew()
    assert (outcome.kind, outcome.detail) == (kind, detail)
    assert place.disk.files[place.path][0] == before
    assert not place.subject().needs_login


async def test_a_fault_that_quotes_what_was_sent_is_masked(
    place: Place, autojump_clock: object
) -> None:
    place.answer, place.fault = None, f"protocol: cannot read {OLD.refresh_token!r}"
    outcome = await place.renew()
    assert outcome.detail.startswith("protocol: cannot read ")
    assert OLD.refresh_token not in outcome.detail


async def test_a_login_that_another_process_renews_is_waited_for_a_bounded_time(
    autojump_clock: object,
) -> None:
    place = Place(stored=False)

    async def other(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with place.disk.locked_for_client(FILE):
            task_status.started()
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        await nursery.start(other)
        assert (await place.renew()).kind == "busy"
        nursery.cancel_scope.cancel()
    assert place.asked == []


@pytest.mark.promise("K2")
async def test_a_pair_that_cannot_be_written_is_an_error_and_not_a_success(
    place: Place, autojump_clock: object
) -> None:
    place.disk.fault = full_disk
    with pytest.raises(OSError, match="no space left"):
        await place.renew()
