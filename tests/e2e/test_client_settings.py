"""Claude Code's settings and the real process: pointed, put back, killed, started again."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest
import trio

from tests.e2e.conftest import Upstream
from tests.e2e.conversation import ask
from tests.kit.live import accounts
from tests.kit.process import listening, pointed_at, write_config

pytestmark = pytest.mark.slow

ORIGINAL = b'{\n  "model": "opus"\n}'
QUICK = "[client]\nrelease_after = 0.2\n"


@pytest.fixture
def settings(home: Path) -> Path:
    (home / ".claude").mkdir()
    file = home / ".claude" / "settings.json"
    file.write_bytes(ORIGINAL)
    return file


def base_url(settings: Path) -> str | None:
    found: str | None = json.loads(settings.read_bytes()).get("env", {}).get("ANTHROPIC_BASE_URL")
    return found


async def test_the_client_is_pointed_when_it_listens_and_put_back_by_the_stop(
    upstream: Upstream, config: Path, state: Path, settings: Path
) -> None:
    write_config(config, pointed_at(upstream.url, QUICK))
    async with listening(config, state=state) as process:
        assert base_url(settings) == process.url
        await process.says("undone when this stops; by hand: supervisor client restore")
        status = await process.status()
        assert (status["client"]["state"], status["client"]["file"]) == ("pointed", str(settings))
        asked = process.signal(signal.SIGTERM)
        while base_url(settings) == process.url:  # noqa: ASYNC110 - a file tells nobody
            await trio.sleep(0.002)
        assert base_url(settings) == upstream.url
        assert trio.current_time() - asked < 5  # far below what the drain may take
        assert await process.ends() == 0
    assert settings.read_bytes() == ORIGINAL
    assert not (state / "client.json").exists()


async def test_a_key_of_ours_serves_a_client_without_a_login_and_goes_nowhere_else(
    upstream: Upstream, config: Path, state: Path, settings: Path
) -> None:
    write_config(config, pointed_at(upstream.url, QUICK + accounts("work")))
    async with listening(config, state=state) as process:
        token = json.loads(settings.read_bytes())["env"]["ANTHROPIC_AUTH_TOKEN"]
        bearer = [("authorization", f"Bearer {token}")]
        assert (await ask(process, bearer)).status == 200
        write_config(config, pointed_at(upstream.url, QUICK))
        assert (await process.reload()).status == 200
        refused = await ask(process, bearer)
        assert (refused.status, len(upstream.requests)) == (401, 1)
        process.signal(signal.SIGTERM)
        await process.ends()
    assert all(token not in repr(seen.headers) for seen in upstream.requests)
    assert settings.read_bytes() == ORIGINAL


async def test_no_client_leaves_everything_alone(
    upstream: Upstream, config: Path, state: Path, settings: Path
) -> None:
    write_config(config, pointed_at(upstream.url))
    async with listening(config, "--no-client", state=state) as process:
        assert settings.read_bytes() == ORIGINAL
        assert (await process.status())["client"]["state"] == "off"
        process.signal(signal.SIGTERM)
        await process.ends()
    assert settings.read_bytes() == ORIGINAL
    assert not (state / "client.lock").exists()


@pytest.mark.promise("S4")
@pytest.mark.parametrize("how", ["repair", "start"])
async def test_what_a_kill_left_is_undone(
    how: str, upstream: Upstream, config: Path, state: Path, settings: Path
) -> None:
    write_config(config, pointed_at(upstream.url, QUICK))
    async with listening(config, state=state) as process:
        process.kill_all()
        await process.ends()
        dead = process.url
    assert base_url(settings) == dead
    if how == "repair":
        command = [sys.executable, "-m", "supervisor", "repair", "--if-dead"]
        await trio.run_process(command, env={"SUPERVISOR_STATE_DIR": str(state)})
    else:
        async with listening(config, state=state) as process:
            assert base_url(settings) == process.url != dead
            process.signal(signal.SIGTERM)
            await process.ends()
    assert settings.read_bytes() == ORIGINAL


async def test_where_the_client_pointed_becomes_the_upstream(
    upstream: Upstream, config: Path, state: Path, settings: Path
) -> None:
    before = json.dumps({"env": {"ANTHROPIC_BASE_URL": upstream.url}}).encode()
    settings.write_bytes(before)
    write_config(config, "[server]\nport = 0\n")
    async with listening(config, state=state) as process:
        assert base_url(settings) == process.url
        own = [("x-api-key", "the-clients-own")]
        asked = len(upstream.requests)  # it was looked at, whether it is a supervisor
        assert (await ask(process, own)).status == 200
        assert (await process.reload()).status == 200
        assert (await ask(process, own)).status == 200
        assert len(upstream.requests) == asked + 2
        process.signal(signal.SIGTERM)
        await process.ends()
    assert settings.read_bytes() == before
