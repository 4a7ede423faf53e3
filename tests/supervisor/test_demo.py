"""The demonstration shows a failover, serves, and ends when it is asked to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from server.scripted import SeenRequest
from supervisor.demo import DRY_SECONDS, REQUESTS_BEFORE_DRY, SHOWN_REQUESTS, RunningDry

ROOT = Path(__file__).resolve().parents[2]


async def test_the_first_account_serves_runs_dry_and_comes_back() -> None:
    """Measured by the clock that it is given."""
    now = 0.0
    account = RunningDry(lambda: now)
    seen = SeenRequest(1, 0, 1, b"HEAD", b"/", (), 0.0)

    def status() -> int:
        return account(seen).status

    assert [status() for _ in range(REQUESTS_BEFORE_DRY)] == [200] * REQUESTS_BEFORE_DRY
    assert status() == 429
    now += DRY_SECONDS / 2
    refused = account(seen)
    assert (refused.status, refused.header("retry-after")) == (429, str(round(DRY_SECONDS / 2)))
    now += DRY_SECONDS
    assert status() == 200


@pytest.mark.slow
def test_it_tells_of_a_failover_serves_strangers_and_ends_cleanly(tmp_path: Path) -> None:
    """As `make demo` runs it: nothing configured, an empty home, nothing left behind."""
    environ = {**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "supervisor", "demo"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        told = [process.stdout.readline() for _ in range(5 + SHOWN_REQUESTS)]
        url = told[0].removeprefix("listening on ").strip()
        with urllib.request.urlopen(f"{url}/status", timeout=10) as answer:  # noqa: S310
            status = json.load(answer)
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=20)
    text = "".join(told) + rest
    assert "request 3: 200 from account one" in text
    assert "request 4: 200 from account two" in text
    assert "after 1 failover" in text
    assert [account["state"] for account in status["accounts"]] == [
        "cooling",
        "available",
        "available",
    ]
    assert process.returncode == 0
    assert errors == ""
    assert list(tmp_path.iterdir()) == []
