"""`supervisor logs`."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from supervisor import exit_codes
from supervisor.cli import running
from supervisor.cli.failure import Failure
from supervisor.cli.known_names import account_names, request_ids
from supervisor.cli.log_place import log_directory, not_readable
from supervisor.cli.manual import NEEDS_A_CONFIGURATION, PLACE_VARIABLES, Documented, Manual

if TYPE_CHECKING:
    from supervisor.log_files import Follower

LINES = 20
POLL_SECONDS = 0.25
LOOK_SECONDS = 2.0
"""Between looks whether the instance is still there."""

_MANUAL = Manual(
    examples={
        "supervisor logs": "The last twenty requests.",
        "supervisor logs -f": "And each new one, until Ctrl-C.",
        "supervisor logs -f --account work": "Those that this account (or provider) served.",
        "supervisor logs --request 3f8a41d09c2b4f": "One request, with its attempts in the debug log.",
        "supervisor logs -n 1000 --json | jq .": "The lines as they are written.",
    },
    exits={
        exit_codes.FAILED: "there are no logs, or they cannot be read",
        exit_codes.NOTHING_ANSWERS: "-f: nothing runs, or it has gone",
        **NEEDS_A_CONFIGURATION,
    },
    files={
        "logs/requests-*.jsonl": "in the state directory, or in logs.directory",
        "logs/debug-*.jsonl": "attempts, where logs.level is debug",
    },
    environment=PLACE_VARIABLES,
    see=("supervisor explain", "docs/operating.md#logs", "docs/operating.md#looking-at-requests"),
)


@click.command(short_help="Show the last requests, or follow them.", cls=Documented, manual=_MANUAL)
@click.option("-f", "--follow", is_flag=True, help="Go on with each new request, until Ctrl-C.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(min=0),
    default=LINES,
    show_default=True,
    metavar="NUMBER",
    help="How many of the last ones.",
)
@click.option(
    "--request",
    "request_id",
    metavar="ID",
    shell_complete=request_ids,
    help="Only the request of this id.",
)
@click.option(
    "--account",
    metavar="NAME",
    shell_complete=account_names,
    help="Only what this account or provider served.",
)
@click.option("--json", "as_json", is_flag=True, help="The lines as they are in the file.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The logs of this directory, instead of the configured one.",
)
def logs(
    follow: bool,
    lines: int,
    request_id: str | None,
    account: str | None,
    as_json: bool,
    directory: Path | None,
) -> None:
    """Show the last lines of the request log, oldest first.

    It reads the files alone; only -f needs a running instance, and ends with 69 when there is none
    or it goes.
    """
    if follow:
        running.find()
    place = log_directory(directory)
    show = _shower(request_id, account, as_json)
    try:
        from supervisor.log_files import Follower

        follower = Follower(place, "requests") if follow else None
        last = _last(place, lines, request_id, account)
        for line in last:
            show(line)
        if not (last or follow or as_json) and lines:
            click.echo(_nothing(place, request_id, account), err=True)
        if request_id is not None and not as_json:
            _attempts(place, request_id)
        if follower is not None:
            _follow(follower, show, frozenset(last))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise not_readable(place, error) from error
    except KeyboardInterrupt:
        return


def _nothing(place: Path, request_id: str | None, account: str | None) -> str:
    """What is said in place of lines."""
    if request_id is None and account is None:
        return f"no requests yet in {place}"
    from supervisor.cli.wording import printable

    wanted = f"request {request_id!r}" if request_id is not None else f"line of {account!r}"
    return f"no {printable(wanted)} in {place}; `supervisor logs` shows the last requests"


def _shower(request_id: str | None, account: str | None, as_json: bool) -> Callable[[bytes], None]:
    from supervisor.cli.log_line import in_words, request_line

    def show(line: bytes) -> None:
        if not _wanted(line, request_id, account):
            return
        told = request_line(line)
        if as_json:
            click.echo(line)
        elif told is not None:
            click.echo(in_words(told))

    return show


def _last(place: Path, lines: int, request_id: str | None, account: str | None) -> list[bytes]:
    """The last `lines` of all files that are wanted, the oldest first."""
    from supervisor.log_files import backwards, log_files

    found: deque[bytes] = deque()
    needle = os.fsencode(request_id or account or "")
    for path in reversed(log_files(place, "requests")):
        for line in backwards(path, needle):
            if len(found) >= lines:
                return list(found)
            if _wanted(line, request_id, account):
                found.appendleft(line)
    return list(found)


def _wanted(line: bytes, request_id: str | None, account: str | None) -> bool:
    if request_id is None and account is None:
        return True
    from supervisor.cli.log_line import request_line

    told = request_line(line)
    return (
        told is not None
        and request_id in (None, told.request_id)
        and account in (None, told.account, told.provider)
    )


def _attempts(place: Path, request_id: str) -> None:
    from supervisor.cli.explain_text import attempt_in_words
    from supervisor.cli.log_search import attempts_of

    for attempt in attempts_of(place, request_id):
        click.echo(f"  {attempt_in_words(attempt)}")


def _follow(follower: Follower, show: Callable[[bytes], None], shown: frozenset[bytes]) -> None:
    """Returns never: the user ends it, or the end of the instance does. `shown` were there already,
    when the follower had begun."""
    from supervisor import instance

    state = running.state_directory()
    look_at = time.monotonic() + LOOK_SECONDS
    gone = False
    while True:
        for line in follower.poll():
            if line not in shown:
                show(line)
        shown = frozenset()
        if gone:
            raise Failure(
                exit_codes.NOTHING_ANSWERS,
                "the instance has stopped; these were its last lines",
                "start it again with `supervisor run`.",
            )
        if time.monotonic() >= look_at:
            look_at = time.monotonic() + LOOK_SECONDS
            try:
                gone = not instance.held(state)
            except instance.StateDirectoryUnusable as error:
                raise running.unusable(error) from error
        if not gone:
            time.sleep(POLL_SECONDS)
