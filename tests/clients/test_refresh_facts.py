"""The real Claude Code renews its login at a scripted token endpoint: what it does with the lock
that we share, and that neither logs the other out (`docs/claude-code-facts.md`)."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from server.scripted import Answer, ScriptedLogins, ScriptedUpstream, SeenRequest
from server.scripted.token_endpoint import TOKEN_PATH
from supervisor.client_lock import NAME, try_lock_client
from tests.clients.authority import Authority
from tests.clients.claude_code import ClaudeCode, Result
from tests.clients.sessions import only_in_a_sweep
from tests.e2e.conversation import question
from tests.kit.logins import login_file
from tests.kit.process import Supervised, listening, pointed_at, write_config
from tests.kit.rounds import SWEEPING, rounds

pytestmark = [pytest.mark.client, pytest.mark.sweep, pytest.mark.timeout(900)]

TOKEN_HOST = "platform.claude.com"
OWNER = [("content-type", "application/json"), ("x-claude-code-session-id", "one")]
LOCKED_SECONDS = 4.0
"""Longer than it takes the client to start, shorter than its patience with a lock."""

NOTICED_SECONDS = 1.5
"""The program looks at login files once a second."""

EXPIRED = "Failed to authenticate. API Error: 401 OAuth token has expired"
REFUSED = "Failed to authenticate: OAuth session expired and could not be refreshed"
SCOPES = ["user:inference", "user:profile", "user:sessions:claude_code"]


class World:
    """A token endpoint and API for logins, reached under the client's own host names; one home."""

    def __init__(self, binary: Path, directory: Path) -> None:
        self.logins = ScriptedLogins(time.time)
        self.upstream = ScriptedUpstream(default=self._answer)
        hosts = {TOKEN_HOST: self.upstream.serve_stream}
        self.authority = Authority(hosts, directory)
        self.home = directory / "home"
        self.file = self.home / ".claude" / ".credentials.json"
        self.locks: list[tuple[bool, ...]] = []
        self.url = ""
        self._binary = binary

    def _answer(self, seen: SeenRequest) -> Answer:
        if seen.path == TOKEN_PATH and not _is_ours(seen.header("user-agent")):
            self.locks.append(tuple(path.exists() for path in self.lock_files))
        return self.logins.serve(seen)

    @property
    def lock_files(self) -> tuple[Path, ...]:
        """The directory, the record of its owner, and the older directory."""
        claude = self.home / ".claude"
        return claude / NAME, claude / f"{NAME}.owner", self.home / ".claude.lock"

    async def start(self, nursery: trio.Nursery) -> None:
        self.url = await nursery.start(self.upstream.serve_tcp)
        await nursery.start(self.authority.run)

    def log_in(self, *, lifetime: float, changed: float = 600) -> None:
        """A new login in the file, that has so long to live and was changed so long ago."""
        granted = self.logins.grant("work", lifetime=lifetime)
        self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.file.write_bytes(login_file(granted, scopes=SCOPES))
        self.file.chmod(0o600)
        old = time.time() - changed
        os.utime(self.file, (old, old))

    def tokens(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.file.read_bytes())["claudeAiOauth"]
        return found

    async def client(self, prompt: str = "hello") -> Result:
        client = ClaudeCode(
            self._binary,
            self.url,
            self.home,
            api_key=None,
            extra_env=self.authority.environment,
        )
        return await client.run_print(prompt, timeout=120)

    def ours(self) -> int:
        """Refreshes by this program."""
        return sum(map(_is_ours, self.logins.agents))


def _is_ours(agent: str | None) -> bool:
    return (agent or "").startswith("llm-supervisor/")


@pytest.fixture
async def world(claude_code_binary: Path, tmp_path: Path, nursery: trio.Nursery) -> World:
    world = World(claude_code_binary, tmp_path)
    await world.start(nursery)
    return world


async def test_the_client_renews_an_expired_login_under_its_lock(world: World) -> None:
    world.log_in(lifetime=-100)
    result = await world.client()
    assert (result.returncode, result.text) == (0, "Hello from the scripted upstream.")
    assert world.logins.calls == ["sk-ant-ort01-work-1"]
    assert world.locks == [(True, True, True)], "directory, its owner's record, older directory"
    assert not any(path.exists() for path in world.lock_files), "given back"
    tokens = world.tokens()
    assert tokens["refreshToken"] == "sk-ant-ort01-work-2"
    assert world.upstream.requests[-1].bearer == tokens["accessToken"]
    assert json.loads(world.file.read_bytes())["mcpOAuth"] == {"kept": 1}
    assert world.file.stat().st_mode & 0o777 == 0o600


