"""`supervisor status`."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from protocol.request_line import escaped
from supervisor import exit_codes
from supervisor.cli import running
from supervisor.cli.failure import Failure

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

LAST_REQUESTS = 10
WATCH_SECONDS = 1.0

PIPED_COLUMNS = 160
"""Where no window limits the width, nothing is shortened to fit one."""


@click.command(short_help="Show accounts, quota, actors and the last requests.")
@click.option("--json", "as_json", is_flag=True, help="Print the instance's own answer as JSON.")
@click.option("--watch", is_flag=True, help="Show it again every second, until Ctrl-C.")
def status(as_json: bool, watch: bool) -> None:
    """Show the running instance: accounts, quota, actors and the last requests."""
    if as_json and watch:
        raise click.UsageError("--json and --watch exclude each other")
    if as_json:
        found = running.find()
        body = _asked(lambda: found.get("/status"))
        text = json.dumps(body, indent=2, ensure_ascii=sys.stdout.encoding != "utf-8")
        click.echo(escaped(text))
        return
    console = _console()
    picture = _picture(console)  # nothing there at the start is an error, also with --watch
    if not watch:
        _print(console, picture)
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
            _print(console, picture)
            click.echo()
            time.sleep(WATCH_SECONDS)
            picture = _picture_or_why_not(console)
    with Live(picture, console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(picture, refresh=True)
            time.sleep(WATCH_SECONDS)
            picture = _picture_or_why_not(console)


def _print(console: Console, picture: RenderableType) -> None:
    """Piped, without the blanks that rich fills each line with."""
    if console.is_terminal:
        console.print(picture)
        return
    with console.capture() as captured:
        console.print(picture)
    # Not click.echo, which would write UTF-8 to an output that says it wants ASCII.
    print(*(line.rstrip() for line in captured.get().splitlines()), sep="\n", flush=True)


def _picture_or_why_not(console: Console) -> RenderableType:
    from rich.text import Text

    try:
        return _picture(console)
    except Failure as failure:
        if failure.exit_code != exit_codes.NOTHING_ANSWERS:
            raise
        lines = (failure.message, *failure.what_to_do, "", "Still looking; Ctrl-C ends this.")
        return Text("\n".join(lines))


def _picture(console: Console) -> RenderableType:
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
    return status_table.render(
        view,
        requests[:LAST_REQUESTS],
        url=found.instance.url,
        width=console.width,
        now=datetime.now(UTC),
        ascii_only=console.options.ascii_only,
    )


def _asked(ask: Callable[[], object]) -> object:
    from supervisor.instance_client import NothingAnswers, Refused

    try:
        return ask()
    except NothingAnswers as error:
        raise running.unanswered(error) from error
    except Refused as refusal:
        raise running.refused(refusal.status, refusal.message) from refusal


def _console() -> Console:
    """On stdout; plain and wide when piped, and without a character that it can not print."""
    from rich.console import Console

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    free_width = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(highlight=False, width=PIPED_COLUMNS if free_width else None)
