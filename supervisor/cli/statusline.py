"""`supervisor statusline`: one line with quota, for Claude Code's status line.

Claude Code runs it after every message and shows what it prints. So it is quick, it never fails, and
what it cannot find out it leaves out.
"""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from supervisor import exit_codes
from supervisor.cli import running
from supervisor.cli.manual import STATE_VARIABLE, Documented, Manual

if TYPE_CHECKING:
    from supervisor.cli.status_view import AccountView, RequestView, StatusView

ANSWER_SECONDS = 0.2
"""For the running instance; what is known without it is shown then."""
INPUT_SECONDS = 0.2
INPUT_BYTES_MAX = 1024 * 1024

ACCOUNTS_SHOWN = 3
WINDOWS_SHOWN = 3
REQUESTS_LOOKED_AT = 100
NEARLY_USED_UP = 90
GETTING_USED_UP = 75

NOTHING_KNOWN = "llm-supervisor: no quota known yet"
NOTHING_RUNS = "llm-supervisor is not running"
NO_ANSWER = "llm-supervisor does not answer"

_RED, _YELLOW, _GREEN, _DIM = "31", "33", "32", "2"
_WINDOW_ORDER = {name: place for place, name in enumerate(("5h", "7d", "overage"))}

T = TypeVar("T")


_MANUAL = Manual(
    examples={
        "echo '{}' | supervisor statusline": "See the line by hand.",
        "supervisor statusline < /dev/null": "The same: no session is said.",
    },
    exits={exit_codes.STOPPED_AS_ASKED: "always, whatever happened"},
    files={
        "usage-status.md": "read where no instance answers; in Claude Code's configuration directory"
    },
    environment={"NO_COLOR": "no colours", **STATE_VARIABLE},
    see=("supervisor status", "docs/operating.md#quota-in-a-status-bar"),
)


@click.command(
    short_help="Print one line with quota, for Claude Code's status line.",
    cls=Documented,
    manual=_MANUAL,
)
def statusline() -> None:
    """Print one line with quota, for Claude Code's status line.

    It reads what Claude Code says of the session on stdin, asks the running instance, and falls back to
    the usage file. In Claude Code's settings:

    \b
      "statusLine": {"type": "command", "command": "supervisor statusline"}
    """
    colour = not os.environ.get("NO_COLOR")
    try:
        line = _line(_session(_within(INPUT_SECONDS, _read_input) or b""), colour=colour)
    except Exception:  # noqa: BLE001 - a traceback in a status line helps nobody
        line = _unanswered()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        print(line, flush=True)
    except OSError:
        # Claude Code does not wait for a slow one. The interpreter's last flush must not fail too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _line(session: str | None, *, colour: bool) -> str:
    from supervisor import instance, instance_client  # noqa: F401 - before the clock runs
    from supervisor.cli import status_view

    asked = _within(ANSWER_SECONDS, _ask_instance)
    if asked is not None:
        status = status_view.status_view(asked[0])
        return render(
            status,
            status_view.requests_view(asked[1]),
            session=session,
            now=datetime.now(UTC),
            colour=colour,
        )
    return _from_file() or _unanswered()


def render(
    status: StatusView,
    requests: Sequence[RequestView],
    *,
    session: str | None,
    now: datetime,
    colour: bool,
) -> str:
    """The line. First the account that served `session` last, else the one that would be next."""
    first = next((r.account for r in requests if session and r.session == session), None)
    accounts = _in_order(status, first or status.nextAccount)
    pool = status.mode != "passthrough"
    named = pool and len(accounts) > 1
    if not pool:
        accounts = accounts[:1]  # the others are other people's, or this one's past
    shown = [
        text
        for account in accounts[:ACCOUNTS_SHOWN]
        if (text := _account(account, named=named, now=now, colour=colour))
    ]
    more = len(accounts) - ACCOUNTS_SHOWN
    if shown and more > 0:
        shown.append(_in_colour(f"+{more}", _DIM, colour=colour))
    return " | ".join(shown) or NOTHING_KNOWN


