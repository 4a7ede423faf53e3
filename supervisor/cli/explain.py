"""`supervisor explain`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from urllib.parse import quote

import click

from supervisor import exit_codes
from supervisor.cli import running
from supervisor.cli.failure import Failure
from supervisor.cli.known_names import request_ids
from supervisor.cli.log_place import log_directory, not_readable
from supervisor.cli.manual import NEEDS_A_CONFIGURATION, PLACE_VARIABLES, Documented, Manual

_NOT_FOUND = 404
_MEMORY = "the reasons were only in memory, of the last 1000 requests of a running instance"

_MANUAL = Manual(
    examples={
        "supervisor explain 3f8a41d09c2b4f": "Who served this request, why, and what it cost.",
        "supervisor explain 3f8a41d09c2b4f --json": "For programs.",
    },
    exits={
        exit_codes.FAILED: "nobody knows a request of this id",
        **NEEDS_A_CONFIGURATION,
    },
    files={"logs/": "asked where the running instance does not know the request any more"},
    environment=PLACE_VARIABLES,
    see=("supervisor logs", "docs/operating.md#why-a-request-went-where-it-went"),
)


@click.command(short_help="Say why a request went where it went.", cls=Documented, manual=_MANUAL)
@click.argument("request_id", shell_complete=request_ids)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The logs of this directory, instead of the configured one.",
)
def explain(request_id: str, as_json: bool, directory: Path | None) -> None:
    """Say of one request who could have served it, who did and why, every attempt, where the time
    went, and what it cost.

    The running instance is asked. Where it does not know the request any more, or nothing runs, this
    shows what the request log and the debug log say of it.

    The id is in the answer's x-supervisor-request-id, and at the end of each line of `supervisor logs`.
    """
    told, why_not = _from_the_instance(request_id) if directory is None else (None, _MEMORY)
    if told is None:
        _from_the_logs(request_id, why_not, as_json, directory)
    elif as_json:
        click.echo(json.dumps(told, indent=2, ensure_ascii=sys.stdout.encoding != "utf-8"))
    else:
        from supervisor.cli.explain_text import explanation

        for line in explanation(told):
            click.echo(line)


def _from_the_instance(request_id: str) -> tuple[object, str]:
    """Its answer, or None and why there is none."""
    from supervisor.instance_client import NothingAnswers, Refused

    try:
        return running.find().get(f"/status/requests/{quote(os.fsencode(request_id), safe='')}"), ""
    except NothingAnswers as error:
        return None, f"the instance does not answer ({error}); {_MEMORY}"
    except Refused as refusal:
        if refusal.status != _NOT_FOUND:
            raise running.refused(refusal.status, refusal.message) from refusal
        return None, f"the running instance does not know this request any more; {_MEMORY}"
    except Failure as failure:
        if failure.exit_code != exit_codes.NOTHING_ANSWERS:
            raise
        return None, f"nothing is running; {_MEMORY}"


def _from_the_logs(request_id: str, why_not: str, as_json: bool, directory: Path | None) -> None:
    import msgspec

    from supervisor.cli.explain_text import attempt_in_words, summary
    from supervisor.cli.log_search import attempts_of, line_of

    place = log_directory(directory)
    try:
        line, attempts = line_of(place, request_id), attempts_of(place, request_id)
    except OSError as error:
        raise not_readable(place, error) from error
    if line is None and not attempts:
        raise Failure(
            exit_codes.FAILED,
            f"there is no request {request_id[:128]!r}: {why_not}, and the logs in {place} lack it",
            "`supervisor logs` shows the last requests with their ids;",
            "logs are kept for logs.keep_days.",
        )
    if as_json:
        document = msgspec.to_builtins(line) if line is not None else {"request_id": request_id}
        document |= {"explanation": None, "attempts_logged": msgspec.to_builtins(attempts)}
        click.echo(json.dumps({**document, "note": why_not}, indent=2))
        return
    for text in summary(line) if line is not None else ():
        click.echo(text)
    if attempts:
        click.echo("\nAttempts, from the debug log")
        for attempt in attempts:
            click.echo(f"  {attempt_in_words(attempt)}")
    click.echo(f"\nFrom the logs alone: {why_not}.")
