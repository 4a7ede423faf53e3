"""What happens to a login between two steps of its renewal, one moment at a time, in virtual time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from server.scripted import Answer, ScriptedUpstream, SeenRequest
from server.scripted.token_endpoint import TOKEN_PATH
from tests.kit.http_client import MemoryClient
from tests.kit.logins import STORE, login, login_file, login_path, store_entry, store_file
from tests.supervisor.test_logins import KEY, World

FILE = Path(login_path("work"))


def before_the_answer(world: World, then: Callable[[], None]) -> None:
    """`then` happens once, while the first request is on its way to the token endpoint."""
    left = [then]

    def serve(seen: SeenRequest) -> Answer:
        if seen.path == TOKEN_PATH and left:
            left.pop()()
        return world.endpoint.serve(seen)

    world.upstream = ScriptedUpstream(default=serve)
    world.upstream.script("key-spare", world.endpoint._serve)


async def test_a_login_that_was_renewed_while_we_waited_for_the_lock_is_not_renewed_again(
    autojump_clock: object,
) -> None:
    world = World()
    world.log_in("work", lifetime=-5)

    def renewed_by_its_client(name: str) -> None:
        if name == "lock":
            world.disk.fault = lambda _: None
            world.log_in("work")

    world.disk.fault = renewed_by_its_client
    async with world.running(login("work")):
        assert (await world.ask()).status == 200
        assert world.upstream.requests[-1].bearer == world.on_disk("work")["accessToken"]
    assert world.endpoint.calls == []


async def test_a_lock_that_was_lost_while_the_machine_slept_sends_no_token(
    autojump_clock: object,
) -> None:
    world = World()
    world.log_in("work", lifetime=-5)
    world.disk.lock_lost = True
    async with world.running(login("work")):
        await trio.sleep(60)
        assert world.endpoint.calls == []
        world.disk.lock_lost = False
        await trio.sleep(60)
        assert len(world.endpoint.calls) == 1
        assert (await world.account("work"))["state"] == "available"


@pytest.mark.parametrize(("lifetime", "calls"), [(None, 1), (-1.0, 2)], ids=["fresh", "expired"])
async def test_after_invalid_grant_the_token_that_stands_in_the_file_by_then_counts(
    lifetime: float | None, calls: int, autojump_clock: object
) -> None:
    """Somebody was faster and has written it: a fresh one is used, an expired one is tried once."""
    world = World()
    world.log_in("work", lifetime=-5)
    before_the_answer(world, lambda: void(world.log_in("work", lifetime=lifetime)))
    async with world.running(login("work") + KEY):
        answer = await world.ask(x_account_name="work")
        assert answer.status == 200, "at once, not with the next try"
        assert (await world.account("work"))["state"] == "available"
    assert len(world.endpoint.calls) == calls
    assert len(world.endpoint.reused) == 1


@pytest.mark.parametrize("stored", [True, False])
async def test_an_account_that_is_removed_while_it_is_renewed_does_not_come_back(
    stored: bool, autojump_clock: object
) -> None:
    """By `auth remove`, or by its client's logging out."""
    world = World()
    granted = world.endpoint.grant("work", lifetime=-5)
    if stored:
        world.store(work=store_entry(granted))
        path, gone = STORE, store_file()
    else:
        path, gone = FILE, b'{"mcpOAuth": {"kept": 1}}'
        world.disk.put(path, login_file(granted))
    before_the_answer(world, lambda: world.disk.put(path, gone))
    async with world.running(KEY if stored else login("work") + KEY):
        await trio.sleep(60)
        assert (await world.ask()).header("x-supervisor-account") == "spare"
    assert len(world.endpoint.calls) == 1
    assert world.disk.files[path][0] == gone
    assert world.disk.aside == {}


async def test_an_owner_who_logs_in_anew_while_his_old_token_is_refused_keeps_the_new_login(
    autojump_clock: object,
) -> None:
    world = World()
    world.log_in("work", lifetime=-5)
    world.endpoint.grant("work")
    looks = 0

    def logs_in(name: str) -> None:
        """When the file has been read again after the refusal, and before anything is noted."""
        nonlocal looks
        looks += name == "look" and bool(world.endpoint.calls)
        if looks == 2:
            looks += 1
            world.log_in("work")

    world.disk.fault = logs_in
    async with world.running(login("work") + KEY):
        await trio.sleep(30)
        assert looks > 2
        assert (await world.account("work"))["state"] == "available"
        assert (await world.ask(x_account_name="work")).status == 200


