"""The settings guard in virtual time: when clients are pointed here, and when away."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from actors.mailbox import Inbox, Mailbox
from actors.runtime import Context, Snapshot
from actors.settings_guard import Guarding, SettingsGuardActor
from tests.kit.memory_clients import SETTINGS, MemoryClients
from tests.kit.program import configured


class World:
    """One guard over clients in memory; `write` changes the configuration in force."""

    def __init__(self) -> None:
        self.config = configured("")
        self.clients = MemoryClients(lambda: self.config)
        self.clients.two_steps = True
        self.actor = SettingsGuardActor(self.clients)
        self.snapshot: Snapshot[Guarding] = Snapshot()
        self.context = self.new_context()

    def new_context(self) -> Context[None, Guarding]:
        inbox: Inbox[Any] = Mailbox[Any]("settings-guard").open_inbox()
        return Context("settings-guard", 1, inbox, self.snapshot)

    def write(self, text: str) -> None:
        self.config = configured(text)

    @property
    def view(self) -> dict[str, object]:
        return self.actor.view()


@pytest.fixture
def world() -> World:
    return World()


@contextlib.asynccontextmanager
async def running(world: World) -> AsyncIterator[trio.Nursery]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.actor.run, world.context)
        await trio.sleep(0.5)
        yield nursery
        world.context.stopping.set()


async def test_it_points_when_the_door_answers_and_puts_back_in_two_steps(
    autojump_clock: object, world: World
) -> None:
    async with running(world):
        assert world.view["state"] == "pointed"
        assert world.view["file"] == SETTINGS
        await trio.sleep(100)
    begun = world.clients.done[1][0]
    assert world.clients.done[1:] == [(begun, "restored"), (begun + 5, "finished")]
    assert world.view["state"] == "restored"


async def test_who_was_told_to_leave_settings_alone_says_so_from_the_start(
    autojump_clock: object, world: World
) -> None:
    world.write("[client]\nmanage = false")
    async with running(world):
        assert world.view["state"] == "off"
        assert world.view["reason"] == "client.manage is false, or --no-client was said"


async def test_it_does_not_point_before_the_door_answers(
    autojump_clock: object, world: World
) -> None:
    world.clients.reachable = False
    async with running(world):
        assert world.clients.done == []
        await trio.sleep(2)
        world.clients.reachable = True
        await trio.sleep(2)
        assert world.view["state"] == "pointed"


async def test_a_door_that_never_answers_points_nobody_but_does_not_hold_up_the_start(
    autojump_clock: object,
    world: World,
) -> None:
    world.clients.reachable = False
    ready: list[float] = []
    world.context._on_ready = lambda: ready.append(trio.current_time())
    began = trio.current_time()
    async with running(world):
        await trio.sleep(30)
        assert ready
        assert ready[0] - began <= 4
        assert world.clients.done == []
        world.clients.reachable = True
        await trio.sleep(15)
        assert world.view["state"] == "pointed"


async def test_a_stop_puts_back_at_once(autojump_clock: object, world: World) -> None:
    async with running(world):
        await trio.sleep(10.3)
        asked = trio.current_time()
        world.context.stopping.set()
    assert world.clients.done[1] == (asked, "restored")


async def test_a_stop_at_once_does_both_steps_at_once(autojump_clock: object, world: World) -> None:
    async with running(world) as nursery:
        asked = trio.current_time()
        nursery.cancel_scope.cancel()
    assert world.clients.done[1:] == [(asked, "restored"), (asked, "finished")]


async def test_a_second_signal_in_the_middle_of_the_release_ends_it(
    autojump_clock: object, world: World
) -> None:
    async with running(world) as nursery:
        world.context.stopping.set()
        await trio.sleep(2)
        asked = trio.current_time()
        nursery.cancel_scope.cancel()
    assert world.clients.done[2] == (asked, "finished")


async def test_an_unreachable_door_sends_clients_away_and_a_good_one_brings_them_back(
    autojump_clock: object,
    world: World,
) -> None:
    async with running(world):
        world.clients.reachable = False
        await trio.sleep(4)
        assert world.clients.what == ["pointed", "restored"]
        world.clients.reachable = True
        await trio.sleep(30)
        assert world.clients.what == ["pointed", "restored", "finished", "pointed"]
        assert world.clients.done[3][0] - world.clients.done[1][0] >= 10


async def test_with_stay_they_are_put_back_by_the_stop_alone(
    autojump_clock: object, world: World
) -> None:
    world.write('[client]\non_down = "stay"')
    async with running(world):
        world.clients.reachable = False
        await trio.sleep(30)
        assert world.clients.what == ["pointed"]
    assert world.clients.what == ["pointed", "restored", "finished"]


async def test_whoever_changes_the_base_url_is_not_fought(
    autojump_clock: object, world: World
) -> None:
    async with running(world):
        world.clients.taken = "ANTHROPIC_BASE_URL was changed by somebody else"
        await trio.sleep(60)
        assert world.view["state"] == "stood back"
        assert "somebody else" in str(world.view["reason"])
    assert world.clients.what == ["pointed"]


@pytest.mark.promise("S2")
async def test_standing_back_is_said_and_not_tried_again(
    autojump_clock: object, world: World
) -> None:
    world.clients.refuses = "it points at https://x.test"
    async with running(world):
        assert world.view["state"] == "stood back"
        assert world.view["reason"] == "it points at https://x.test"
        world.clients.refuses = ""
        await trio.sleep(200)
        assert world.clients.done == []


async def test_a_client_that_was_pointed_by_hand_is_watched_from_then_on(
    autojump_clock: object, world: World
) -> None:
    world.clients.refuses = "not yet"
    async with running(world):
        world.clients.by_hand = True
        await trio.sleep(2)
        assert world.view["state"] == "pointed"
    assert world.clients.what == ["restored", "finished"]


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("[client]\nmanage = false", "off"),
        ('[access]\ntoken = "open-sesame"', "stood back"),
    ],
)
async def test_a_changed_configuration_counts_at_once(
    autojump_clock: object, world: World, text: str, state: str
) -> None:
    async with running(world):
        world.write(text)
        await trio.sleep(20)
        assert world.clients.what == ["pointed", "restored", "finished"]
        assert world.view["state"] == state
        world.write("")
        await trio.sleep(2)
        assert world.view["state"] == "pointed"


async def test_without_management_nothing_is_touched(autojump_clock: object, world: World) -> None:
    world.write("[client]\nmanage = false")
    async with running(world):
        await trio.sleep(50)
    assert world.clients.done == []


async def test_after_a_crash_it_goes_on_and_the_client_stays_where_it_is(
    autojump_clock: object, world: World
) -> None:
    with trio.CancelScope() as scope:
        async with running(world):
            scope.cancel()
    world.clients.done.clear()
    world.clients.pointed = True
    world.context = world.new_context()
    assert world.context.restored is not None
    async with running(world):
        await trio.sleep(5)
        assert world.clients.done == []


async def test_after_the_keeper_has_put_back_it_points_again_and_a_stranger_is_heard_as_before(
    autojump_clock: object, world: World
) -> None:
    async with running(world):
        world.clients.taken = "it was put back by hand"
        await trio.sleep(20)
        assert world.view["state"] == "stood back", "the control: nobody has told it yet"
        world.clients.taken = ""
        world.clients.reachable = False
        world.actor.point_again()
        await trio.sleep(2)
        assert world.clients.what == ["pointed"], "not at a closed door"
        world.clients.reachable = True
        await trio.sleep(2)
        assert world.view["state"] == "pointed"
        world.clients.taken = "changed by somebody else"
        await trio.sleep(20)
        assert world.view["state"] == "stood back"
        assert world.clients.what == ["pointed", "pointed"]
