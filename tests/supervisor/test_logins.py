"""Logins in the whole program, in virtual time: renewed once, in time, and never lost."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from server.scripted import (
    Answer,
    Granted,
    ScriptedLogins,
    ScriptedUpstream,
    oauth_error,
    stall_before_head,
)
from tests.kit.http_client import MemoryClient, Received
from tests.kit.logins import (
    SETTINGS,
    STORE,
    login,
    login_file,
    login_path,
    store_entry,
    store_file,
)
from tests.kit.memory_credentials import MemoryCredentials, full_disk
from tests.kit.program import RunningProgram, program_in_memory, wall_time

MESSAGE = {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
KEY = '[[account]]\nname = "spare"\napi_key = "key-spare"\npriority = 9\n'


class World:
    """A program, its credential files, and the endpoint that knows its logins."""

    def __init__(self, now: Callable[[], float] = wall_time) -> None:
        self.now = now
        self.endpoint = ScriptedLogins(now)
        self.upstream = ScriptedUpstream(default=self.endpoint.serve)
        self.upstream.script("key-spare", self.endpoint._serve)
        self.disk = MemoryCredentials(now)
        self.program: RunningProgram

    def log_in(self, name: str, *, lifetime: float | None = None, **more: Any) -> Granted:
        granted = self.endpoint.grant(name, lifetime=lifetime)
        self.disk.put(login_path(name), login_file(granted, **more))
        return granted

    def store(self, **accounts: Any) -> None:
        self.disk.put(STORE, store_file(**accounts))

    def on_disk(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.disk.files[Path(login_path(name))][0])
        entry: dict[str, Any] = found["claudeAiOauth"]
        return entry

    @asynccontextmanager
    async def running(self, config: str) -> AsyncGenerator[None, None]:
        async with program_in_memory(
            config + SETTINGS, self.upstream, credentials=self.disk, wall_clock=self.now
        ) as program:
            self.program = program
            yield

    async def ask(self, **headers: str) -> Received:
        client = MemoryClient(await self.program.connect())
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await client.post("/v1/messages", MESSAGE, named)

    async def post(self, path: str) -> Received:
        return await MemoryClient(await self.program.connect()).post(path, b"")

    async def account(self, name: str) -> dict[str, Any]:
        client = MemoryClient(await self.program.connect())
        found = (await client.get(f"/status/accounts/{name}")).json()
        assert isinstance(found, dict)
        return found

    async def names(self) -> list[str]:
        client = MemoryClient(await self.program.connect())
        status = (await client.get("/status")).json()
        assert isinstance(status, dict)
        return [account["name"] for account in status["accounts"]]


async def test_an_account_with_a_login_file_serves_with_its_token_and_the_beta(
    autojump_clock: object,
) -> None:
    world = World()
    granted = world.log_in("work")
    async with world.running(login("work")):
        answer = await world.ask()
        assert (answer.status, answer.header("x-supervisor-account")) == (200, "work")
        seen = world.upstream.requests[-1]
        assert seen.bearer == granted.access_token
        assert seen.api_key is None
        assert seen.header("anthropic-beta") == "oauth-2025-04-20"
        view = await world.account("work")
        assert (view["kind"], view["state"]) == ("oauth", "available")
        assert view["expires_at"].endswith("Z")
        assert granted.access_token not in json.dumps(view)


@pytest.mark.promise("K1")
async def test_a_hundred_requests_that_find_an_expired_token_cause_one_refresh(
    autojump_clock: object,
) -> None:
    """K1: all hundred get the new token; the old one is never sent again."""
    world = World()
    old = world.log_in("work", lifetime=-5)
    world.endpoint.delay = 3
    answers: list[Received] = []
    async with world.running(login("work")):

        async def one() -> None:
            answers.append(await world.ask())

        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(one)
    assert [answer.status for answer in answers] == [200] * 100
    assert world.endpoint.calls == [old.refresh_token]
    bearers = {seen.bearer for seen in world.upstream.requests if seen.path == "/v1/messages"}
    assert bearers == {world.on_disk("work")["accessToken"]}


async def test_a_token_is_renewed_ahead_of_its_expiry_without_any_traffic(
    autojump_clock: object,
) -> None:
    world = World()
    granted = world.log_in("work", lifetime=3600)
    async with world.running(login("work")):
        await trio.sleep(3600 - 600 - 62)
        assert world.endpoint.calls == []
        await trio.sleep(63)
        assert world.endpoint.calls == [granted.refresh_token]
        entry = world.on_disk("work")
        assert entry["accessToken"] != granted.access_token
        assert entry["subscriptionType"] == "max"
        assert (await world.account("work"))["counters"]["refreshes"] == 1
        assert (await world.account("work"))["quota"] == {}


async def test_the_request_to_the_token_endpoint_says_honestly_who_asks(
    autojump_clock: object,
) -> None:
    world = World()
    granted = world.log_in("work", lifetime=-5)
    async with world.running(login("work")):
        await world.ask()
    (agent,) = world.endpoint.agents
    assert agent is not None
    assert agent.startswith("llm-supervisor/")
    (body,) = world.endpoint.bodies
    assert body == {
        "grant_type": "refresh_token",
        "refresh_token": granted.refresh_token,
        "client_id": "9d1c250a-e61b-44d9-88ed-5944d1962f5e",
        "scope": "user:inference",
    }


async def test_a_refused_token_is_renewed_once_and_the_same_account_serves(
    autojump_clock: object,
) -> None:
    world = World()
    granted = world.log_in("work")
    async with world.running(login("work") + KEY):
        world.endpoint.revoke_access(granted.access_token)
        answers = []

        async def one() -> None:
            answers.append(await world.ask())

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(one)
        assert {answer.header("x-supervisor-account") for answer in answers} == {"work"}
        assert {answer.status for answer in answers} == {200}
        assert len(world.endpoint.calls) == 1
        view = await world.account("work")
        assert (view["state"], view["cooldowns"]) == ("available", [])


async def test_a_login_whose_new_token_is_refused_too_rests_and_the_next_account_serves(
    autojump_clock: object,
) -> None:
    world = World()
    world.log_in("work")
    async with world.running(login("work") + KEY):
        world.endpoint.lifetime = -1  # what comes is expired already
        world.endpoint.revoke_access(world.on_disk("work")["accessToken"])
        answer = await world.ask()
        assert (answer.status, answer.header("x-supervisor-account")) == (200, "spare")
        assert len(world.endpoint.calls) == 1
        view = await world.account("work")
        assert view["state"] == "cooling"
        assert view["cooldowns"][0]["reason"] == "auth"


@pytest.mark.promise("K2")
async def test_a_dead_login_is_said_once_and_the_others_serve(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    world.log_in("work", lifetime=-5)
    world.endpoint.grant("work")  # somebody else used the refresh token, and wrote nothing
    async with world.running(login("work") + KEY):
        for _ in range(5):
            assert (await world.ask()).header("x-supervisor-account") == "spare"
            await trio.sleep(200)
        assert (await world.account("work"))["state"] == "needs_login"
        assert len(world.endpoint.calls) == 1, "a dead token is tried once"
        before = await world.ask(x_account_name="work")
        assert before.status == 503
        # A new login in the file lifts it, without a restart.
        world.log_in("work")
        await trio.sleep(2)
        assert (await world.account("work"))["state"] == "available"
        assert (await world.ask()).header("x-supervisor-account") == "work"
    said = [
        record.getMessage() for record in caplog.records if "needs a login" in record.getMessage()
    ]
    assert len(said) == 1


@pytest.mark.promise("K2")
@pytest.mark.parametrize("stored", [True, False])
async def test_needing_a_login_is_remembered_over_a_restart(
    stored: bool, autojump_clock: object
) -> None:
    world = World()
    granted = world.endpoint.grant("work", lifetime=-5)
    world.endpoint.grant("work")
    if stored:
        world.store(work=store_entry(granted))
    else:
        world.disk.put(login_path("work"), login_file(granted))
    config = KEY if stored else login("work") + KEY
    for _ in range(2):
        async with world.running(config):
            await world.ask()
            assert (await world.account("work"))["state"] == "needs_login"
    assert len(world.endpoint.calls) == 1


@pytest.mark.promise("K4")
async def test_another_process_that_was_faster_is_followed_instead_of_being_logged_out(
    autojump_clock: object,
) -> None:
    """invalid_grant, but the file has another refresh token by now."""
    world = World()
    world.log_in("work", lifetime=-5)

    def faster(seen: object) -> Answer:
        world.log_in("work")
        return oauth_error("invalid_grant")

    async with world.running(login("work")):
        world.endpoint.failures = [oauth_error("invalid_grant")]
        original = world.endpoint.refresh
        world.endpoint.refresh = faster  # type: ignore[method-assign, assignment]
        assert (await world.ask()).status == 200
        world.endpoint.refresh = original  # type: ignore[method-assign]
        assert (await world.account("work"))["state"] == "available"


@pytest.mark.promise("K3")
async def test_a_token_endpoint_that_fails_costs_nothing_while_the_old_token_is_good(
    autojump_clock: object,
) -> None:
    """K3: 5xx, garbage and hanging; then it recovers."""
    world = World()
    world.log_in("work", lifetime=900)
    garbage = Answer(body=b"<html>")
    world.endpoint.failures = [Answer(status=503), garbage, Answer(status=429), stall_before_head()]
    async with world.running(login("work")):
        for _ in range(80):
            await trio.sleep(10)
            assert (await world.ask()).status == 200
        assert world.endpoint.failures == []
        assert (await world.account("work"))["state"] == "available"
        assert (await world.account("work"))["counters"]["refreshes"] == 1


@pytest.mark.promise("K3")
async def test_a_token_endpoint_that_hangs_for_one_account_holds_up_no_other(
    autojump_clock: object,
) -> None:
    """P2: the account is out within the timeout, and the others never notice."""
    world = World()
    world.log_in("work", lifetime=-5)
    world.log_in("home")
    world.endpoint.failures = [stall_before_head()]
    async with world.running(login("work") + login("home")):
        began = trio.current_time()
        async with trio.open_nursery() as nursery:

            async def slow() -> None:
                assert (await world.ask()).header("x-supervisor-account") == "home"
                assert trio.current_time() - began <= 33

            nursery.start_soon(slow)
            await trio.sleep(1)
            answer = await world.ask(x_account_name="home")
            assert answer.status == 200
            assert trio.current_time() - began < 2


async def test_refusals_in_a_row_disable_a_login_and_faults_in_between_do_not_count(
    autojump_clock: object,
) -> None:
    world = World()
    world.log_in("work", lifetime=-5)
    refusal, fault = oauth_error("invalid_client", 401), Answer(status=500)
    world.endpoint.failures = [refusal, refusal, fault, refusal, refusal, refusal]
    config = login("work") + KEY + "[refresh]\ndisable_after = 3\n"
    async with world.running(config):
        await trio.sleep(600)
        assert (await world.account("work"))["state"] == "needs_login"
        assert len(world.endpoint.calls) == 6


@pytest.mark.promise("T1")
async def test_a_clock_that_jumps_while_the_machine_sleeps_is_noticed_before_a_request_goes_out(
    autojump_clock: object,
) -> None:
    """T1, P2: ten hours of wall clock in a second of the other."""
    jumped = 0.0

    def now() -> float:
        return wall_time() + jumped

    world = World(now)
    world.log_in("work")
    world.log_in("home")
    async with world.running(login("work") + login("home")):
        assert (await world.ask()).status == 200
        await trio.sleep(40)
        jumped = 36_000
        await trio.sleep(1)
        assert (await world.ask(x_account_name="work")).status == 200
        refused = [seen for seen in world.upstream.requests if seen.path == "/v1/messages"]
        assert len(refused) == 2, "no attempt with the expired token"
        await trio.sleep(45)
        assert len(world.endpoint.calls) == 2, "the other one without traffic"
        jumped -= 3600  # and back by an hour: nothing is renewed again and again
        await trio.sleep(600)
        assert len(world.endpoint.calls) == 2


@pytest.mark.promise("K2")
async def test_a_full_disk_keeps_the_new_pair_until_it_can_be_written_and_nobody_uses_it_before(
    autojump_clock: object,
) -> None:
    """D1: the refresh token is used up, so the pair that came for it must not be lost."""
    world = World()
    old = world.log_in("work", lifetime=300)
    world.disk.fault = full_disk
    async with world.running(login("work")):
        await trio.sleep(120)
        assert len(world.endpoint.calls) == 1, "a used token is not sent again"
        assert (await world.ask()).status == 200
        assert world.upstream.requests[-1].bearer == old.access_token
        world.disk.fault = lambda _: None
        await trio.sleep(10)
        entry = world.on_disk("work")
        assert entry["accessToken"] != old.access_token
        assert world.endpoint.is_current(entry["refreshToken"])
        assert (await world.account("work"))["state"] == "available"
        assert world.endpoint.reused == []


async def survives_a_crash(nth: int, *, stored: bool) -> bool:
    """A program whose vault crashes at the n-th call of the disk while it renews; False when there
    were fewer calls."""
    world = World()
    granted = world.endpoint.grant("work", lifetime=-5)
    if stored:
        world.store(work=store_entry(granted))
    else:
        world.disk.put(login_path("work"), login_file(granted))
    left = nth

    def crash(name: str) -> None:
        nonlocal left
        left -= name != "look" or bool(world.endpoint.calls)
        if left == 0:
            left = -1
            raise RuntimeError(f"crashed at {name}")

    world.disk.fault = crash  # from the start: the renewal begins with the program
    async with world.running("" if stored else login("work")):
        assert (await world.ask()).status in (200, 401)
        world.disk.fault = lambda _: None
        await trio.sleep(60)
        assert (await world.ask()).status == 200
        assert world.endpoint.reused == []
        assert (await world.account("work"))["state"] == "available"
    return left < 0


@pytest.mark.promise("K2")
@pytest.mark.parametrize("stored", [True, False])
async def test_a_crash_at_any_call_of_the_disk_during_a_renewal_loses_no_login(
    stored: bool, autojump_clock: object
) -> None:
    """K2, inside one process: the pair outlives the actor that was about to write it."""
    crashes = 0
    while await survives_a_crash(crashes + 1, stored=stored):
        crashes += 1
    assert crashes >= 4


@pytest.mark.promise("K2")
async def test_an_answer_that_is_lost_with_its_token_is_said_and_not_hidden(
    autojump_clock: object,
) -> None:
    """K2: nobody can bring such a login back; the dead token is tried once more, and no more."""
    world = World()
    world.log_in("work", lifetime=-5)
    world.endpoint.lose_answers = 1
    async with world.running(login("work") + KEY):
        for _ in range(5):
            assert (await world.ask()).header("x-supervisor-account") == "spare"
            await trio.sleep(60)
        assert (await world.account("work"))["state"] == "needs_login"
        assert len(world.endpoint.calls) == 2


async def test_a_stop_while_the_token_endpoint_answers_does_not_lose_the_login(
    autojump_clock: object,
) -> None:
    world = World()
    old = world.log_in("work", lifetime=-5)
    world.endpoint.delay = 3
    async with world.running(login("work")), trio.open_nursery() as nursery:
        nursery.start_soon(world.ask)
        await trio.sleep(1)
        assert world.endpoint.calls == [old.refresh_token]
        world.program.program.stop()
        nursery.cancel_scope.cancel()
    assert world.endpoint.is_current(world.on_disk("work")["refreshToken"])


async def test_accounts_of_the_store_come_change_and_go_within_two_seconds(
    autojump_clock: object,
) -> None:
    world = World()
    async with world.running(KEY):
        assert await world.names() == ["spare"]
        granted = world.endpoint.grant("home")
        world.store(home=store_entry(granted), tool={"kind": "api_key", "accessToken": "key-spare"})
        await trio.sleep(2)
        assert await world.names() == ["home", "tool", "spare"]
        assert (await world.ask()).header("x-supervisor-account") == "home"
        world.store(home=store_entry(granted, disabled=True))
        await trio.sleep(2)
        assert await world.names() == ["home", "spare"]
        assert (await world.account("home"))["state"] == "disabled"
        world.store()
        await trio.sleep(2)
        assert await world.names() == ["spare"]


async def test_a_stored_account_with_a_configured_name_is_ignored(autojump_clock: object) -> None:
    world = World()
    world.store(spare={"kind": "api_key", "accessToken": "key-other"})
    async with world.running(KEY):
        assert await world.names() == ["spare"]
        await world.ask()
        assert world.upstream.requests[-1].credential == "key-spare"


async def test_switching_a_stored_account_off_is_written_down(autojump_clock: object) -> None:
    world = World()
    world.store(home=store_entry(world.endpoint.grant("home")))
    async with world.running(KEY):
        assert (await world.post("/status/accounts/home/disable")).status == 200
    async with world.running(KEY):
        assert (await world.account("home"))["state"] == "disabled"
        assert (await world.post("/status/accounts/home/enable")).status == 200
        assert (await world.account("home"))["state"] == "available"


async def test_a_refresh_by_hand_works_for_logins_and_is_a_409_for_keys(
    autojump_clock: object,
) -> None:
    world = World()
    granted = world.log_in("work")
    async with world.running(login("work") + KEY):
        assert (await world.post("/status/accounts/spare/refresh")).status == 409
        assert (await world.post("/status/accounts/nobody/refresh")).status == 404
        done = await world.post("/status/accounts/work/refresh")
        assert done.status == 200
        assert world.endpoint.calls == [granted.refresh_token]
        assert granted.access_token.encode() not in done.body


async def test_a_torn_edit_of_the_store_leaves_the_accounts_that_were_read(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    world.store(home=store_entry(world.endpoint.grant("home")))
    async with world.running(""):
        world.disk.put(STORE, b'{"accounts": {"ho')
        await trio.sleep(5)
        assert (await world.ask()).header("x-supervisor-account") == "home"
        assert world.disk.files[STORE][0] == b'{"accounts": {"ho'
    assert sum("stays in force" in record.getMessage() for record in caplog.records) == 1


async def test_a_followed_login_is_left_alone_until_it_is_expired_and_unchanged(
    autojump_clock: object,
) -> None:
    """`auto`: nobody else renewed it, so we do, under the client's own lock."""
    world = World()
    granted = world.log_in("work", lifetime=1000)
    async with world.running(login("work", "auto")):
        await trio.sleep(990)
        assert (await world.ask()).status == 200
        assert world.endpoint.calls == []
        await trio.sleep(11)
        assert (await world.ask()).status == 200
        assert world.endpoint.calls == [granted.refresh_token]


async def test_a_followed_login_that_its_client_renews_is_only_read(autojump_clock: object) -> None:
    world = World()
    world.log_in("work", lifetime=100)
    async with world.running(login("work", "auto")):
        for _ in range(6):
            await trio.sleep(97)
            granted = world.log_in("work", lifetime=100)
            await trio.sleep(2)
            assert (await world.ask()).status == 200
            assert world.upstream.requests[-1].bearer == granted.access_token
        assert world.endpoint.calls == []


async def test_a_login_that_is_always_followed_is_never_renewed(autojump_clock: object) -> None:
    world = World()
    world.log_in("work", lifetime=10)
    async with world.running(login("work", "always") + KEY):
        await trio.sleep(900)
        assert (await world.ask()).header("x-supervisor-account") == "spare"
        await world.post("/status/accounts/work/refresh")
        assert world.endpoint.calls == []
        world.log_in("work")
        await trio.sleep(400)
        assert (await world.ask()).header("x-supervisor-account") == "work"
