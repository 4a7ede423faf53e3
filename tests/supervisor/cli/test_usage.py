"""`supervisor usage`, from files alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from protocol.request_line import RequestLine, encode_line
from protocol.usage_report import DIMENSIONS
from supervisor.cli.usage import usage
from supervisor.cli.usage_table import dollars
from tests.supervisor.cli.conftest import Invoke, Start

NOW = datetime.now(UTC)


def write(directory: Path, day: datetime, *lines: bytes) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"requests-{day.date()}.jsonl"
    path.write_bytes(b"".join(lines))
    return path


def line(at: datetime = NOW, **fields: Any) -> bytes:
    text = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    given = {"account": "work", "status": 200, **fields}
    return encode_line(RequestLine(text, "r", "POST", "/v1/messages", **given))


@pytest.fixture
def logs(state_dir: Path) -> Path:
    directory = state_dir / "logs"
    write(
        directory,
        NOW,
        line(input_tokens=1000, output_tokens=50, cache_read_tokens=3000, cost_usd=1.5),
        line(account="spare", input_tokens=10, served_model="claude-x"),
    )
    write(directory, NOW - timedelta(days=20), line(NOW - timedelta(days=20), cost_usd=7.0))
    return directory


def test_it_sums_up_accounts_with_nothing_running(logs: Path, start: Start) -> None:
    done = start("usage")
    assert (done.returncode, done.stderr) == (0, "")
    head, columns, *rows = done.stdout.splitlines()
    assert head.startswith("since ")
    assert columns.split() == [
        "account", "requests", "errors", "input", "cached", "written", "output", "cost", "unpriced",
    ]  # fmt: skip
    assert [row.split() for row in rows] == [
        ["work", "1", "0", "4k", "75%", "0", "50", "$1.50", "0"],
        ["spare", "1", "0", "10", "0%", "0", "0", "-", "1"],
        ["total", "2", "0", "4k", "75%", "0", "50", "$1.50", "1"],
    ]


def test_it_goes_as_far_back_as_it_is_told(logs: Path, invoke: Invoke) -> None:
    document = json.loads(invoke("usage", "--since", "30d", "--by", "day", "--json").stdout)
    days = [str((NOW - timedelta(days=20)).date()), str(NOW.date())]
    assert [row["day"] for row in document["rows"]] == days
    assert document["total"]["cost_usd"] == 8.5
    assert document["total"]["unpriced"] == 1
    assert document["rows"][1]["cache_share"] == round(3000 / 4010, 4)


def test_since_may_be_a_day(logs: Path, invoke: Invoke) -> None:
    day = str((NOW + timedelta(days=1)).date())
    done = invoke("usage", "--since", day)
    assert done.exit_code == 0
    assert done.stdout == f"no requests since {day} 00:00 UTC in {logs}\n"


@pytest.mark.parametrize(
    "text", ["", "7", "d", "7x", "-7d", "yesterday", "2026-13-01", "9" * 30 + "d"]
)
def test_a_time_that_is_none_is_a_usage_error_that_says_what_is_one(
    text: str, invoke: Invoke
) -> None:
    done = invoke("usage", "--since", text)
    assert done.exit_code == 2
    assert "24h" in done.stderr


def test_a_torn_line_is_named_on_stderr_and_the_rest_is_summed_up(
    logs: Path, invoke: Invoke
) -> None:
    path = logs / f"requests-{NOW.date()}.jsonl"
    path.write_bytes(path.read_bytes() + b'{"at":"20')
    done = invoke("usage", "--json")
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert document["total"]["requests"] == 2
    assert document["unreadable"] == [{"file": path.name, "lines": 1, "first": 3}]
    assert f"{path}, line 3" in done.stderr


def test_names_of_strangers_do_not_steer_the_terminal(state_dir: Path, invoke: Invoke) -> None:
    write(state_dir / "logs", NOW, line(client="\x1b[31mred[bold]x"))
    done = invoke("usage", "--by", "client")
    assert "\x1b" not in done.stdout
    assert "[31mred[bold]x" in done.stdout


def test_the_configured_directory_is_read(
    tmp_path: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "elsewhere", NOW, line(account="there"))
    monkeypatch.setenv("SUPERVISOR_LOGS_DIRECTORY", str(tmp_path / "elsewhere"))
    assert "there" in invoke("usage").stdout


def test_any_directory_can_be_named(tmp_path: Path, invoke: Invoke) -> None:
    write(tmp_path / "copied", NOW, line(account="copied"))
    assert "copied" in invoke("usage", "--directory", str(tmp_path / "copied")).stdout


def test_where_there_are_no_logs_it_says_so_and_what_to_do(state_dir: Path, invoke: Invoke) -> None:
    done = invoke("usage")
    assert done.exit_code == 1
    assert str(state_dir / "logs") in done.stderr
    assert "--directory" in done.stderr


def test_other_files_in_the_directory_are_left_alone(logs: Path, invoke: Invoke) -> None:
    (logs / "debug-2026-01-01.jsonl").write_text("{}\n")
    (logs / "requests-today.jsonl").write_text("{}\n")
    (logs / "notes.txt").write_text("mine")
    assert json.loads(invoke("usage", "--json").stdout)["unreadable"] == []


def test_the_choices_are_all_that_can_be_reported() -> None:
    (by,) = (parameter for parameter in usage.params if parameter.name == "by")
    assert tuple(by.type.choices) == DIMENSIONS  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        (None, "-"),
        (0.0, "$0.00"),
        (0.00432, "$0.0043"),
        (0.0175, "$0.018"),
        (0.1, "$0.10"),
        (1.5, "$1.50"),
        (12345.678, "$12,345.68"),
    ],
)
def test_small_costs_keep_their_digits(cost: float | None, text: str) -> None:
    assert dollars(cost) == text
