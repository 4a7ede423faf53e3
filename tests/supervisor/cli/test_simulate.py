"""`supervisor simulate`: strategies side by side, from a log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from protocol.request_line import RequestLine, encode_line, timestamp
from protocol.strategies import STRATEGIES
from supervisor.cli.simulate import simulate
from tests.supervisor.cli.conftest import Invoke, Start

EPOCH = 1_790_000_000


def line(at: float, **fields: Any) -> bytes:
    given = {
        "account": "a", "served_model": "claude-opus-5-5", "session": "s", "status": 200,
        "ms_total": 900.0, "input_tokens": 10, "output_tokens": 20, "cache_read_tokens": 100_000,
        "cache_write_tokens": 500, **fields,
    }  # fmt: skip
    return encode_line(RequestLine(timestamp(EPOCH + at), "r", "POST", "/v1/messages", **given))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "requests-2026-09-21.jsonl"
    lines = [line(n * 30.0, account="ab"[n % 2]) for n in range(10)]
    lines += [line(1, provider="openai", account=None), line(2, output_tokens=None), b"torn\n"]
    path.write_bytes(b"".join(lines))
    return path


def test_strategies_stand_side_by_side(log: Path, start: Start) -> None:
    done = start(
        "simulate", "--log", str(log), "--strategy", "fill-first", "--strategy", "round-robin",
        "--affinity", "0",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    remark, heads, recorded, first, shared = done.stdout.splitlines()
    assert remark == (
        "accounts: a, b; 3 lines left out: not served by an account, or without tokens"
    )
    assert heads.split() == [
        "strategy", "served", "refused", "waited", "limits", "met", "moved", "cache", "kept", "cost",
    ]  # fmt: skip
    assert recorded.split()[:3] == ["as", "recorded", "10"]
    assert first.split()[:7] == ["fill-first", "10", "0", "0", "0", "0", "100%"]
    assert shared.split()[:7] == ["round-robin", "10", "0", "0", "0", "9", "10%"]
    dearer, cheaper = (float(row.split()[-1].removeprefix("$")) for row in (shared, first))
    assert dearer > 3 * cheaper > 0
    assert recorded.split()[-1] == first.split()[-1]


def test_all_strategies_are_compared_by_default_for_programs(log: Path, invoke: Invoke) -> None:
    document = json.loads(invoke("simulate", "--log", str(log), "--json").stdout)
    assert document["accounts"] == ["a", "b"]
    assert document["left_out"] == 3
    assert [row["strategy"] for row in document["rows"]] == ["as recorded", *STRATEGIES]
    assert all(row["served"] == 10 for row in document["rows"])


def test_an_allowance_makes_some_wait_in_vain(log: Path, invoke: Invoke) -> None:
    done = invoke("simulate", "--log", str(log), "--allowance", "20000", "--account", "x", "--json")
    document = json.loads(done.stdout)
    assert document["accounts"] == ["x"]
    for row in document["rows"][1:]:
        assert row["by_account"] == {"x": row["served"]}
        assert row["refused"] > 0


def test_a_log_without_anything_to_replay_says_so(tmp_path: Path, invoke: Invoke) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_bytes(b"")
    done = invoke("simulate", "--log", str(path))
    assert done.exit_code == 1
    assert "--log takes" in done.stderr


def test_a_file_that_is_not_there_is_no_traceback(tmp_path: Path, invoke: Invoke) -> None:
    done = invoke("simulate", "--log", str(tmp_path / "nowhere.jsonl"))
    assert done.exit_code == 1
    assert "nowhere.jsonl" in done.stderr
    assert "--directory" not in done.stderr
    assert "requests-" in done.stderr
    assert done.exception is None or isinstance(done.exception, SystemExit)


def test_the_choices_are_all_the_strategies_that_there_are() -> None:
    (strategies,) = (one for one in simulate.params if one.name == "strategies")
    assert set(strategies.type.choices) == set(STRATEGIES)  # type: ignore[attr-defined]
