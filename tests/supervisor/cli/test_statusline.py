"""`supervisor statusline` says in one line what is known, and never fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from supervisor.cli import status_view, statusline
from tests.supervisor.cli.conftest import Start
from tests.supervisor.stub_instance import StubServer, stub_instance

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SESSION = "7f1c0f1e-0000-4000-8000-000000000001"


def account(name: str, state: str = "available", **quota: float) -> dict[str, Any]:
    return {
        "name": name,
        "state": state,
        "quota": {
            window: {"utilization": used, "status": "allowed"} for window, used in quota.items()
        },
    }


def pool(*accounts: dict[str, Any], following: str = "") -> dict[str, Any]:
    return {"mode": "pool", "nextAccount": following, "accounts": list(accounts)}


WORK = account("work", **{"7d": 0.99, "5h": 0.09, "overage": 0.0})
WORK["quota"]["7d"]["status"] = "allowed_warning"
SPARE = account("spare", **{"5h": 0.8})


def line(status: dict[str, Any], *requests: dict[str, str], colour: bool = False) -> str:
    return statusline.render(
        status_view.status_view(status),
        status_view.requests_view({"requests": list(requests)}),
        session=SESSION,
        now=NOW,
        colour=colour,
    )


def test_one_account_needs_no_name() -> None:
    assert line(pool(WORK)) == "5h 9% 7d 99%! overage 0%"


def test_the_account_of_this_session_comes_first_else_the_next_one() -> None:
    both = pool(WORK, SPARE, following="spare")
    assert line(both) == "spare 5h 80% | work 5h 9% 7d 99%! overage 0%"
    served = {"account": "work", "session": SESSION}
    assert line(both, {"account": "spare", "session": "other"}, served).startswith("work 5h 9%")


def test_a_bench_is_said_with_its_end() -> None:
    until = (NOW + timedelta(minutes=12)).isoformat()
    resting = account("work", "cooling", **{"5h": 1.0})
    resting["cooldowns"] = [{"scope": "account", "until": until, "reason": "window_5h"}]
    told = line(pool(resting, account("old", "needs_login"), following=""))
    assert told == "work cooling 12 min 5h 100% | old needs login"


def test_of_many_accounts_some_are_counted_and_those_unread_left_out() -> None:
    many = [account(f"a{number}", **{"5h": 0.1}) for number in range(6)]
    assert line(pool(*many)) == "a0 5h 10% | a1 5h 10% | a2 5h 10% | +3"
    assert line(pool(WORK, account("new"))) == "work 5h 9% 7d 99%! overage 0%"
    assert line(pool(account("a"), account("b"))) == statusline.NOTHING_KNOWN
    assert line(pool()) == statusline.NOTHING_KNOWN


def test_without_accounts_the_sessions_own_credential_is_shown() -> None:
    clients = [account("client-1", **{"5h": 0.1}), account("client-2", **{"5h": 0.2})]
    clients[1]["last_request_at"] = "2026-11-21T11:00:00Z"
    seen = {"mode": "passthrough", "accounts": clients}
    assert line(seen) == "5h 20%", "the newest, where the session is not known"
    assert line(seen, {"account": "client-1", "session": SESSION}) == "5h 10%"


def test_colour_says_how_much_is_used_and_never_what_strangers_wrote() -> None:
    odd = account("w\x1b[31mk", **{"5h": 0.9, "7d": 0.75, "overage": 0.1})
    told = line(pool(odd, SPARE), colour=True)
    assert "\x1b[31m90%\x1b[0m" in told
    assert "\x1b[33m75%\x1b[0m" in told
    assert "\x1b[32m10%\x1b[0m" in told
    assert "w?[31mk" in told


@pytest.fixture
def live(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubServer]:
    with stub_instance(state_dir) as server:
        server.answers["GET", "/status"] = (200, pool(WORK, SPARE))
        yield server


def shown(given: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The command as Claude Code runs it."""
    return subprocess.run(
        [sys.executable, "-m", "supervisor", "statusline"],
        env={**os.environ, "NO_COLOR": "1", **environment},
        input=given,
        capture_output=True,
        timeout=30,
        check=False,
    )


def patiently(given: bytes, **environment: str) -> bytes:
    """A busy machine may be late for the 200 ms now and then."""
    for _ in range(5):
        done = shown(given, **environment)
        assert (done.returncode, done.stderr) == (0, b"")
        if done.stdout.strip() != statusline.NO_ANSWER.encode():
            break
    return done.stdout


def test_the_running_instance_is_asked_and_what_comes_on_stdin_is_tolerated(
    live: StubServer,
) -> None:
    live.answers["GET", "/status/requests"] = (
        200, {"requests": [{"account": "spare", "session": SESSION}]}
    )  # fmt: skip
    given = json.dumps({"session_id": SESSION, "model": {"display_name": "x"}}).encode()
    assert patiently(given).startswith(b"spare 5h 80% | work")
    for odd in (b"", b"\xff\xfe", b"[" * 100_000, b'{"session_id": 5}'):
        assert patiently(odd).startswith(b"work 5h 9%")
    assert b"\x1b[" in patiently(given, NO_COLOR="")


def test_where_nothing_runs_the_usage_file_is_shown(home: Path, start: Start) -> None:
    done = start("statusline")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{statusline.NOTHING_RUNS}\n", "")
    (home / ".claude").mkdir(exist_ok=True)
    (home / ".claude" / "usage-status.md").write_text("a: 5h=9% (x)\nb: 5h=\x1b[31m\n", "utf-8")
    assert start("statusline").stdout == "a: 5h=9% (x) | b: 5h=?[31m\n"
    elsewhere = home / "mine.md"
    elsewhere.write_text("7d=1% (x)\n", "utf-8")
    named = start("statusline", SUPERVISOR_CLIENT_USAGE_FILE=str(elsewhere))
    assert named.stdout == "7d=1% (x)\n"


@pytest.mark.parametrize("broken", [(500, {}), (200, b"no json"), (200, {"accounts": 5})])
def test_an_instance_that_answers_nonsense_is_no_error(
    live: StubServer, broken: tuple[int, Any]
) -> None:
    live.answers["GET", "/status"] = broken
    done = shown()
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.strip() == statusline.NO_ANSWER.encode(), "it does run"


def test_it_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """An instance that hangs, or a stdin that nobody closes."""
    began = time.monotonic()
    assert statusline._within(0.05, lambda: time.sleep(8)) is None
    assert time.monotonic() - began < 4


def test_a_reader_that_has_gone_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "supervisor", "statusline"],
            env={**os.environ},
            stdin=subprocess.DEVNULL,
            stdout=gone,
            stderr=subprocess.PIPE,
            timeout=30,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_window_that_will_be_used_up_before_its_reset_is_said() -> None:
    ahead = account("work", **{"5h": 0.8, "7d": 0.2})
    at = (NOW + timedelta(minutes=40)).isoformat()
    ahead["forecast"] = {
        "5h": {"rate_per_hour": 0.3, "full_at": at},
        "7d": {"rate_per_hour": 0.01, "full_at": None},
    }
    assert line(pool(ahead)) == "5h 80% (full in 40 min) 7d 20%"
