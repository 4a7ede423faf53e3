"""`supervisor reload`."""

from __future__ import annotations

import click

from supervisor import exit_codes
from supervisor.cli import running
from supervisor.cli.failure import Failure
from supervisor.cli.manual import NEEDS_AN_INSTANCE, STATE_VARIABLE, Documented, Manual

_UNPROCESSABLE = 422


_MANUAL = Manual(
    examples={
        "supervisor reload": "Take the file over now, and hear of every error in it.",
        "supervisor check && supervisor reload": "Look at it first.",
    },
    exits={
        **NEEDS_AN_INSTANCE,
        exit_codes.FAILED: "the running instance could not do it; its log says more",
        exit_codes.CONFIGURATION: "the configuration has errors; the old one goes on",
    },
    environment=STATE_VARIABLE,
    see=("supervisor check", "docs/configuration.md#errors"),
)


@click.command(
    short_help="Make the running instance read its configuration again.",
    cls=Documented,
    manual=_MANUAL,
)
def reload() -> None:
    """Make the running instance read its configuration again.

    A changed file is noticed within two seconds without it; this says at once what became of it.
    Requests in flight are not touched. A configuration with errors is refused whole, every error is
    printed, and the old one goes on. Keys that only a restart can apply are named.
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
