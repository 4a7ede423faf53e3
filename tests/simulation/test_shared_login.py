"""Two processes of ours and one that does as Claude Code does share a login whose refresh tokens
are good for one use each: none of them ever logs the others out."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio

from server.scripted import ScriptedLogins
from tests.kit.login_keepers import Endpoint, Ours, Pace, SharedFile, standing_in
from tests.kit.logins import login_file
from tests.kit.program import wall_time
from tests.kit.promises import Measured
from tests.kit.rounds import SWEEPING, rounds

EXPIRIES = 2
SUSPENDS = 0.03
"""Per step of a process. A suspend lasts longer than a lock does."""

CONTROL_ROUNDS_MAX = 60


class Ending:
    """How one interleaving ended."""

    def __init__(self, file: SharedFile, logins: ScriptedLogins, ours: list[Ours]) -> None:
        self.good = logins.is_current(file.tokens()["refreshToken"])
        self.whole = all(b"sk-ant-ort01-" in data for data in file.history)
        self.refreshes = len(logins.calls)
        self.reused = len(logins.reused)
        self.need_login = [one.subjects()[0].needs_login for one in ours]
        self.tokens = [one.token() for one in ours]
        self.token = file.tokens()["accessToken"]

    def __repr__(self) -> str:
        return f"Ending({vars(self)})"

    @property
    def lost(self) -> bool:
        """A login is gone, or a process does not have it."""
        kept = self.good and self.whole and not any(self.need_login)
        return not kept or {*self.tokens} != {self.token}


async def interleaving(seed: int, *, suspends: float, revokes: bool, **guards: Any) -> Ending:
    """Some expiries of one login that three processes look after."""
    rng = random.Random(seed)
    logins = ScriptedLogins(wall_time)
    file = SharedFile(wall_time, **guards)
    # They all notice the same expiry at about the same moment.
    file.write(login_file(logins.grant("shared", lifetime=rng.uniform(-200, 100))))
    file.content = (file.content[0], wall_time() - 3600)
    endpoint = Endpoint(logins, revokes=revokes)
    follows = rng.choice((("auto", "auto"), ("auto", "never"), ("never", "never")))
    paces = [Pace(random.Random(rng.random()), suspends) for _ in range(3)]
    ours = [Ours(file, endpoint, paces[number], follows[number]) for number in range(2)]
    client = standing_in(file, endpoint, paces[2])
    async with ours[0].running(), ours[1].running(), trio.open_nursery() as nursery:
        nursery.start_soon(client)
        for _ in range(EXPIRIES):
            await trio.sleep(rng.uniform(200, 500))
            if logins.is_current(file.tokens()["refreshToken"]) and file.lock is None:
                file.write(file.content[0].replace(*expired(file)))
        for pace in paces:
            pace.suspends = 0.0
        await trio.sleep(900)
        nursery.cancel_scope.cancel()
    return Ending(file, logins, ours)


def expired(file: SharedFile) -> tuple[bytes, bytes]:
    """The date in the file, and one that is past."""
    return (
        str(file.tokens()["expiresAt"]).encode(),
        str(round((wall_time() - 1) * 1000)).encode(),
    )


@pytest.mark.promise("K1")
@pytest.mark.sweep
@pytest.mark.timeout(1200)
async def test_no_interleaving_of_three_processes_sends_a_used_token(
    autojump_clock: object, measured: Measured
) -> None:
    """At an endpoint that would revoke the login for that."""
    refreshes = 0
    for seed in range(rounds(quick=4, full=1000)):
        ending = await interleaving(seed, suspends=0.0, revokes=True)
        assert not ending.lost, (seed, ending)
        assert ending.reused == 0, seed
        refreshes += ending.refreshes
    assert refreshes > 0
    seeds = rounds(quick=4, full=1000)
    measured("K1", "used tokens sent by three processes", 0, rounds=seeds)
    measured("K1", "renewals by three processes", refreshes, rounds=seeds)


@pytest.mark.promise("K1")
@pytest.mark.sweep
@pytest.mark.timeout(1200)
async def test_no_suspend_that_makes_a_lock_stale_loses_a_login(
    autojump_clock: object, measured: Measured
) -> None:
    """Then a used token may be sent; nobody takes the refusal for the end, or overwrites a newer
    one."""
    reused = 0
    for seed in range(rounds(quick=4, full=1000)):
        ending = await interleaving(seed, suspends=SUSPENDS, revokes=False)
        assert not ending.lost, (seed, ending)
        reused += ending.reused
    if SWEEPING:
        assert reused > 0, "no suspend was at a bad moment: this shows nothing"
    measured("K1", "logins lost over suspends", 0, rounds=rounds(quick=4, full=1000))


@pytest.mark.promise("K1", control=True)
@pytest.mark.parametrize("suspends", [0.0, SUSPENDS])
async def test_without_lock_and_comparison_logins_are_lost(
    suspends: float, autojump_clock: object
) -> None:
    """The controls: the same processes, unguarded."""
    for seed in range(CONTROL_ROUNDS_MAX):
        ending = await interleaving(
            seed, suspends=suspends, revokes=not suspends, locking=False, comparing=False
        )
        if ending.lost:
            return
    raise AssertionError("nothing was lost without any guard: the tests above show nothing")
