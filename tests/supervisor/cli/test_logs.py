"""`supervisor logs` and `supervisor explain`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from protocol.debug_line import DebugLine, encode_debug_line
from protocol.explanation import Attempt, Choice, Explanation, Pause, Spent
from protocol.request_line import RequestLine, encode_line
from protocol.routing import Considered
from supervisor.cli.explain_text import _WHY, explanation
from supervisor.cli.log_line import LineView, length
from tests.supervisor.cli.conftest import Invoke, Start
from tests.supervisor.stub_instance import stub_instance

NOW = datetime.now(UTC)
TODAY = NOW.date()


def request(name: str, **fields: Any) -> RequestLine:
    given = {"account": "work", "model": "claude-x", "status": 200, "attempts": 1, **fields}
    return RequestLine(f"{TODAY}T12:00:00.000Z", name, "POST", "/v1/messages", **given)


def attempt(name: str, number: int, **fields: Any) -> DebugLine:
    at = f"{TODAY}T12:00:00.000Z"
    return DebugLine(at, name, number, "work", "POST", "/v1/messages", (), 10, **fields)


@pytest.fixture
def logs(state_dir: Path) -> Path:
    directory = state_dir / "logs"
    directory.mkdir(parents=True)
    write(directory, "requests", *(encode_line(request(f"r{n}")) for n in range(30)))
    return directory


def write(directory: Path, kind: str, *lines: bytes) -> None:
    with (directory / f"{kind}-{TODAY}.jsonl").open("ab") as file:
        file.writelines(lines)


def ids(output: str) -> list[str]:
    return [line.split()[-1] for line in output.splitlines()]


def test_the_last_requests_are_shown_oldest_first(logs: Path, start: Start) -> None:
    done = start("logs")
    assert (done.returncode, done.stderr) == (0, "")
    assert ids(done.stdout) == [f"r{n}" for n in range(10, 30)]
    assert "200  POST /v1/messages  claude-x  work" in done.stdout


def test_lines_of_yesterday_come_first(logs: Path, invoke: Invoke) -> None:
    (logs / "requests-2020-01-01.jsonl").write_bytes(encode_line(request("older")))
    assert ids(invoke("logs", "-n", "31").stdout)[:2] == ["older", "r0"]


def test_one_account_or_provider_can_be_asked_for(logs: Path, invoke: Invoke) -> None:
    write(logs, "requests", encode_line(request("s", account="spare")))
    write(logs, "requests", encode_line(request("p", account=None, provider="spare")))
    assert ids(invoke("logs", "--account", "spare").stdout) == ["s", "p"]
    assert invoke("logs", "--account", "spar").stdout == ""


def test_one_request_is_shown_with_its_attempts(logs: Path, invoke: Invoke) -> None:
    write(logs, "debug", encode_debug_line(attempt("r3", 1, status=429, ended="complete")))
    write(logs, "debug", encode_debug_line(attempt("r33", 1)))
    write(logs, "debug", encode_debug_line(attempt("r3", 2, ended="connect", detail="refused")))
    first, *attempts = invoke("logs", "--request", "r3").stdout.splitlines()
    assert first.endswith("  r3")
    assert [text.split(",")[0] for text in attempts] == [
        "  1. at work: status 429", "  2. at work: no answer",
    ]  # fmt: skip
    assert attempts[1].endswith("connect, refused")


def test_json_gives_the_lines_as_they_are(logs: Path, invoke: Invoke) -> None:
    written = (logs / f"requests-{TODAY}.jsonl").read_text().splitlines()
    assert invoke("logs", "--json", "-n", "3").stdout.splitlines() == written[-3:]


def test_torn_and_foreign_lines_are_passed_over(logs: Path, invoke: Invoke) -> None:
    write(logs, "requests", b"foreign\n", b'{"at":1}\n', encode_line(request("whole")), b'{"at":"2')
    assert ids(invoke("logs", "-n", "4").stdout)[-1] == "whole"


def test_the_texts_of_strangers_do_not_steer_the_terminal(logs: Path, invoke: Invoke) -> None:
    write(logs, "requests", encode_line(request("x", model="\x1b]0;owned\x07")))
    shown = invoke("logs", "-n", "1").stdout
    assert "owned" in shown
    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_without_logs_it_says_where_it_looked(state_dir: Path, invoke: Invoke) -> None:
    done = invoke("logs")
    assert done.exit_code == 1
    assert str(state_dir / "logs") in done.stderr


def test_following_needs_a_running_instance(logs: Path, invoke: Invoke) -> None:
    done = invoke("logs", "-f")
    assert done.exit_code == 69
    assert "supervisor run" in done.stderr


def _until(found: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def test_following_shows_each_new_request_and_ends_with_the_instance(
    logs: Path, state_dir: Path, tmp_path: Path
) -> None:
    shown = tmp_path / "shown"
    command = [sys.executable, "-m", "supervisor", "logs", "-f", "-n", "1"]
    with shown.open("wb") as output, stub_instance(state_dir):
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.PIPE, text=True)
        try:
            _until(lambda: ids(shown.read_text()) == ["r29"])
            write(logs, "requests", encode_line(request("new")))
            _until(lambda: ids(shown.read_text()) == ["r29", "new"])
            (logs / "requests-2099-01-01.jsonl").write_bytes(encode_line(request("next-day")))
            _until(lambda: ids(shown.read_text()) == ["r29", "new", "next-day"])
        except BaseException:
            process.kill()
            raise
    _, said = process.communicate(timeout=30)
    assert process.returncode == 69
    assert "has stopped" in said


# --- explain

LONG = Explanation(
    steps=(
        Choice(
            1.5, 0.2, "work", ("fill-first",),
            considered=(Considered("work", "taken", "fill-first"),
                        Considered("spare", "next", "order"),
                        Considered("tired", "passed", "cooling")),
        ),
        Attempt(2, 310, "work", "failed", 429, action="next", scope="account",
                reason="five_hour", retry_after=30, error_type="rate_limit_error",
                detail="\x1b[31mslow down"),
        Pause(312, 1500, "max_wait"),
        Choice(1812, 0.1, message="everybody rests", retry_after=12),
        Attempt(1900, 4000, "spare", "served", 200, terminal="complete", ms_first_byte=2500),
    ),
    spent=Spent(body=1, choosing=0.3, waiting=1500, upstream=910, delivering=3400, other=0),
)  # fmt: skip


def answer(**fields: Any) -> dict[str, Any]:
    line = request("r1", account="spare", input_tokens=1000, output_tokens=50, cost_usd=0.0123,
                   attempts=2, ms_total=5900.0, **fields)  # fmt: skip
    return {**msgspec.to_builtins(line), "explanation": msgspec.to_builtins(LONG)}


def test_the_running_instance_tells_who_served_why_and_what_it_cost(
    state_dir: Path, start: Start
) -> None:
    with stub_instance(state_dir) as server:
        told = answer(reason="fill-first; work was tried")
        server.answers["GET", "/status/requests/r1"] = (200, told)
        done = start("explain", "r1")
    assert (done.returncode, done.stderr) == (0, "")
    for text in (
        "request r1",
        "served by account spare: claude-x\nwhy: fill-first; work was tried\nstatus 200, complete\n",
        "5.9 s in all, 2 attempts",
        "1k in, 50 out; cost $0.012",
        "chose work: fill-first",
        "took        work: fill-first",
        "next        spare: in this order",
        "passed over tired: rests after a limit or a failure",
        "work failed after 310 ms: status 429, rate_limit_error, ?[31mslow down; five_hour ",
        "(evidence about the account); retry after 30 s; on to the next account",
        "waited 1.5 s: everybody rested",
        "nobody could serve: everybody rests; the first is back in 12 s",
        "spare served it in 4.0 s: complete, status 200, first byte 2.5 s after its arrival",
        "   3.4 s  delivering the answer",
    ):
        assert text in done.stdout
    assert "\x1b" not in done.stdout


def test_json_is_the_instances_own_answer(state_dir: Path, invoke: Invoke) -> None:
    with stub_instance(state_dir) as server:
        server.answers["GET", "/status/requests/r1"] = (200, answer())
        assert json.loads(invoke("explain", "r1", "--json").stdout) == json.loads(
            json.dumps(answer())
        )


def test_what_is_not_in_memory_any_more_is_told_from_the_logs(
    logs: Path, state_dir: Path, invoke: Invoke
) -> None:
    write(logs, "debug", encode_debug_line(attempt("r7", 1, status=200)))
    with stub_instance(state_dir):
        done = invoke("explain", "r7")
    assert done.exit_code == 0
    assert "served by account work: claude-x" in done.stdout
    assert "cost not known" in done.stdout
    assert "1. at work: status 200" in done.stdout
    assert "does not know this request any more; the reasons were only in memory" in done.stdout


def test_with_nothing_running_the_logs_are_told(logs: Path, invoke: Invoke) -> None:
    done = invoke("explain", "r7")
    assert done.exit_code == 0
    assert "nothing is running; the reasons were only in memory" in done.stdout
    document = json.loads(invoke("explain", "r7", "--json").stdout)
    assert document["request_id"] == "r7"
    assert document["explanation"] is None
    assert "only in memory" in document["note"]


@pytest.mark.parametrize("name", ["r", "nobody", "../../etc", "\udcff", "a/b?c"])
def test_an_unknown_request_fails_and_says_where_ids_are(
    name: str, logs: Path, invoke: Invoke
) -> None:
    done = invoke("explain", name)
    assert done.exit_code == 1
    assert "supervisor logs" in done.stderr


def test_of_two_requests_with_one_id_the_newer_is_told(logs: Path, invoke: Invoke) -> None:
    write(logs, "requests", encode_line(request("r7", account="newer")))
    assert "newer" in invoke("explain", "r7").stdout


def test_an_answer_of_another_version_is_no_traceback() -> None:
    assert "unknown" in explanation({"at": 5})[0]
    assert "unknown" in explanation([])[0]
    odd = {"at": "x", "request_id": "r", "explanation": {"steps": [{"step": "new"}, 5], "spent": 3}}
    assert explanation(odd)[0] == "request r"


def test_every_reason_that_a_choice_can_have_is_said_in_words() -> None:
    documented = (Considered.__doc__ or "").replace("\n", " ").split("`why`")[1]
    words = documented.replace(".", ",").replace(":", ",").split(",")
    reasons = {word.strip() for word in words} - {"", "taken", "next", "passed", "waited"}
    assert {reason for reason in reasons if "strategy" not in reason} == set(_WHY)


def test_all_that_is_shown_of_a_line_is_in_a_line() -> None:
    written = {field.name for field in msgspec.structs.fields(RequestLine)}
    assert {field.name for field in msgspec.structs.fields(LineView)} <= written


@pytest.mark.parametrize(
    ("ms", "text"),
    [(None, ""), (0.25, "0.2 ms"), (9.0, "9 ms"), (812.4, "812 ms"), (4321, "4.3 s")],
)
def test_lengths_are_read_at_a_glance(ms: float | None, text: str) -> None:
    assert length(ms) == text


def test_a_model_without_a_price_is_said_to_have_none(logs: Path, invoke: Invoke) -> None:
    write(logs, "requests", encode_line(request("unpriced", served_model="m-9", output_tokens=5)))
    assert "cost not known: m-9 has no known price" in invoke("explain", "unpriced").stdout


def test_an_error_is_not_told_twice() -> None:
    said = "429 rate_limit_error You are\ntoo fast."
    failed = Attempt(2, 310, "work", "failed", 429, error_type="rate_limit_error", detail=said)
    told = json.loads(
        msgspec.json.encode({**answer(), "explanation": Explanation(steps=(failed,))})
    )
    (line,) = [line for line in explanation(told) if "failed after" in line]
    assert line.endswith("work failed after 310 ms: status 429, rate_limit_error, You are?too fast")


@pytest.mark.parametrize("words", [("--request", "r99"), ("--account", "spar")])
def test_when_nothing_is_found_it_says_so(
    words: tuple[str, str], logs: Path, invoke: Invoke
) -> None:
    done = invoke("logs", *words)
    assert (done.exit_code, done.stdout) == (0, "")
    assert words[1] in done.stderr
    assert invoke("logs", *words, "--json").stderr == ""
    assert invoke("logs").stderr == ""


def test_a_log_without_a_line_says_so(state_dir: Path, invoke: Invoke) -> None:
    (state_dir / "logs").mkdir(parents=True)
    assert "no requests yet" in invoke("logs").stderr


def test_who_only_failed_did_not_serve(logs: Path, invoke: Invoke) -> None:
    failed = request("failed", status=429, terminal="upstream_error", account="spare")
    write(logs, "requests", encode_line(failed))
    said = invoke("explain", "failed").stdout
    assert "nobody served it: claude-x; account spare was tried last" in said
    assert "served by account" not in said


def test_when_somebody_is_back_is_told_once() -> None:
    spent = "every account is at its limit; the first is back in 900 s"
    choice = Choice(1, 0.1, message=spent, retry_after=900)
    told = json.loads(
        msgspec.json.encode({**answer(), "explanation": Explanation(steps=(choice,))})
    )
    (line,) = [line for line in explanation(told) if "nobody could serve" in line]
    assert line.count("is back in") == 1, line
