"""No credential is ever written or said, whatever goes wrong; only the upstream sees it."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import trio

from server.scripted import (
    Answerer,
    error,
    rate_limited,
    reply_to,
    reset_before_head,
    text_stream,
    unauthorized,
)
from tests.e2e.conftest import Upstream
from tests.e2e.conversation import Stream, ask
from tests.kit.process import JSON, Supervised, listening, pointed_at, started, write_config
from tests.kit.spoilt import spoilt
from tests.kit.wire import Answered, Headers, Wire

CANARY = "canary7Qx3vN9"
"""Part of every credential below, and of nothing else; it has no shape that gives it away."""

KEY = f"plain-{CANARY}-key-of-account-one"
TOKEN = f"sk-ant-oat01-{CANARY}-token-of-account-two"
ACCESS = f"access-{CANARY}-token-of-the-door"
OF_CLIENT = f"sk-ant-api03-{CANARY}-key-of-a-client"
OF_ENVIRONMENT = f"environment-{CANARY}-key"

CRASHING = """
from actors.account import AccountActor
from actors.messages import SetEnabled
import logging

step = AccountActor._step
seen = []

def crash(self, state, message):
    if isinstance(message, SetEnabled) and message not in seen:
        seen.append(message)
        secret = self._spec.credential.secret.reveal()
        logging.getLogger("supervisor").debug("about to crash with %s", secret)
        raise RuntimeError(f"no good: {secret} in {self._spec.credential!r}")
    return step(self, state, message)

