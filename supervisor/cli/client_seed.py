"""`supervisor client seed-models`."""

from __future__ import annotations

import os
import time

import click

from supervisor import exit_codes
from supervisor.cli import running
from supervisor.cli.failure import Failure
from supervisor.cli.manual import NEEDS_AN_INSTANCE, Documented, Manual
from supervisor.cli.wording import counted

_MANUAL = Manual(
    examples={
        "supervisor client seed-models": "For sessions that start from now on.",
        "supervisor client seed-models --base-url http://box.local:4080": "Where Claude Code uses another name for it.",
    },
    exits=NEEDS_AN_INSTANCE,
    see=("docs/providers.md#one-list-of-models",),
)


@click.command(
    "seed-models", short_help="Fill Claude Code's model picker.", cls=Documented, manual=_MANUAL
)
@click.option(
    "--base-url",
    default="",
    metavar="URL",
    help="The base URL that Claude Code uses, if it is not the instance's own.",
)
def seed_models(base_url: str) -> None:
    """Write the models of the providers, and the aliases, into Claude Code's model picker.

    Needed where Claude Code has a login of its own: then it does not ask for models. Sessions that
    start from then on show them.
    """
    from supervisor import picker
    from supervisor.environment_accounts import claude_code_directory
    from supervisor.instance_client import NothingAnswers, Refused

    found = running.find()
    try:
        answer = found.get("/status/models")
    except NothingAnswers as error:
        raise running.unanswered(error) from error
    except Refused as refusal:
        raise running.refused(refusal.status, refusal.message) from refusal
    models = answer.get("models") if isinstance(answer, dict) else None
    if not isinstance(models, list):
        raise Failure(
            exit_codes.FAILED,
            "the running instance answers in a form unknown here",
            "it is of another version: `supervisor stop`, then `supervisor run`.",
        )
    directory = claude_code_directory(os.environ)
    try:
        count = picker.seed(
            directory,
            base_url or found.instance.url,
            [model for model in models if isinstance(model, dict)],
            time.time(),
        )
    except OSError as error:
        raise Failure(
            exit_codes.PERMISSION,
            f"{directory / picker.CACHE} cannot be written: {error.strerror or error}",
            "set CLAUDE_CONFIG_DIR where Claude Code keeps its configuration elsewhere.",
        ) from error
    click.echo(f"{directory / picker.CACHE} has {counted(count, 'model')}")
