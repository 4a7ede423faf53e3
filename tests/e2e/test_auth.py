"""The `auth` commands beside a running program, and without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trio

from server.scripted import Answer, ScriptedLogins
from tests.e2e.conftest import Upstream
from tests.e2e.conversation import Stream, ask, held_stream
from tests.kit.live import accounts
from tests.kit.logins import login_file
from tests.kit.process import listening, pointed_at, started, write_config

FOLLOWS_SECONDS = 10.0
"""Longest wait; it should take two seconds, and a busy machine more."""


async def auth(
    state: Path, config: Path, *arguments: str, stdin: str = ""
) -> subprocess.CompletedProcess[bytes]:
    environment = {
        **os.environ,
        "SUPERVISOR_STATE_DIR": str(state),
        "SUPERVISOR_CONFIG": str(config),
    }
    return await trio.run_process(
        [sys.executable, "-m", "supervisor", "auth", *arguments],
        env=environment,
        stdin=stdin.encode(),
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )


async def test_accounts_come_and_go_while_it_runs_and_no_stream_is_dropped(
    upstream: Upstream, config: Path, state: Path
) -> None:
    upstream.default(held_stream())
    write_config(config, pointed_at(upstream.url, accounts("a")))
    async with (
        listening(config, state=state) as process,
        await Stream.begun(process.url) as stream,
    ):

        async def until(names: list[str]) -> None:
            with trio.fail_after(FOLLOWS_SECONDS):
                while True:
                    status = await process.status()
                    serving = [a["name"] for a in status["accounts"] if a["state"] == "available"]
                    if serving == names:
                        return
                    await trio.sleep(0.05)

        done = await auth(state, config, "add", "b", "--api-key", stdin="key-b")
        assert done.returncode == 0, done.stderr
        assert b"the running instance follows within two seconds" in done.stdout
        await until(["a", "b"])
        assert (await auth(state, config, "disable", "b")).returncode == 0
        await until(["a"])
        assert (await auth(state, config, "enable", "b")).returncode == 0
        await until(["a", "b"])
        async with await Stream.begun(process.url, [("x-account-name", "b")]) as added:
            assert added.account == "b"
            done = await auth(state, config, "remove", "b", "--yes")
            assert done.returncode == 0, done.stderr
            await until(["a"])
            gone = await ask(process, [("x-account-name", "b")])
            assert gone.status == 404
            upstream.gate("end").open()
            assert await added.ended_well()
        assert await stream.ended_well()


async def test_a_login_is_imported_and_renewed_with_and_without_the_program(
    upstream: Upstream, config: Path, state: Path, home: Path
) -> None:
    logins = ScriptedLogins(now=time.time)
    upstream.default(logins.serve)
    file = home / ".claude" / ".credentials.json"
    file.parent.mkdir()
    file.write_bytes(login_file(logins.grant("work")))
    file.chmod(0o600)
    more = f'[oauth]\ntoken_url = "{upstream.url}/v1/oauth/token"\n[access]\nsubscription_use = "any"\n'
    write_config(config, pointed_at(upstream.url, more))

    def token() -> str:
        found: str = json.loads(file.read_bytes())["claudeAiOauth"]["accessToken"]
        return found

    assert (await auth(state, config, "import")).returncode == 0
    first = token()
    done = await auth(state, config, "refresh", "claude")
    assert done.returncode == 0, done.stderr
    second = token()
    assert second != first
    async with listening(config, state=state) as process:
        # However short ago the last time was: whoever asks is served, as without the program.
        done = await auth(state, config, "refresh", "claude")
        assert done.returncode == 0, done.stderr
        assert token() not in (first, second)
        answered = await ask(process)
        assert answered.status == 200, answered
        assert answered.header("x-supervisor-account") == "claude"
    assert logins.reused == []
    file.unlink()
    done = await auth(state, config, "refresh", "claude")
    assert done.returncode == 1
    assert first.encode() not in done.stdout + done.stderr


async def test_the_code_flow_ends_with_a_login_that_serves(
    upstream: Upstream, config: Path, state: Path
) -> None:
    logins = ScriptedLogins(now=time.time)
    asked: list[dict[str, Any]] = []

    def serve(seen: Any) -> Answer:
        if seen.path != "/token":
            return logins.serve(seen)
        asked.append(seen.json())
        granted = logins.grant("pkce")
        tokens = {
            "access_token": granted.access_token,
            "refresh_token": granted.refresh_token,
            "expires_in": 3600,
            "account": {"email_address": "me@example.org"},
        }
        head = (("content-type", "application/json"),)
        return Answer(headers=head, body=json.dumps(tokens).encode())

    upstream.default(serve)
    oauth = (
        f'[oauth]\nclient_id = "c-1"\nauthorize_url = "{upstream.url}/authorize"\n'
        f'token_url = "{upstream.url}/token"\n[access]\nsubscription_use = "any"\n'
    )
    write_config(config, pointed_at(upstream.url, oauth))
    async with started(
        "login",
        "me",
        "--pkce",
        state=state,
        environment={"SUPERVISOR_CONFIG": str(config)},
        command=("-m", "supervisor", "auth"),
    ) as login:
        await login.says(r"^http://\S+/authorize\?\S+$")
        address = next(line for line in login.stdout.splitlines() if line.startswith("http"))
        query = {key: value[0] for key, value in parse_qs(urlsplit(address).query).items()}
        back = f"{query['redirect_uri']}?code=code-1&state={query['state']}"
        back = back.replace("localhost", "127.0.0.1")
        await trio.to_thread.run_sync(lambda: urllib.request.urlopen(back, timeout=10).close())  # noqa: S310 - loopback
        assert await login.ends() == 0, login.stderr
    assert asked[0]["code"] == "code-1"
    assert asked[0]["client_id"] == "c-1"
    assert asked[0]["code_verifier"]
    listed = json.loads((await auth(state, config, "list", "--json")).stdout)
    assert [(one["name"], one["kind"], one["email"]) for one in listed] == [
        ("me", "oauth", "me@example.org")
    ]
    async with listening(config, state=state) as process:
        answered = await ask(process)
        assert (answered.status, answered.header("x-supervisor-account")) == (200, "me")
