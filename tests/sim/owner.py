"""The owner of a run: reloads, good and bad; accounts that go, come and are switched off; keys."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import trio
import trio.testing

from protocol.config import Config
from protocol.login import CredentialsLocked, CredentialsUnusable
from tests.kit.program import configured
from tests.sim.clients import CLIENT_KEYS, post
from tests.sim.disks import OTHER_CLIENT
from tests.sim.history import Account, Mended, Owner
from tests.sim.scenario import STRATEGIES, with_enabled
from tests.sim.token_endpoint import log_in

if TYPE_CHECKING:
    from tests.sim.world import World

APART = 12.0
"""Seconds between two ideas of the owner's, on average."""

JUMPS = (-3600.0, -90.0, 90.0, 3600.0)
NAPS = (3.0, 40.0, 400.0)


async def own(world: World) -> None:
    """Has ideas until the storm is over."""
    dice = world.dice
    rng = dice.stream("owner")
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    while not dice.calm:
        await trio.sleep(rng.expovariate(1 / APART))
        if dice.hit("clock jump", "wall clock"):
            world.skew += rng.choice(JUMPS)
        if dice.hit("suspend", "machine"):
            world.slept += rng.choice(NAPS)  # for everybody else; our clock stands still meanwhile
        if dice.hit("stopped", "process"):
            clock.jump(rng.choice(NAPS))  # all that was to happen meanwhile happens at once
            world.history.add(Mended(trio.current_time(), "stopped"))
        if dice.hit("reload", "same accounts"):
            await reload(world, world.accounts)
        if dice.hit("bad reload", "unknown key"):
            await _bad_reload(world)
        if dice.hit("strategy changed", "routing"):
            world.scenario = replace(world.scenario, strategy=rng.choice(STRATEGIES))
            await reload(world, world.accounts)
        if dice.hit("account removal", "and back") and len(world.accounts) > 1:
            await _remove_and_restore(world)
        if dice.hit("disable", "and enable") and world.accounts:
            await _switch(world)
        if dice.hit("renewed elsewhere", "login"):
            await _renew_elsewhere(world)
        if dice.hit("key revoked", "inbound key"):
            await _replace_key(world)
        if dice.hit("keys file broken", "keys.json"):
            await _break_keys(world)
        if dice.hit("keys switched", "off and on"):
            await _switch_keys(world)


async def reload(world: World, accounts: tuple[Account, ...]) -> bool:
    """Puts these accounts into the configuration, and all that has changed in the scenario. It is
    recorded, and true, once the program says that it counts."""
    text = world.scenario.text(accounts)
    world.source = lambda: configured(text)
    world.wanted = accounts
    # From here on who comes or is switched on may serve, whether or not we hear that it counts.
    gone = [a for a in world.accounts if a.name not in {one.name for one in accounts}]
    world.configured(
        (*gone, *(replace(a, enabled=a.enabled or _serves(world, a.name)) for a in accounts)),
        world.wanted_keys if world.keys_asked == world.wanted_keys else "unsure",
    )
    status, _ = await post(world, "/status/reload")
    if status == 200:
        world.configured(accounts, world.wanted_keys)
    return status == 200


def _serves(world: World, name: str) -> bool:
    return any(account.name == name and account.enabled for account in world.accounts)


async def _bad_reload(world: World) -> None:
    before, bad = world.source, world.scenario.text(world.wanted) + "[nonsense]\nx = 1\n"

    def broken() -> Config:
        return configured(bad)

    world.source = broken
    status, _ = await post(world, "/status/reload")
    if world.source is not broken:
        return  # the program was started anew meanwhile, for which the file had to be mended
    assert status in (0, 422, 500, 503), status
    world.source = before


async def _remove_and_restore(world: World) -> None:
    rng = world.dice.stream("owner")
    gone = rng.choice(world.accounts)
    if rng.random() < 0.5:
        await reload(world, tuple(a for a in world.accounts if a.name != gone.name))
    else:
        await reload(world, with_enabled(world.accounts, gone.name, enabled=False))
    await trio.sleep(rng.uniform(1, 40))
    await reload(world, world.scenario.accounts)


async def _switch(world: World) -> None:
    rng = world.dice.stream("owner")
    name = rng.choice(world.accounts).name
    for action in ("disable", "enable"):
        life = world.life
        if action == "enable":  # it may count whether or not we hear so
            world.history.add(Owner(trio.current_time(), action, name))
        status, _ = await post(world, f"/status/accounts/{name}/{action}")
        if status == 200 and life == world.life:
            world.history.add(Owner(trio.current_time(), action, name))
        await trio.sleep(rng.uniform(1, 40))


async def _renew_elsewhere(world: World) -> None:
    """Another client of the same login renews it, under the lock that both know."""
    logins = [account for account in world.scenario.accounts if not account.secret]
    if not logins:
        return
    name = world.dice.stream("owner").choice(logins).name
    with contextlib.suppress(OSError, CredentialsLocked):  # it tries again some other time
        async with world.credentials.locked_for_client(world.login_file(name)):
            log_in(world.logins, world.credentials, name, OTHER_CLIENT)


async def _replace_key(world: World) -> None:
    """A key is revoked; whoever has it hears so from the program, and gets another one later."""
    rng = world.dice.stream("owner")
    world.revoke_key(len(world.made_keys) - 1 - rng.randrange(CLIENT_KEYS))
    await trio.sleep(rng.uniform(1, 20))
    for _ in range(CLIENT_KEYS):  # all of them, so that nobody has one that is revoked
        world.make_key()


async def _break_keys(world: World) -> None:
    """Somebody edits the file and makes a mistake, which takes a while to be mended."""
    world.keys.broken = CredentialsUnusable("keys.json cannot be used: it is not JSON")
    await trio.sleep(world.dice.stream("owner").uniform(1, 40))
    world.keys.broken = None
    world.history.add(Mended(trio.current_time(), "keys file broken"))


async def _switch_keys(world: World) -> None:
    """For a while nobody is asked for a key; then everybody is again, at once."""
    world.scenario = replace(world.scenario, asked=False)
    await reload(world, world.accounts)
    await trio.sleep(world.dice.stream("owner").uniform(1, 40))
    world.scenario = replace(world.scenario, asked=True)
    await reload(world, world.accounts)