async def test_logins_that_die_at_one_moment_are_all_remembered(autojump_clock: object) -> None:
    world = World()
    names = ("one", "two", "three")
    for name in names:
        world.log_in(name, lifetime=-5)
        world.endpoint.grant(name)
    notes = Path("/state/logins.json")
    fast = world.disk.replace

    async def replace(path: Path, before: bytes | None, data: bytes) -> bool:
        if path == notes:
            await trio.sleep(3)
        return await fast(path, before, data)

    world.disk.replace = replace  # type: ignore[method-assign]
    async with world.running("".join(map(login, names)) + KEY):
        await trio.sleep(120)
    assert len(json.loads(world.disk.files[notes][0])["needsLogin"]) == 3


async def test_a_stored_login_that_is_always_followed_is_never_renewed(
    autojump_clock: object,
) -> None:
    world = World()
    granted = world.log_in("work", lifetime=-5)
    entry = {"kind": "oauth", "credentials": str(FILE), "follow": "always"}
    world.store(home=entry)
    async with world.running(KEY):
        await trio.sleep(600)
        done = await world.post("/status/accounts/home/refresh")
        assert done.status == 409
        assert b"Claude Code alone may renew it" in done.body
    assert world.endpoint.calls == []
    assert world.on_disk("work")["refreshToken"] == granted.refresh_token


async def test_a_refresh_by_hand_says_why_there_was_none(autojump_clock: object) -> None:
    world = World()
    world.log_in("work")
    config = login("work", "auto") + KEY
    async with world.running(config):
        await trio.sleep(10)
        for _ in range(2):  # nor does a person wait after the first
            assert (await world.post("/status/accounts/work/refresh")).status == 200
        assert len(set(world.endpoint.calls)) == 2
    world.endpoint.grant("work")
    async with world.running(config):
        await trio.sleep(100)
        for _ in range(2):
            done = await world.post("/status/accounts/work/refresh")
            assert (done.status, b"it needs a login" in done.body) == (409, True)
    assert world.endpoint.reused == world.endpoint.calls[-1:], "the dead token went out once"


async def test_a_dead_token_is_not_sent_again_because_its_file_cannot_be_read_just_then(
    autojump_clock: object,
) -> None:
    world = World()
    world.log_in("work", lifetime=-5)
    world.endpoint.grant("work")  # to somebody who has not written it: what we have is used up

    def broken_after_the_answer(name: str) -> None:
        if name == "look" and world.endpoint.calls:
            raise OSError(5, "input/output error")

    world.disk.fault = broken_after_the_answer
    async with world.running(login("work") + KEY):
        await trio.sleep(5)
        world.disk.fault = lambda _: None
        await trio.sleep(900)
        assert (await world.account("work"))["state"] == "needs_login"
        assert len(world.endpoint.calls) == 1
        world.log_in("work")
        await trio.sleep(3)
        assert (await world.account("work"))["state"] == "available"


@pytest.mark.parametrize("slow", [3.0, 20.0])
async def test_a_stop_during_a_renewal_that_no_request_waits_for_loses_no_login(
    slow: float, autojump_clock: object
) -> None:
    world = World()
    world.log_in("work", lifetime=-5)
    world.endpoint.delay = slow
    async with world.running(login("work")):
        await trio.sleep(1)
        assert len(world.endpoint.calls) == 1
        world.program.program.stop()
    assert world.endpoint.is_current(world.on_disk("work")["refreshToken"])


async def test_a_login_that_needs_its_owner_sends_nothing_upstream(
    autojump_clock: object,
) -> None:
    """Not even an access token that would be good for hours."""
    world = World()
    world.store(work=store_entry(world.endpoint.grant("work"), needsLogin=True))
    async with world.running(KEY):
        for _ in range(3):
            assert (await world.ask()).header("x-supervisor-account") == "spare"
        assert (await world.ask(x_account_name="work")).status == 503
    assert [seen.bearer for seen in world.upstream.requests] == [None] * 3


async def test_a_refused_token_is_not_sent_again_where_nothing_may_be_repeated(
    autojump_clock: object,
) -> None:
    world = World()
    granted = world.log_in("work")
    world.endpoint.revoke_access(granted.access_token)
    async with world.running(login("work")):
        client = MemoryClient(await world.program.connect())
        assert (await client.post("/v1/files", {})).status == 401
    assert [seen.path for seen in world.upstream.requests] == ["/v1/files"]
    world = World()
    granted = world.log_in("work")
    world.endpoint.revoke_access(granted.access_token)
    async with world.running(login("work") + "[routing]\nmax_attempts = 1\n"):
        assert (await world.ask()).status == 401
    assert [seen.path for seen in world.upstream.requests] == ["/v1/messages"]


def void(_: object) -> None:
    """For what gives something back."""