AccountActor._step = crash
"""
"""A worker, but an account that is switched on or off for the first time crashes, and says its
credential while it does."""


class Heard:
    """All that was answered, to be searched in the end."""

    def __init__(self, process: Supervised) -> None:
        self.process = process
        self.answers: list[str] = []

    async def ask(
        self, method: str, target: str, headers: Headers | None = None, body: bytes | None = None
    ) -> Answered:
        answered = await self.process.ask(method, target, headers, body)
        self._keep(answered)
        return answered

    async def message(self, headers: Headers) -> Answered:
        answered = await ask(self.process, headers)
        self._keep(answered)
        return answered

    def _keep(self, answered: Answered) -> None:
        if answered.header("x-supervisor-account") and ECHO.encode() in answered.body:
            return  # an upstream's error is the client's unmodified, whatever is in it
        self.answers.append(f"{answered.headers}\n{answered.body.decode('utf-8', 'replace')}")


def written(directory: Path) -> str:
    """Everything in the files of that directory, their names included."""
    return "\n".join(
        f"{path}\n{path.read_bytes().decode('utf-8', 'replace')}"
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    )


def assert_kept_secret(process: Supervised, state: Path, answers: list[str]) -> None:
    for what, text in (
        ("standard output", process.stdout),
        ("standard error", process.stderr),
        ("state directory", written(state)),
        ("HTTP answers", "\n".join(answers)),
    ):
        assert CANARY not in text, f"{what}: {text[text.index(CANARY) - 300 :][:600]}"


ECHO = "so this is what you sent:"


def echoing(status: int) -> Answerer:
    """An upstream that repeats in its error what it was sent."""
    return lambda seen: error(status, message=f"{ECHO} {seen.credential}")


@pytest.mark.promise("X5")
@pytest.mark.plants_canaries
async def test_the_credentials_of_a_pool_are_seen_by_the_upstream_alone(
    upstream: Upstream, config: Path, state: Path
) -> None:
    given = (
        f'[access]\ntoken = "{ACCESS}"\nsubscription_use = "any"\n'
        '[logs]\nlevel = "debug"\nbodies = true\n[cooldown]\nbase = 0.01\nauth = 0.01\n'
        f'[[account]]\nname = "one"\napi_key = "{KEY}"\n'
        f'[[account]]\nname = "two"\ntoken = "{TOKEN}"\n'
    )
    write_config(config, pointed_at(upstream.url, given, drain=1))
    door = [("authorization", f"Bearer {ACCESS}")]
    async with listening(config, state=state, command=spoilt(CRASHING)) as process:
        heard = Heard(process)
        for answers in (
            [reply_to],
            [unauthorized(), reply_to],
            [echoing(401), reply_to],
            [rate_limited(retry_after=0.01), reply_to],
            [echoing(500), reply_to],
            [reset_before_head(), reply_to],
        ):
            upstream.default(*answers)
            for pinned in ("one", "two"):
                await trio.sleep(0.03)  # longer than any cooldown here
                await heard.message([*door, ("x-account-name", pinned)])
            await heard.message(door)
        upstream.default(text_stream("well").interrupted(4))
        async with await Stream.begun(process.url, door) as stream:
            await stream.wire.ended()
        for credential in ("wrong", OF_CLIENT, ""):
            refused = await heard.message([("x-api-key", credential)])
            assert refused.status == 401
        async with await Wire.to(process.url) as wire:
            await wire.stream.send_all(f"GET /{ACCESS} HTTP/9\r\n{KEY}\r\n\r\n".encode())
            heard.answers.append(repr(await wire.ended()))
        for action in ("disable", "enable", "reset", "refresh"):
            await heard.ask("POST", f"/status/accounts/one/{action}", [*door, *JSON], b"")
        for target in ("/status", "/status/requests", "/status/actors", "/health", "/v1/models"):
            await heard.ask("GET", target, door)
        write_config(config, config.read_text() + f'\napi_kye = "{KEY}"\nweight = "{TOKEN}"\n')
        reloaded = await heard.ask("POST", "/status/reload", [*door, *JSON], b"")
        assert reloaded.status == 422
        await heard.ask("GET", "/status", door)

        await process.says("actor account/one crashed")
        await process.says("about to crash with")
        process.signal(signal.SIGTERM)
        assert await process.ends() == 0
        assert_kept_secret(process, state, heard.answers)
        # The search would find it, and what was searched is what happened.
        assert "requests-" in written(state)
        assert len(heard.answers) > 25
        (state / "left-behind").write_text(f"a copy of {KEY}")
        assert CANARY in written(state)
        assert {seen.credential for seen in upstream.requests} == {KEY, TOKEN}


@pytest.mark.promise("X5")
async def test_the_commands_that_show_a_configuration_hide_its_credentials(
    upstream: Upstream, config: Path, state: Path
) -> None:
    given = (
        f'[access]\ntoken = "{ACCESS}"\n'
        f'[[account]]\nname = "one"\napi_key = "{KEY}"\n'
        '[[account]]\nname = "two"\ntoken = "${TOKEN_OF_TWO}"\n'
    )
    write_config(config, pointed_at(upstream.url, given))
    environment = {"TOKEN_OF_TWO": TOKEN, "SUPERVISOR_ACCESS_TOKEN": ACCESS}
    async with listening(config, state=state, environment=environment) as running:
        codes: dict[str, int] = {}

        async def command(*words: str) -> None:
            whole = ("-m", "supervisor", *words)
            async with started(command=whole, state=state, environment=environment) as process:
                codes[" ".join(words[:2])] = await process.ends()
                assert process.stdout or process.stderr
                assert_kept_secret(process, state, [])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(command, "check", str(config))
            nursery.start_soon(command, "status")
            nursery.start_soon(command, "status", "--json")
            nursery.start_soon(command, "reload")
        assert set(codes.values()) == {0}, codes
        write_config(config, given.replace("[[account]]", "[[acount]]"))
        await command("check", str(config))
        assert codes.pop(f"check {config}") == 78
        assert_kept_secret(running, state, [])


@pytest.mark.promise("X5")
async def test_a_clients_own_credential_and_the_environments_are_not_kept_either(
    upstream: Upstream, config: Path, tmp_path: Path
) -> None:
    write_config(config, pointed_at(upstream.url, '[logs]\nlevel = "debug"\n', drain=1))
    passing, env = tmp_path / "passing", tmp_path / "env"
    of_environment = {"ANTHROPIC_API_KEY": OF_ENVIRONMENT}
    async with (
        listening(config, state=passing) as process,
        listening(config, state=env, environment=of_environment) as other,
    ):
        heard, heard_of_other = Heard(process), Heard(other)
        for answers in (
            [reply_to],
            [unauthorized()],
            [rate_limited(retry_after=1)],
            [echoing(500)],
        ):
            upstream.default(*answers)
            await heard.message([("x-api-key", OF_CLIENT)])
            await heard.message([("authorization", f"Bearer {OF_CLIENT}")])
            await heard_of_other.message([])
        for one in (heard, heard_of_other):
            for target in ("/status", "/status/requests", "/status/accounts"):
                await one.ask("GET", target)
        accounts = json.loads(heard.answers[-1].partition("\n")[2])["accounts"]
        assert [account["kind"] for account in accounts] == ["client"] * len(accounts) != []
        for supervised in (process, other):
            supervised.signal(signal.SIGTERM)
            assert await supervised.ends() == 0
        assert_kept_secret(process, passing, heard.answers)
        assert_kept_secret(other, env, heard_of_other.answers)
        assert {OF_CLIENT, OF_ENVIRONMENT} == {seen.credential for seen in upstream.requests}
