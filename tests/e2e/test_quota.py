"""What is known about quota outlives the process."""

from __future__ import annotations

import datetime
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from server.scripted import Window, rate_limited, text_message
from tests.e2e.conftest import Upstream
from tests.e2e.conversation import ask
from tests.kit.live import accounts
from tests.kit.process import Supervised, listening, pointed_at, write_config


async def account(process: Supervised, name: str) -> dict[str, Any]:
    """One entry of the status."""
    found = (await process.status())["accounts"]
    return next(entry for entry in found if entry["name"] == name)


async def test_after_a_restart_a_limited_account_is_still_left_in_peace(
    upstream: Upstream, config: Path, state: Path
) -> None:
    """Its windows are shown as restored; another credential in its place starts anew."""
    window = Window(utilization=1.0, resets_at=int(time.time()) + 9000, status="rejected")
    upstream.script("key-a", rate_limited(retry_after=900, windows={"5h": window}))
    upstream.script("key-b", then=text_message("from b"))
    upstream.script("key-new", then=text_message("from the new one"))
    write_config(config, pointed_at(upstream.url, accounts("a", "b")))
    async with listening(config, state=state) as process:
        assert (await ask(process)).header("x-supervisor-account") == "b"
        before = await account(process, "a")
        process.signal(signal.SIGTERM)
        assert await process.ends() == 0

    file = state / "quota.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert "key-" not in file.read_text()

    async with listening(config, state=state) as process:
        after = await account(process, "a")
        assert after["state"] == "cooling"
        assert after["quota"] == {"5h": {**before["quota"]["5h"], "source": "restored"}}
        assert after["representative_claim"] == "five_hour"
        assert ends_of(after) == pytest.approx(ends_of(before), abs=2)
        assert (await ask(process)).header("x-supervisor-account") == "b"
        assert [seen.credential for seen in upstream.requests].count("key-a") == 1
        process.signal(signal.SIGTERM)
        assert await process.ends() == 0

    renewed = f'[[account]]\nname = "a"\napi_key = "key-new"\n{accounts("b")}'
    write_config(config, pointed_at(upstream.url, renewed))
    async with listening(config, state=state) as process:
        assert (await account(process, "a"))["state"] == "available"
        assert (await ask(process)).header("x-supervisor-account") == "a"


def ends_of(entry: dict[str, Any]) -> list[float]:
    """When the benches end, in epoch seconds."""
    return [
        datetime.datetime.fromisoformat(cooldown["until"]).timestamp()
        for cooldown in entry["cooldowns"]
    ]
