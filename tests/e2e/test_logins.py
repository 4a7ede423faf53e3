"""Logins as a user has them: files on a disk, a process, and a token endpoint of its own."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from protocol import token_file
from protocol.login import Login
from protocol.secrets import Secret
from server.scripted import ScriptedLogins, ScriptedUpstream
from supervisor.token_store import TokenStore
from tests.e2e.conversation import question
from tests.kit.logins import login_file
from tests.kit.process import Supervised, listening, pointed_at, started, write_config
from tests.kit.wire import Answered

OWNER = [("content-type", "application/json"), ("x-claude-code-session-id", "one")]


class Served:
    """A scripted upstream with logins, and its address."""

    def __init__(self) -> None:
        self.logins = ScriptedLogins(time.time)
        self.upstream = ScriptedUpstream(default=self.logins.serve)
        self.url = ""

    def configuration(self, more: str) -> str:
        return pointed_at(self.url, f'{more}[oauth]\ntoken_url = "{self.url}/v1/oauth/token"\n')


async def serving(nursery: trio.Nursery) -> Served:
    served = Served()
    served.url = await nursery.start(served.upstream.serve_tcp)
    return served


async def ask(process: Supervised) -> Answered:
    return await process.ask("POST", "/v1/messages", OWNER, question(stream=False))


async def account(process: Supervised, name: str) -> dict[str, Any]:
    found = (await process.status())["accounts"]
    return next(entry for entry in found if entry["name"] == name)


def private(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_bytes(data)
    path.chmod(0o600)
    return path


async def test_an_expired_login_file_is_renewed_written_back_and_serves(
    nursery: trio.Nursery, config: Path, state: Path, tmp_path: Path
) -> None:
    """The file belongs to Claude Code: everything else in it stays, and its lock is given back."""
    served = await serving(nursery)
    granted = served.logins.grant("work", lifetime=-100)
    path = private(tmp_path / "home" / ".claude" / ".credentials.json", login_file(granted))
    old = time.time() - 500
    os.utime(path, (old, old))
    (tmp_path / "home" / ".claude.json").write_text(
        '{"oauthAccount": {"emailAddress": "me@x.example"}}'
    )
    write_config(
        config, served.configuration(f'[[account]]\nname = "work"\ncredentials = "{path}"\n')
    )
    async with listening(config, state=state) as process:
        answer = await ask(process)
        assert (answer.status, answer.header("x-supervisor-account")) == (200, "work")
        written = json.loads(path.read_bytes())
        assert written["claudeAiOauth"]["refreshToken"] != granted.refresh_token
        assert written["claudeAiOauth"]["subscriptionType"] == "max"
        assert written["mcpOAuth"] == {"kept": 1}
        assert path.stat().st_mode & 0o777 == 0o600
        assert sorted(entry.name for entry in path.parent.iterdir()) == [".credentials.json"]
        view = await account(process, "work")
        assert (view["state"], view["kind"], view["email"]) == (
            "available",
            "oauth",
            "me@x.example",
        )
        process.signal(signal.SIGTERM)
        assert await process.ends() == 0
        said = process.stdout + process.stderr
        assert "sk-ant-o" not in said
    for file in (entry for entry in state.rglob("*") if entry.is_file()):
        assert b"sk-ant-o" not in file.read_bytes()
    nursery.cancel_scope.cancel()


async def test_accounts_of_the_token_store_come_and_go_while_the_program_runs(
    nursery: trio.Nursery, config: Path, state: Path
) -> None:
    """Added and removed by another process, within two seconds."""
    served = await serving(nursery)
    write_config(config, served.configuration('[access]\nsubscription_use = "any"\n'))
    store = TokenStore(state)

    def add(name: str) -> None:
        granted = served.logins.grant(name)
        login = Login(
            Secret(granted.access_token), Secret(granted.refresh_token), granted.expires_at
        )
        stored = token_file.StoredAccount(name, "oauth", login)
        store.change(lambda file: token_file.put(file, stored))

    async def shown(*wanted: str) -> None:
        with trio.fail_after(10):
            while [entry["name"] for entry in (await process.status())["accounts"]] != [*wanted]:  # noqa: ASYNC110 - nobody tells
                await trio.sleep(0.1)

    add("home")
    async with listening(config, state=state) as process:
        await process.says(r"mode: pool of 1: home \(login\)")
        assert (await ask(process)).header("x-supervisor-account") == "home"
        add("work")
        await shown("home", "work")
        store.change(lambda file: token_file.removed(file, "home"))
        await shown("work")
        assert (await ask(process)).header("x-supervisor-account") == "work"
        process.signal(signal.SIGTERM)
        assert await process.ends() == 0
    nursery.cancel_scope.cancel()


async def test_check_says_that_a_stored_account_is_hidden_by_a_configured_one(
    config: Path, state: Path
) -> None:
    stored = token_file.StoredAccount("work", "token", Login(Secret("sk-ant-oat01-aaaaaaaa")))
    TokenStore(state).change(lambda file: token_file.put(file, stored))
    write_config(config, '[[account]]\nname = "work"\napi_key = "key-work"\n')
    async with started(config, state=state, command=("-m", "supervisor", "check")) as process:
        assert await process.ends() == 0
        assert "the stored account 'work' is ignored" in process.stderr


@pytest.mark.promise("K4")
async def test_a_login_file_that_others_can_read_is_refused_with_what_to_do(
    nursery: trio.Nursery, config: Path, state: Path, tmp_path: Path
) -> None:
    served = await serving(nursery)
    path = private(tmp_path / ".credentials.json", login_file(served.logins.grant("work")))
    path.chmod(0o644)
    write_config(
        config, served.configuration(f'[[account]]\nname = "work"\ncredentials = "{path}"\n')
    )
    async with listening(config, state=state) as process:
        await process.says(r"is not used: other users.*chmod 600")
        assert (await account(process, "work"))["state"] == "needs_login"
        assert (await ask(process)).status == 503
        path.chmod(0o600)
        with trio.fail_after(10):
            while (await ask(process)).status != 200:  # noqa: ASYNC110 - nobody tells
                await trio.sleep(0.1)
        process.signal(signal.SIGTERM)
        assert await process.ends() == 0
    nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_a_stop_waits_for_new_tokens_that_are_on_their_way(
    nursery: trio.Nursery, config: Path, state: Path, tmp_path: Path
) -> None:
    """Longer than it waits for any actor: the old refresh token is used up, and nobody but this
    process ever hears of the new one."""
    served = await serving(nursery)
    served.logins.delay = 10.0
    path = private(tmp_path / "home.json", login_file(served.logins.grant("work", lifetime=-100)))
    old = time.time() - 500  # else it is left to Claude Code
    os.utime(path, (old, old))
    write_config(
        config, served.configuration(f'[[account]]\nname = "work"\ncredentials = "{path}"\n')
    )
    async with listening(config, state=state) as process:
        with trio.fail_after(20):
            while not served.logins.calls:  # noqa: ASYNC110 - of another process
                await trio.sleep(0.05)
        process.signal(signal.SIGTERM)
        assert await process.ends() == 0
        assert "crashed" not in process.stderr
    written = json.loads(path.read_bytes())["claudeAiOauth"]
    assert served.logins.is_current(written["refreshToken"])
