"""A person asks a real instance: who served a request, why, and what did it cost?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import trio

from server.scripted import rate_limited, text_message
from tests.e2e.conftest import Upstream
from tests.e2e.conversation import ask
from tests.kit.live import accounts
from tests.kit.process import listening, pointed_at, write_config

MODEL = "claude-opus-5-5"


async def said(state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What the command line prints, from another process."""

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "supervisor", *arguments],
            env={**os.environ, "SUPERVISOR_STATE_DIR": str(state)},
            capture_output=True,
            text=True,
            timeout=45,
            check=False,
        )

    return await trio.to_thread.run_sync(run)


async def written(state: Path) -> list[dict[str, Any]]:
    """The lines of the request log, as soon as there is one."""
    with trio.fail_after(30):
        while not (files := list((state / "logs").glob("requests-*.jsonl"))):  # noqa: ASYNC110
            await trio.sleep(0.05)  # the log tells nobody that it has begun
    return [json.loads(line) for line in files[0].read_text().splitlines()]


async def test_for_a_request_in_the_log_two_commands_say_who_served_it_why_and_what_it_cost(
    upstream: Upstream, config: Path, state: Path
) -> None:
    upstream.script("key-a", rate_limited(retry_after=900))
    upstream.script(
        "key-b",
        then=text_message("b", model=MODEL, input_tokens=1000, output_tokens=500),
    )
    write_config(config, pointed_at(upstream.url, accounts("a", "b")))
    async with listening(config, state=state) as process:
        answered = await ask(process)
        assert answered.status == 200
        name = answered.header("x-supervisor-request-id")
        assert name is not None
        (line,) = await written(state)
        assert line["cost_usd"] > 0

        listed = await said(state, "logs")
        assert listed.returncode == 0
        assert listed.stdout.rstrip().endswith(name)
        explained = await said(state, "explain", name)
        assert explained.returncode == 0
        for text in (
            "served by account b",
            "chose a: fill-first",
            "a failed after",
            "status 429",
            "on to the next account",
            "passed over a: had been tried",
            "cost $",
            "Where the time went",
        ):
            assert text in explained.stdout, explained.stdout
        process.signal(signal.SIGTERM)
        assert await process.ends() == 0

    afterwards = await said(state, "explain", name)
    assert afterwards.returncode == 0
    assert "served by account b" in afterwards.stdout
    assert "only in memory" in afterwards.stdout
    summed = json.loads((await said(state, "usage", "--json")).stdout)
    assert summed["total"]["requests"] == 1
    assert summed["total"]["cost_usd"] == line["cost_usd"]
