"""`supervisor reload`."""

from __future__ import annotations

import click

from supervisor import exit_codes
from supervisor.cli import running
from supervisor.cli.failure import Failure

_UNPROCESSABLE = 422


@click.command(short_help="Make the running instance read its configuration again.")
def reload() -> None:
    """Make the running instance read its configuration again.

    Requests in flight are not touched. A configuration with errors is refused whole and the old one
    goes on: every error is printed, and this ends with 78.
    """
    from supervisor.instance_client import NothingAnswers, Refused

    found = running.find()
    try:
        answer = found.post("/status/reload")
    except NothingAnswers as error:
        raise running.unanswered(error) from error
    except Refused as refusal:
        errors = _texts(refusal.body, "errors")
        if refusal.status != _UNPROCESSABLE:
            raise running.refused(refusal.status, refusal.message) from refusal
        raise Failure(
            exit_codes.CONFIGURATION,
            "the configuration has errors; the old one goes on",
            *(errors or [refusal.message]),
        ) from refusal
    click.echo("reloaded")
    keys = _texts(answer, "restart_needed")
    if keys:
        click.echo(f"takes effect after a restart only: {', '.join(keys)}")


def _texts(body: object, key: str) -> list[str]:
    """The list under `key`, each item as one line: text as it is, an object as `field: value`s."""
    items = body.get(key) if isinstance(body, dict) else None
    return [_line(item) for item in items] if isinstance(items, list) else []


def _line(item: object) -> str:
    if isinstance(item, dict):
        return ", ".join(f"{name}: {value}" for name, value in item.items())
    return str(item)
