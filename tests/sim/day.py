"""The day of a world: a storm, then what only its owner can mend, quiet, and the proof."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from tests.sim import owner
from tests.sim.clients import Session, Wish, owner_headers, post, wish
from tests.sim.disks import OWNER
from tests.sim.history import Account, Calm
from tests.sim.token_endpoint import is_alive, log_in
from tests.sim.upstream import LONGEST_REST

if TYPE_CHECKING:
    from tests.sim.world import World


async def storm(world: World) -> None:
    """Clients come and the owner has ideas, while faults are let loose."""
    async with trio.open_nursery() as nursery:
        for number in range(world.scenario.clients):
            nursery.start_soon(Session(world, f"session-{number}").run)
        nursery.start_soon(owner.own, world)
        await trio.sleep(world.scenario.storm)
        world.dice.calm = True


async def heal(world: World) -> None:
    """What only its owner can mend is mended; then it is quiet for as long as anything lasts."""
    await _reload_until_taken(world)
    for account in world.scenario.accounts:
        if not account.secret and not is_alive(world.logins, world.credentials, account.name):
            log_in(world.logins, world.credentials, account.name, OWNER)
    # The longest word of an upstream, the longest bench; actors at rest between two lives, and
    # providers that rest after failures.
    settings = world.scenario.settings
    rests = (LONGEST_REST, settings["maximum"], settings["auth"])
    await trio.sleep(60.0 + max(rests) + (240.0 if world.scenario.fallback else 0.0))
    world.calm = True
    world.history.add(Calm(trio.current_time()))


async def _reload_until_taken(world: World) -> None:
    world.skew = 0.0
    for _ in range(20):
        await trio.sleep(10)
        taken = await owner.reload(world, world.scenario.accounts)
        enabled = [await _enabled(world, account) for account in world.scenario.accounts]
        if taken and all(enabled):
            return


async def _enabled(world: World, account: Account) -> bool:
    """A reset that was read from a clock that was an hour late is an hour too long."""
    actions = ("enable", "reset") if "clock jump" in world.scenario.rates else ("enable",)
    answers = [await post(world, f"/status/accounts/{account.name}/{action}") for action in actions]
    return all(status == 200 for status, _ in answers)


async def prove(world: World) -> None:
    """After quiet: a few of each, and what the program says of itself."""
    session = Session(world, "calm")
    rng = world.dice.stream("calm")
    for _ in range(10):
        number = world.number()
        asked = wish(world, rng, number, "session-calm")
        await session.ask(number, asked)
    await trio.sleep(5)
    await session.ask(
        world.number(), Wish("GET", "/status", None, owner_headers(world), relayed=False)
    )
    await session.hang_up()