def _in_order(status: StatusView, first: str | None) -> list[AccountView]:
    accounts = list(status.accounts)
    if status.mode == "passthrough":
        accounts.sort(key=lambda account: account.last_request_at or "", reverse=True)
    return sorted(accounts, key=lambda account: account.name != first)


def _account(account: AccountView, *, named: bool, now: datetime, colour: bool) -> str:
    from supervisor.cli.wording import printable, remaining

    parts = [printable(account.name)] if named else []
    if account.state not in ("", "available"):
        ends = [remaining(c.until, now) for c in account.cooldowns if c.scope in ("", "account")]
        state = " ".join([account.state.replace("_", " "), *ends[:1]])
        parts.append(_in_colour(printable(state), _YELLOW, colour=colour))
    names = sorted(account.quota, key=lambda name: (_WINDOW_ORDER.get(name, 99), name))
    windows = [_window(account, name, now=now, colour=colour) for name in names]
    parts += [text for text in windows if text][:WINDOWS_SHOWN]
    return " ".join(parts) if len(parts) > named else ""


def _window(account: AccountView, name: str, *, now: datetime, colour: bool) -> str:
    from protocol.usage_file import percent
    from supervisor.cli.wording import printable, remaining

    window, ahead = account.quota[name], account.forecast.get(name)
    if window.utilization is None:
        return ""
    used = percent(max(window.utilization, 0.0))
    code = _RED if used >= NEARLY_USED_UP else _YELLOW if used >= GETTING_USED_UP else _GREEN
    warns = "!" if "warning" in (window.status or "") else ""
    left = remaining(ahead.full_at, now) if ahead else ""
    ends = f" (full in {left})" if left else ""
    return f"{printable(name)} {_in_colour(f'{used}%{warns}', code, colour=colour)}{ends}"


def _in_colour(text: str, code: str, *, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour else text


def _ask_instance() -> tuple[object, object]:
    """`/status` and the last requests. Raises what `running` does."""
    found = running.find()
    return found.get("/status"), found.get(f"/status/requests?limit={REQUESTS_LOOKED_AT}")


def _unanswered() -> str:
    """Why nothing is known. One that is busy is not one that is not there."""
    from supervisor import instance

    try:
        return NO_ANSWER if instance.held(running.state_directory()) else NOTHING_RUNS
    except Exception:  # noqa: BLE001 - a traceback in a status line helps nobody
        return NOTHING_RUNS


def _from_file() -> str:
    """What the usage file says, its lines in one; "" where there is none."""
    from supervisor.cli.wording import printable
    from supervisor.plain_files import read_plain

    place = _usage_file()
    if place is None:
        return ""
    try:
        content = read_plain(str(place), at_most=INPUT_BYTES_MAX) or b""
    except OSError:
        return ""
    text = content.decode("utf-8", "replace")
    lines = [printable(line.strip()) for line in text.splitlines() if line.strip()]
    more = [f"+{len(lines) - ACCOUNTS_SHOWN}"] if len(lines) > ACCOUNTS_SHOWN else []
    return " | ".join([*lines[:ACCOUNTS_SHOWN], *more])


def _usage_file() -> Path | None:
    from protocol.config import Config, ConfigInvalid
    from supervisor import configuration
    from supervisor.usage_places import usage_places

    try:
        config = configuration.load(None, overrides={}, environ=os.environ).config
    except (ConfigInvalid, OSError):
        config = Config()
    return usage_places(config, os.environ).main


def _read_input() -> bytes:
    if sys.stdin is None or sys.stdin.isatty():
        return b""
    return sys.stdin.buffer.read(INPUT_BYTES_MAX)


def _session(given: bytes) -> str | None:
    """The session's id in what Claude Code says; None where it says something else."""
    try:
        document = json.loads(given)
    except (ValueError, RecursionError):
        return None
    session = document.get("session_id") if isinstance(document, dict) else None
    return session if isinstance(session, str) else None


def _within(seconds: float, work: Callable[[], T]) -> T | None:
    """What `work` gives within `seconds`, else None; then nobody waits for it any more."""
    given: list[T] = []

    def keep() -> None:
        try:
            given.append(work())
        except Exception:  # noqa: BLE001 - nothing known, as when it takes too long
            return

    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    thread.join(seconds)
    return given[0] if given else None