@only_in_a_sweep
async def test_the_client_waits_for_our_lock_and_takes_the_tokens_that_we_wrote(
    world: World,
) -> None:
    world.log_in(lifetime=-100)
    lock = try_lock_client(world.file.parent)
    assert lock is not None
    results: list[Result] = []

    async def client() -> None:
        results.append(await world.client())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(client)
        await trio.sleep(LOCKED_SECONDS)
        assert world.upstream.requests == [], "it waits, and asks nobody anything"
        world.log_in(lifetime=3600, changed=0)
        lock.release()
    assert results[0].returncode == 0
    assert world.logins.calls == []
    assert world.upstream.requests[-1].bearer == world.tokens()["accessToken"]


@only_in_a_sweep
async def test_a_lock_that_is_held_for_too_long_does_not_make_the_client_use_the_login(
    world: World,
) -> None:
    world.log_in(lifetime=-100)
    before = world.file.read_bytes()
    lock = try_lock_client(world.file.parent)
    assert lock is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lock.keep_alive)
        result = await world.client()
        nursery.cancel_scope.cancel()
    lock.release()
    assert (result.returncode, result.text) == (1, EXPIRED)
    assert world.logins.calls == [], "not without the lock"
    assert [seen.bearer for seen in world.upstream.requests] == ["sk-ant-oat01-work-1"] * 2
    assert world.file.read_bytes() == before


async def test_the_client_blanks_a_login_whose_refresh_token_is_refused(world: World) -> None:
    """So whoever uses a refresh token up without telling it logs it out."""
    world.log_in(lifetime=-100)
    world.logins.revoke_family("work")
    result = await world.client()
    assert (result.returncode, result.text) == (1, REFUSED)
    tokens = world.tokens()
    assert (tokens["accessToken"], tokens["refreshToken"], tokens["expiresAt"]) == ("", "", 0)


@pytest.mark.promise("K1")
async def test_the_client_and_this_program_renew_one_login_without_logging_each_other_out(
    world: World, tmp_path: Path
) -> None:
    """Two clients and a process with `follow = "auto"` meet the same expired login."""
    config = tmp_path / "config.toml"
    account = f'[[account]]\nname = "work"\ncredentials = "{world.file}"\nfollow = "auto"\n'
    oauth = f'[oauth]\ntoken_url = "{world.url}{TOKEN_PATH}"\n'
    write_config(config, pointed_at(world.url, account + oauth))
    world.log_in(lifetime=3600)
    world.logins.delay = 0.3
    ours = 0
    many = rounds(quick=1, full=40)
    async with listening(config, "--no-client", state=tmp_path / "state") as process:
        for number in range(many):
            calls, before = len(world.logins.calls), world.ours()
            await _meet(world, process, random.Random(number))
            assert len(world.logins.calls) == calls + 1, "one renewal for all of them"
            ours += world.ours() - before
        assert world.logins.reused == []
        view = (await process.status())["accounts"][0]
        assert view["state"] == "available"
    told = f"{many} expiries: {ours} renewed by this program, {many - ours} by the client"
    print(told)  # noqa: T201 - the figure
    if SWEEPING:
        assert 0 < ours < many, "the race was never won by one of the two: this shows little"


async def _meet(world: World, process: Supervised, rng: random.Random) -> None:
    """Everybody finds the login expired at about the same moment, and everybody is served."""
    world.log_in(lifetime=-1)
    await trio.sleep(NOTICED_SECONDS)

    async def client() -> None:
        assert (await world.client()).returncode == 0

    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(client)
        await trio.sleep(rng.uniform(0.2, 1.6))
        for _ in range(3):
            answer = await process.ask("POST", "/v1/messages", OWNER, question(stream=False))
            assert answer.status == 200, answer
    await trio.sleep(NOTICED_SECONDS)
    answer = await process.ask("POST", "/v1/messages", OWNER, question(stream=False))
    assert answer.status == 200
    assert world.upstream.requests[-1].bearer == world.tokens()["accessToken"]
