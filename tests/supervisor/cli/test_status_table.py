"""The table says the same at every width, and says it so that a person can read it."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from supervisor.cli.status_table import render
from supervisor.cli.status_view import requests_view, status_view
from supervisor.cli.wording import amount
from tests.supervisor.cli import sample_status
from tests.supervisor.cli.sample_status import NOW, account, at, window

URL = "http://127.0.0.1:4080"


def drawn(
    status: dict[str, Any],
    requests: list[dict[str, Any]],
    width: int,
    *,
    colours: bool = False,
    ascii_only: bool = False,
) -> list[str]:
    output = io.StringIO()
    console = Console(
        file=output,
        width=width,
        highlight=False,
        force_terminal=colours,
        color_system="standard" if colours else None,
    )
    picture = render(
        status_view(status),
        requests_view({"requests": requests}),
        url=URL,
        width=width,
        now=NOW,
        ascii_only=ascii_only,
    )
    console.print(picture)
    return [line.rstrip() for line in output.getvalue().splitlines()]


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "supervisor.cli.status_table.clock", lambda text: text[11:19] if text else ""
    )


def test_the_picture_at_80_columns() -> None:
    assert drawn(sample_status.status(), sample_status.requests(), 80) == [
        "http://127.0.0.1:4080  version 0.1.0, pool, up 1 h 5 min",
        "fill-first, 3 in flight, event loop lag 2.1 ms",
        "configuration /etc/llm-supervisor.toml",
        "provider anthropic cooling: overloaded, 12 s",
        "fallback openai/gpt-5 available",
        "team-key: refresh refused: invalid_grant",
        "",
        "Accounts  1 of 4 available, next: work",
        "name      kind     state                   reqs    ok  err  429  now  last",
        "work      login    available               1204  1190    4   10    3  3 s ago",
        "personal  token    cooling                    0     0    0    0    0  never",
        "                   rate limit, 2 min",
        "team-key  API key  needs login                0     0    0    0    0  never",
        "old       API key  disabled                   0     0    0    0    0  never",
        "                   opus: quota, 1 h 6 min",
        "",
        "Quota",
        "account   window",
        "work      5h ████████░░  81%  resets in 2 h 3 min",
        "          7d ██████░░░░  62%  resets in 3 d 11 h",
        "personal  5h ██████████ 100%  resets in 2 min",
        "old       tokens not known yet",
        "",
        "Actors",
        "name          state       restarts       mailbox  last crash",
        "dispatcher    running            0             0",
        "account/work  running            2  12 (3 s old)  1 min ago, RuntimeError: the …",
        "front-end     restarting         5             0",
        "",
        "Last requests",
        "time      request      model         account   status  tries    ms  reason",
        "13:59:59  /messages    claude-opus…  work         200      1  2310",
        "13:59:59  /messages/…  claude-haik…  personal     429      3   120  every accou…",
        "13:59:59  /models                                   -      0     -  x?[31mevil",
    ]


def test_the_picture_at_140_columns() -> None:
    lines = drawn(sample_status.status(), sample_status.requests(), 140)
    assert "Quota" not in lines
    begin = lines.index("Accounts  1 of 4 available, next: work")
    assert lines[begin + 1 : begin + 6] == [
        (
            "name      kind     state                   quota                                   "
            " requests    ok  errors  limited  in flight  last request"
        ),
        (
            "work      login    available               5h ████████░░  81%  resets in 2 h 3 min "
            "     1204  1190       4       10          3  3 s ago"
        ),
        "                                           7d ██████░░░░  62%  resets in 3 d 11 h",
        (
            "personal  token    cooling                 5h ██████████ 100%  resets in 2 min     "
            "        0     0       0        0          0  never"
        ),
        "                   rate limit, 2 min",
    ]
    text = "\n".join(lines)
    assert "RuntimeError: the thing [red]broke[/red], at actors/account.py:88" in text
    assert "POST /v1/messages/count_tokens  claude-haiku-5-5-20260101  personal     429" in text


@pytest.mark.parametrize("width", [80, 81, 100, 109, 110, 125, 139, 140, 141, 240])
def test_no_line_is_wider_than_the_window_and_no_row_is_broken(width: int) -> None:
    lines = drawn(sample_status.status(), sample_status.requests(), width)
    assert max(map(len, lines)) <= width
    work = next(line for line in lines if line.startswith("work "))
    for whole in ("login", "available", "1204", "1190", "3 s ago"):
        assert whole in work
    assert any("7d ██████░░░░  62%  resets in 3 d 11 h" in line for line in lines)
    after = lines[next(i for i, line in enumerate(lines) if line.startswith("Last requests")) :]
    assert len(after) == 2 + 3


def test_states_have_colours_and_a_zero_has_none() -> None:
    text = "\n".join(drawn(sample_status.status(), sample_status.requests(), 140, colours=True))
    for colour, words in [(32, "available"), (33, "cooling"), (31, "needs login"), (2, "disabled")]:
        assert re.search(rf"\x1b\[{colour}m{words} *\x1b\[0m", text)
    assert re.search(r"\x1b\[31m *4\x1b\[0m", text)  # four errors
    assert not re.search(r"\x1b\[31m *0\x1b\[0m", text)


def test_a_bar_turns_yellow_then_red_and_red_at_once_when_the_window_refuses() -> None:
    quota = {
        "a": window(0.5, "allowed", at(60)),
        "b": window(0.8, "allowed", at(60)),
        "c": window(0.95, "allowed", at(60)),
        "d": window(0.1, "rejected", at(60)),
    }
    lines = drawn({"accounts": [account("x", quota=quota)]}, [], 140, colours=True)
    found = re.findall(r"\x1b\[(\d+)m█+", "\n".join(lines))
    assert found == ["32", "33", "31", "31"]


def test_a_percentage_is_rounded_as_in_the_usage_file() -> None:
    """Halves up: two places that show one reading show one number."""
    quota = {"a": window(0.285, "allowed", at(60)), "b": window(1.005, "rejected", at(60))}
    text = "\n".join(drawn({"accounts": [account("x", quota=quota)]}, [], 140))
    assert " 29%  resets" in text
    assert " 101%  resets" in text


def test_a_reading_that_is_old_or_from_before_the_restart_says_how_old() -> None:
    quota = {
        "a": window(0.5, "allowed", at(60)) | {"read_at": at(-899)},
        "b": window(0.5, "allowed", at(60)) | {"read_at": at(-900)},
        "c": window(0.5, "allowed", at(-60)) | {"read_at": at(-5), "source": "restored"},
        "d": window(None, "rejected", at(60)),
    }
    lines = drawn({"accounts": [account("x", quota=quota)]}, [], 80)
    first = lines.index("Quota") + 1
    assert [line.removeprefix("x").strip() for line in lines[first:][-4:]] == [
        "a █████░░░░░  50%  resets in 1 min",
        "b █████░░░░░  50%  resets in 1 min, 15 min old",
        "c █████░░░░░  50%  5 s old",
        "d rejected  resets in 1 min",
    ]


@pytest.mark.promise("X4")
def test_nothing_that_a_stranger_wrote_steers_the_terminal() -> None:
    evil = "\x1b]0;owned\x07[bold]x\r\n"
    status = sample_status.status(
        version=evil, strategy=evil, nextAccount=evil, config={"path": evil, "error": evil}
    )
    status["accounts"][2]["last_error"] = {"message": evil}
    request = sample_status.request(path=evil, model=evil, account=evil, reason=evil)
    for width in (80, 140):
        text = "\n".join(drawn(status, [request], width))
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
        assert "[bold]x" in text


def test_an_old_terminal_gets_bars_that_it_can_print() -> None:
    text = "\n".join(drawn(sample_status.status(), [], 80, ascii_only=True))
    assert "5h ########--  81%" in text
    assert "█" not in text


def test_an_answer_with_nothing_known_is_shown_too() -> None:
    nothing: dict[str, Any] = {
        "version": None,
        "uptime": None,
        "config": None,
        "accounts": [{"name": "a", "counters": None, "in_flight": None}],
        "actors": [{"name": "b", "mailbox": None}],
        "event_loop_lag": {"p50": None, "p99": None},
    }
    lines = drawn(nothing, [{}], 80)
    row = next(line for line in lines if line.startswith("a "))
    assert row.split() == ["a", "-", "-", "-", "-", "-", "never"]


def test_passthrough_says_whose_credential_is_used() -> None:
    lines = drawn({"mode": "passthrough", "totalAccounts": 0, "availableAccounts": 0}, [], 80)
    assert any("each client's own credential is passed through" in line for line in lines)


def test_a_refused_configuration_and_an_active_redirect_are_said() -> None:
    status = sample_status.status(
        config={"path": "/c.toml", "error": [{"message": "server.port: 0.5"}, "and more"]},
        redirect={"active": True, "since": at(-90), "reason": "5h at 0.92"},
    )
    lines = drawn(status, [], 80)
    assert "configuration not taken over: server.port: 0.5; and more" in lines
    assert "redirect active: 5h at 0.92, 1 min ago" in lines


def test_tokens_are_shown_where_there_is_room_and_something_to_show() -> None:
    spent = account("work")
    spent["tokens"] = {"input": 900, "output": 12_345, "cache_read": 3_456_789, "cache_write": 50}
    view = {**sample_status.status(), "accounts": [spent]}
    wide = "\n".join(drawn(view, [], 160))
    assert re.search(r"tokens in +cached +out", wide)
    assert re.search(r"\b950 +3\.4M +12k\b", wide)
    assert "3.4M" not in "\n".join(drawn(view, [], 140))
    assert "tokens in" not in "\n".join(drawn(sample_status.status(), [], 160))


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0"), (999, "999"), (1000, "1k"), (99_999, "99k"), (1_000_000, "1.0M"),
     (12_345_678, "12M"), (2_500_000_000, "2.5G")],
)  # fmt: skip
def test_amounts_are_short(count: int, shown: str) -> None:
    assert amount(count) == shown


@pytest.mark.parametrize(
    ("forecast", "said"),
    [
        ({"rate_per_hour": 0.2, "full_at": at(2400)}, ", used up in 40 min"),
        ({"rate_per_hour": 0.2, "full_at": None}, ", lasts until then"),
        ({"rate_per_hour": 0.0, "full_at": None}, ""),
        ({"rate_per_hour": 0.2, "full_at": at(-5)}, ""),
        (None, ""),
    ],
)
def test_a_window_says_how_long_it_lasts_at_the_rate_of_late(
    forecast: dict[str, Any] | None, said: str
) -> None:
    known = {**window(0.81, "allowed", at(7_400)), "read_at": at(-1)}
    work = account("work", quota={"5h": known}, forecast={"5h": forecast} if forecast else {})
    status = sample_status.status(accounts=[work])
    for width in (80, 160):
        (shown,) = (text for text in drawn(status, [], width) if "81%" in text)
        assert f"resets in 2 h 3 min{said}" in shown
        assert said or "2 h 3 min," not in shown


@pytest.mark.parametrize(
    ("seconds", "said", "colour"),
    [
        (60 * 86400, "certificate box, ::1, ends in 60 d", 2),
        (5 * 86400, "certificate box, ::1, ends in 5 d", 33),
        (-60, "certificate box, ::1, has expired", 31),
    ],
)
def test_the_certificate_is_shown_with_its_end(seconds: float, said: str, colour: int) -> None:
    tls = {"subject": "CN=box", "names": ["box", "::1"], "not_after": at(seconds), "error": None}
    lines = drawn(sample_status.status(tls=tls), [], 100, colours=True)
    (line,) = [line for line in lines if line.startswith("certificate")]
    assert re.sub(r"\x1b\[[0-9;]*m", "", line) == said
    assert f"\x1b[{colour}m" in line


def test_why_a_new_certificate_is_not_taken_is_shown() -> None:
    tls = {"subject": "CN=box", "names": [], "not_after": None, "error": "the key is another's"}
    lines = drawn(sample_status.status(tls=tls), [], 100)
    assert "certificate CN=box" in lines
    assert "new certificate not taken over: the key is another's" in lines


def one_key(name: str = "ci", **changes: Any) -> dict[str, Any]:
    used = {"requests_last_minute": 3, "tokens_last_minute": None, "cost_today": 0.5}
    shown = {
        "id": "1f0c9a2e", "name": name, "state": "valid", "owner": False, "expires": at(86400 * 9),
        "last_used": at(-120), "requests_per_minute": 60, "tokens_per_minute": 0,
        "budget_per_day": 5.0, "used": used,
    }  # fmt: skip
    return {**shown, **changes}


def test_keys_are_shown_with_what_they_have_spent() -> None:
    keys = [
        one_key(),
        one_key("me", owner=True, expires=None, last_used=None, requests_per_minute=0),
        one_key("former", state="revoked"),
    ]
    lines = drawn(sample_status.status(keys=keys), [], 100)
    place = lines.index("Keys  2 of 3 valid")
    assert lines[place + 1].split() == ["name", "expires", "last", "used", "limits"]
    assert lines[place + 2] == (
        "ci          in 9 d   2 min ago  3 of 60 requests/min, $0.50 of $5/day"
    )
    assert lines[place + 3].split() == ["me", "(owner)", "never", "never", "$0.50", "of", "$5/day"]
    assert not any(line.startswith("former") for line in lines)


def test_very_many_keys_do_not_push_the_rest_out_of_sight() -> None:
    lines = drawn(sample_status.status(keys=[one_key(f"k{n}") for n in range(50)]), [], 100)
    assert "Keys  50 of 50 valid; 30 more in `supervisor keys list`" in lines
    assert sum(line.startswith("k") for line in lines) == 20


def test_where_no_keys_are_asked_for_none_are_shown() -> None:
    assert not any(line.startswith("Keys") for line in drawn(sample_status.status(), [], 100))
    assert "Keys  there are none yet" in drawn(sample_status.status(keys=[]), [], 100)
