"""`supervisor status`."""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from protocol.request_line import escaped
from supervisor import exit_codes
from supervisor.cli import running, screen
from supervisor.cli.exclusive import exclude_each_other
from supervisor.cli.failure import Failure
from supervisor.cli.manual import NEEDS_AN_INSTANCE, STATE_VARIABLE, Documented, Manual

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

LAST_REQUESTS = 10
WATCH_SECONDS = 1.0


_MANUAL = Manual(
    examples={
        "supervisor status": "Once.",
        "supervisor status --watch": "Again every second, until Ctrl-C.",
        "supervisor status --json | jq '.accounts[] | {name, state}'": "For programs: the answer of GET /status.",
    },
    exits={**NEEDS_AN_INSTANCE, exit_codes.FAILED: "it answered something else than a status"},
    environment={
        **STATE_VARIABLE,
        "SUPERVISOR_ACCESS_TOKEN": "access.token, where the configuration is not to be read from here",
        "NO_COLOR": "no colours",
    },
    see=("supervisor explain", "supervisor usage", "docs/operating.md#status"),
)


@click.command(
    short_help="Show accounts, quota, actors and the last requests.", cls=Documented, manual=_MANUAL
)
@click.option("--json", "as_json", is_flag=True, help="Print the instance's own answer as JSON.")
@click.option("--watch", is_flag=True, help="Show it again every second, until Ctrl-C.")
def status(as_json: bool, watch: bool) -> None:
    """Show the running instance: accounts, quota, actors and the last requests.

    Quota is shown as bars, with when each window is reset and, at the pace so far, when it will be
    used up. Parts that crashed are shown with the place. Piped, it is plain text.
    """
    if as_json and watch:
        raise exclude_each_other("--json", "--watch")
    if as_json:
        found = running.find()
        body = _asked(lambda: found.get("/status"))
        text = json.dumps(body, indent=2, ensure_ascii=sys.stdout.encoding != "utf-8")
        click.echo(escaped(text))
        return
    console = screen.console()
    watched = watch and console.is_terminal
    # Nothing there at the start is an error, also with --watch.
    picture = _picture(console, watched=watched)
    if not watch:
        screen.put(console, picture)
        return
    try:
        _watch(console, picture)
    except KeyboardInterrupt:
        return


def _watch(console: Console, picture: RenderableType) -> None:
    """Show a new picture every second. An instance that is gone may be back: keep looking."""
    from rich.live import Live

    if not console.is_terminal:
        while True:
            screen.put(console, picture)
            click.echo()
            time.sleep(WATCH_SECONDS)
            picture = _picture_or_why_not(console, watched=False)
    with Live(picture, console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(picture, refresh=True)
            time.sleep(WATCH_SECONDS)
            picture = _picture_or_why_not(console, watched=True)


def _picture_or_why_not(console: Console, *, watched: bool) -> RenderableType:
    from rich.text import Text

    try:
        return _picture(console, watched=watched)
    except Failure as failure:
        if failure.exit_code != exit_codes.NOTHING_ANSWERS:
            raise
        lines = (failure.message, *failure.what_to_do, "", "Still looking; Ctrl-C ends this.")
        return Text("\n".join(lines))


def _picture(console: Console, *, watched: bool = False) -> RenderableType:
    """`watched`: on a screen that cannot be scrolled, so it should fit."""
    import msgspec

    from supervisor.cli import status_table, status_view

    found = running.find()
    body = _asked(lambda: found.get("/status"))
    last = _asked(lambda: found.get(f"/status/requests?limit={LAST_REQUESTS}"))
    try:
        view = status_view.status_view(body)
        requests = status_view.requests_view(last)
    except msgspec.ValidationError as error:
        raise Failure(
            exit_codes.FAILED,
            f"the running instance answers in a form unknown here: {error}",
            "it is of another version, most likely: `supervisor status --json` shows its answer.",
        ) from error
    drawn = functools.partial(
        status_table.render,
        view,
        requests[:LAST_REQUESTS],
        url=found.instance.url,
        width=console.width,
        now=datetime.now(UTC),
        ascii_only=console.options.ascii_only,
    )
    picture = drawn()
    if watched and len(console.render_lines(picture, pad=False)) > console.height:
        return drawn(brief=True)
    return picture


def _asked(ask: Callable[[], object]) -> object:
    from supervisor.instance_client import NothingAnswers, Refused

    try:
        return ask()
    except NothingAnswers as error:
        raise running.unanswered(error) from error
    except Refused as refusal:
        raise running.refused(refusal.status, refusal.message) from refusal
