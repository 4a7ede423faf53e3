"""A login that Claude Code looks after: before its expired token is sent, its file is read again."""

from __future__ import annotations

import pytest
import trio

from tests.kit.http_client import Received
from tests.kit.logins import login
from tests.supervisor.test_logins import KEY, World

FOLLOW = pytest.mark.parametrize("follow", ["always", "auto"])


def sent(world: World, token: str) -> int:
    return sum(seen.bearer == token for seen in world.upstream.requests)


@FOLLOW
async def test_no_401_is_spent_where_the_client_has_just_renewed_it(
    autojump_clock: object, follow: str
) -> None:
    world = World()
    old = world.log_in("work", lifetime=10)
    async with world.running(login("work", follow) + KEY):
        await trio.sleep(20.5)  # between two looks of the vault
        new = world.log_in("work")
        answer = await world.ask()
        assert (answer.status, answer.header("x-supervisor-account")) == (200, "work")
        assert answer.header("x-supervisor-attempts") == "1"
        assert world.upstream.requests[-1].bearer == new.access_token
        assert sent(world, old.access_token) == 0
        assert world.endpoint.calls == []


async def test_a_herd_reads_it_once(autojump_clock: object) -> None:
    world = World()
    old = world.log_in("work", lifetime=10)
    answers: list[Received] = []
    async with world.running(login("work", "always")):
        await trio.sleep(20.5)
        world.log_in("work")
        before = world.disk.calls.count("look")

        async def one() -> None:
            answers.append(await world.ask())

        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(one)
        assert world.disk.calls.count("look") - before < 20
    assert [answer.status for answer in answers] == [200] * 100
    assert sent(world, old.access_token) == 0


@FOLLOW
async def test_after_a_401_the_token_that_has_come_meanwhile_is_tried(
    autojump_clock: object, follow: str
) -> None:
    """It was refused before its time: another process renewed it, or a person logged in again."""
    world = World()
    old = world.log_in("work", lifetime=5000)
    async with world.running(login("work", follow) + KEY):
        await trio.sleep(20.5)
        world.endpoint.revoke_access(old.access_token)
        new = world.log_in("work")
        answer = await world.ask()
        assert (answer.status, answer.header("x-supervisor-account")) == (200, "work")
        assert world.upstream.requests[-1].bearer == new.access_token
        assert (await world.account("work"))["state"] == "available"


async def test_one_that_nobody_renewed_is_sent_as_it_is_and_the_next_account_serves(
    autojump_clock: object,
) -> None:
    """Whether it has expired is the upstream's to say: the clock of this machine may be wrong."""
    world = World()
    old = world.log_in("work", lifetime=10)
    async with world.running(login("work", "always") + KEY):
        await trio.sleep(20.5)
        answer = await world.ask()
        assert (answer.status, answer.header("x-supervisor-account")) == (200, "spare")
        assert sent(world, old.access_token) == 1


async def test_a_file_that_cannot_be_read_holds_up_nobody(autojump_clock: object) -> None:
    world = World()
    world.log_in("work", lifetime=10)
    async with world.running(login("work", "always") + KEY):
        await trio.sleep(20.5)

        def broken(call: str) -> None:
            if call == "look":
                raise OSError("the disk has a fault")

        world.disk.fault = broken
        began = trio.current_time()
        answer = await world.ask()
        assert answer.header("x-supervisor-account") == "spare"
        assert trio.current_time() - began < 1


async def test_a_disk_that_does_not_answer_costs_a_second_for_each_try_and_no_more(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    world.log_in("work", lifetime=10)
    async with world.running(login("work", "always") + KEY):
        await trio.sleep(20.5)

        async def stuck(paths: object) -> list[None]:
            await trio.sleep_forever()
            raise AssertionError

        monkeypatch.setattr(world.disk, "look_all", stuck)
        began = trio.current_time()
        answer = await world.ask()
        assert answer.header("x-supervisor-account") == "spare"
        assert trio.current_time() - began < 3
