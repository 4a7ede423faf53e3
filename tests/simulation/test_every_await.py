"""Each actor of the whole program is crashed at each of its awaits while requests run.

One program per point, in virtual time. Whatever crashes: every request gets exactly one complete
answer, the actor is back, its siblings never restart, nothing is left in flight, and every token
is counted exactly once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from actors.runtime import Run
from server.scripted import (
    ScriptedLogins,
    ScriptedUpstream,
    overloaded,
    rate_limited,
    text_message,
    text_stream,
)
from tests.kit.crashes import (
    CountedRun,
    count_awaits,
    crash_at,
    crash_on_message,
    crash_on_publish,
)
from tests.kit.http_client import MemoryClient, Received
from tests.kit.logins import SETTINGS, login, login_file, login_path
from tests.kit.memory_credentials import MemoryCredentials
from tests.kit.memory_keys import OWNER_KEY, MemoryKeys
from tests.kit.program import RunningProgram, program_in_memory, wall_time, wrapped_actors
from tests.kit.promises import Measured
from tests.kit.rounds import rounds

CONFIG = """
[[account]]
name = "first"
api_key = "key-first"
[[account]]
name = "second"
api_key = "key-second"
"""
LOGIN = login("third") + "priority = 9\n"
"""Of an account that serves nobody here, but whose token runs out while they work."""
LOGIN_SECONDS = 603.0

PROVIDERS = """
[[provider]]
name = "lists"
base_url = "http://lists.test/v1"
[[provider]]
name = "other"
base_url = "http://other.test/v1"
models = ["x"]
[redirect]
provider = "other"
"""

SWITCHED_ON = {
    "usage-file": '[client]\nusage_file = "/usage-status.md"\n',
    "providers": PROVIDERS,
    "model-lists": PROVIDERS,
}
"""What an actor needs to have something to do; only for its own sweep, since it asks all the time."""

AWAITING = [
    "journal",
    "log-rotator",
    "quota-store",
    "probe",
    "usage-file",
    "model-lists",
    "loop-lag",
    "settings-guard",
    "keyring",
]
"""The dispatcher, the accounts, the one that knows the providers and, without a file to read, the one
that watches it have no await but their reading (to tell somebody is none while he has room); the front
end needs a real socket, and `test_acceptor.py` sweeps it. Vault and refresh do all that they wait
for in tasks of their own; `tests/supervisor/test_logins.py` crashes those."""

READS_MESSAGES = [
    "journal",
    "dispatcher",
    "providers",
    "account/first",
    "account/second",
    "vault",
    "refresh",
    "config-watcher",
    "keyring",
]
OWNER = {"authorization": f"Bearer {OWNER_KEY}"}

INPUT_TOKENS = 12
STREAM = text_stream("hello", events=4, pause=0.5, input_tokens=INPUT_TOKENS)
PLAIN = text_message("hello", input_tokens=INPUT_TOKENS)
REQUESTS = 8
REFUSED = 2
"""Answers of the script that send a request on: a limit, and an overload."""
MESSAGES_MAX = 200


def scripted(logins: ScriptedLogins) -> ScriptedUpstream:
    """An account that is limited in the middle, one that is overloaded once, slow streams."""
    upstream = ScriptedUpstream(default=logins.serve)
    upstream.script("key-first", PLAIN, STREAM, rate_limited(retry_after=3), then=STREAM)
    upstream.script("key-second", overloaded(), then=STREAM)
    return upstream


async def one(program: RunningProgram, key: str, delay: float, answers: list[Received]) -> None:
    """A request that begins after `delay` seconds, with an inbound key, which not every program
    asks for."""
    await trio.sleep(delay)
    client = MemoryClient(await program.connect())
    body = {"model": "m", "stream": True, "messages": []}
    answers.append(await client.post("/v1/messages", body, {"x-api-key": key}))
    await client.leave()


async def work(program: RunningProgram, key: str) -> list[Received]:
    """Eight overlapping requests, and management beside them."""
    answers: list[Received] = []
    async with trio.open_nursery() as nursery:
        for number in range(REQUESTS):
            nursery.start_soon(one, program, key, number * 0.4, answers)
        client = MemoryClient(await program.connect())
        for path in ("/status/accounts/first/reset", "/status/reload"):
            await trio.sleep(0.9)
            assert (await client.post(path, b"", OWNER)).status == 200
        await trio.sleep(1)
        assert (await client.get("/health")).status == 200
    return answers


async def settle(program: RunningProgram) -> dict[str, object]:
    """The status once everybody is back; one that crashed only just now has a second for that."""
    await trio.sleep(20)
    for _ in range(2):
        client = MemoryClient(await program.connect())
        status = (await client.get("/status", OWNER)).json()
        assert isinstance(status, dict)
        if all(actor["state"] == "running" for actor in status["actors"]):
            break
        await trio.sleep(1)
    return status


def check(answers: list[Received], status: dict[str, object]) -> set[str]:
    """What every run must keep, whoever crashed. Gives back who did."""
    assert len(answers) == REQUESTS
    for answer in answers:
        assert (answer.status, answer.complete) == (200, True)
        assert answer.body in (PLAIN.whole_body(), STREAM.whole_body())
    assert status["in_flight"] == 0
    accounts = status["accounts"]
    assert isinstance(accounts, list)
    assert sum(account["tokens"]["input"] for account in accounts) == REQUESTS * INPUT_TOKENS
    actors = status["actors"]
    assert isinstance(actors, list)
    assert {actor["state"] for actor in actors} == {"running"}
    crashed = [actor for actor in actors if actor["restarts"]]
    assert {actor["last_crash"]["type"] for actor in crashed} <= {"InjectedCrash"}
    return {actor["name"] for actor in crashed}


def check_login(logins: ScriptedLogins, disk: MemoryCredentials) -> None:
    """Its token was renewed, no refresh token was sent twice, and the file has the one that is
    good."""
    tokens = json.loads(disk.files[Path(login_path("third"))][0])["claudeAiOauth"]
    assert len(logins.calls) == 1
    assert logins.is_current(tokens["refreshToken"])


def check_keys(keys: MemoryKeys, key_id: str, *, asked_for: bool) -> None:
    """When the key was used is written down; of a program that asks for no keys nothing is."""
    found = keys.file.key(key_id)
    assert found is not None
    assert (found.last_used is not None) is asked_for


async def run_with(
    name: str, wrap: Callable[[Run], Run], then: Callable[[], None] = lambda: None
) -> set[str]:
    """One program, its work, and the checks; gives back who crashed. `then` is called before the
    end of the program."""
    logins, disk = ScriptedLogins(wall_time), MemoryCredentials(wall_time)
    disk.put(login_path("third"), login_file(logins.grant("third", lifetime=LOGIN_SECONDS)))
    upstream = scripted(logins)
    keys = MemoryKeys()
    key, shown = keys.add(1, requests_per_minute=REQUESTS)
    with wrapped_actors({name: wrap}):
        config = CONFIG + LOGIN + SETTINGS + SWITCHED_ON.get(name, "")
        if name == "keyring":  # without keys it has nothing to do
            config = config.replace("[access]", "[access]\nkeys = true")
        async with program_in_memory(config, upstream, credentials=disk, keys=keys) as program:
            answers = await work(program, shown)
            status = await settle(program)
            then()
    check_login(logins, disk)
    check_keys(keys, key.id, asked_for=name == "keyring")
    sent = [seen for seen in upstream.requests if seen.path == "/v1/messages"]
    assert len(sent) <= REQUESTS + REFUSED + 1, "a crash costs one more request to the upstream"
    assert all(seen.outcome == "complete" for seen in sent), "and none that was being answered"
    return check(answers, status)


async def points_of(name: str) -> int:
    """How often the actor is resumed in the same work without a fault."""
    counted: list[CountedRun] = []

    def wrap(run: Run) -> Run:
        counted.append(count_awaits(run))
        return counted[-1]

    points: list[int] = []
    crashed = await run_with(name, wrap, lambda: points.append(len(counted[0].points)))
    assert crashed == set()
    return points[0]


@pytest.mark.promise("A1")
@pytest.mark.sweep
@pytest.mark.timeout(rounds(quick=150, full=1200))
@pytest.mark.parametrize("name", AWAITING)
async def test_no_request_is_lost_when_an_actor_crashes_at_any_of_its_awaits(
    name: str, autojump_clock: object, measured: Measured
) -> None:
    """Every await of the work in a sweep. Else, of an actor that only sleeps on, the first ones."""
    points = await points_of(name)
    assert points > 0
    most = rounds(quick=12 if name in SWITCHED_ON else 40, full=points)
    for nth in range(1, min(points, most) + 1):
        crashed = await run_with(name, lambda run, nth=nth: crash_at(run, nth))  # type: ignore[misc]
        assert crashed == {name}
    visited = min(points, most)
    measured("A1", f"awaits of {name} crashed at", visited, f"of {points}")


@pytest.mark.promise("A1")
@pytest.mark.parametrize("name", ["dispatcher", "account/first", "config-watcher"])
async def test_whom_requests_depend_on_waits_for_nothing_but_its_next_message(
    name: str, autojump_clock: object
) -> None:
    """So there is no await of its own to crash it at: the tests below crash it on its messages."""
    assert await points_of(name) == 0


@pytest.mark.promise("A1")
@pytest.mark.timeout(150)
async def test_no_request_is_lost_when_an_account_crashes_before_it_tells_what_it_published(
    autojump_clock: object,
) -> None:
    """The dispatcher has not heard of it, and who asked has no answer."""
    name = "account/first"
    for nth in range(1, 9):
        crashed = await run_with(name, lambda run, nth=nth: crash_on_publish(run, nth))  # type: ignore[misc]
        assert crashed == {name}


@pytest.mark.promise("A1")
@pytest.mark.timeout(150)
@pytest.mark.parametrize("name", READS_MESSAGES)
async def test_no_request_is_lost_when_an_actor_crashes_on_any_message(
    name: str, autojump_clock: object
) -> None:
    """Just after it was read, before anything was done about it."""
    crashed: set[str] = set()
    for nth in range(1, MESSAGES_MAX):
        crashed = await run_with(name, lambda run, nth=nth: crash_on_message(run, nth))  # type: ignore[misc]
        assert crashed == ({name} if nth == 1 or crashed else set())
        if not crashed:
            return  # it reads no more messages than that
    raise AssertionError(f"{name} read more than {MESSAGES_MAX} messages")
