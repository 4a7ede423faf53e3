"""K1: whoever needs a login at the same moment has it renewed once, in any order of events."""

from __future__ import annotations

import random

import pytest
import trio

from actors.asking import insist
from actors.messages import Renew
from protocol.secrets import Secret
from server.scripted import ScriptedLogins
from tests.kit.login_keepers import Endpoint, Ours, Pace, SharedFile
from tests.kit.logins import login_file
from tests.kit.program import wall_time
from tests.kit.promises import Measured
from tests.kit.rounds import rounds

CALLERS = 100


async def callers_at_once(seed: int) -> tuple[ScriptedLogins, list[str], str]:
    """The endpoint, what each caller got, and the token in the file; some knew a 401, some the date."""
    rng = random.Random(seed)
    logins = ScriptedLogins(wall_time)
    file = SharedFile(wall_time)
    old = logins.grant("shared", lifetime=rng.choice((-100.0, 5.0, 50.0)))
    file.write(login_file(old))
    file.content = (file.content[0], wall_time() - 3600)
    ours = Ours(file, Endpoint(logins, revokes=True), Pace(rng, 0.0), "never")
    got: list[str] = []

    async def caller(late: float, forced: bool) -> None:
        await trio.sleep(late)
        question = Renew("shared", Secret(old.access_token), forced)
        found = await insist(ours.refresh, question, timeout=60)
        assert found is not None
        got.append(found.secret.reveal())

    async with ours.running(), trio.open_nursery() as nursery:
        for _ in range(CALLERS):
            late = rng.choice((0.0, 0.0, 0.01, 0.5, 3.0))
            nursery.start_soon(caller, late, rng.random() < 0.5)
    return logins, got, file.tokens()["accessToken"]


@pytest.mark.promise("K1")
@pytest.mark.sweep
@pytest.mark.timeout(1200)
async def test_a_hundred_callers_cause_one_renewal_and_all_get_the_new_token(
    autojump_clock: object, measured: Measured
) -> None:
    for seed in range(rounds(quick=5, full=1000)):
        logins, got, token = await callers_at_once(seed)
        assert len(logins.calls) == 1, seed
        assert got == [token] * CALLERS, seed
        assert logins.reused == [], seed
    seeds = rounds(quick=5, full=1000)
    measured("K1", "renewals for a hundred callers at once", 1, rounds=seeds)


@pytest.mark.promise("K1", control=True)
async def test_callers_who_each_renew_for_themselves_lose_the_login(
    autojump_clock: object,
) -> None:
    """The control."""
    logins = ScriptedLogins(wall_time)
    old = logins.grant("shared", lifetime=-5)
    endpoint = Endpoint(logins, revokes=True)
    async with trio.open_nursery() as nursery:
        for seed in range(CALLERS):
            pace = Pace(random.Random(seed), 0.0)
            nursery.start_soon(endpoint.post, old.refresh_token, pace)
    assert (len(logins.calls), len(logins.reused)) == (CALLERS, CALLERS - 1)
    assert not logins.is_current(f"{old.refresh_token[:-1]}2")
