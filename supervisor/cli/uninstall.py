"""`supervisor uninstall`."""

from __future__ import annotations

import os
import sys

import click

from supervisor import exit_codes
from supervisor.cli import running
from supervisor.cli.client import tell
from supervisor.cli.failure import Failure


@click.command(short_help="Put every client back; --purge: remove state and configuration too.")
@click.option("--purge", is_flag=True, help="Also remove the state directory's files and the "
              "configuration file.")  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask.")
def uninstall(purge: bool, yes: bool) -> None:
    """Put every client's settings back as they were. The program itself is removed by whatever
    installed it.

    --purge also removes state, logs and the configuration file; it asks first.
    """
    from supervisor import instance

    directory = running.state_directory()
    try:
        if instance.held(directory):
            raise Failure(
                exit_codes.FAILED,
                f"an instance is running (state directory {directory})",
                "end it with `supervisor stop`, then try again.",
            )
    except instance.StateDirectoryUnusable as error:
        raise running.unusable(error) from error
    if purge:
        _confirm(yes)

    from supervisor.client_settings import restore_whole

    tell(restore_whole(directory), nothing="no client's settings are changed")
    if purge:
        _purge()


def _confirm(yes: bool) -> None:
    from supervisor import configuration

    if yes:
        return
    if not sys.stdin.isatty():
        raise Failure(
            exit_codes.USAGE,
            "--purge removes configuration and credentials, and there is nobody to ask",
            "say --yes as well.",
        )
    places = [str(running.state_directory())]
    config = configuration.find_file(None, os.environ)
    places += [str(config)] if config else []
    click.confirm(f"Remove {' and '.join(places)}?", abort=True, err=True)


def _purge() -> None:
    from supervisor.purge import purge

    removed, kept = purge(running.state_directory(), os.environ)
    for path in removed:
        click.echo(f"removed {path}")
    for path, reason in kept:
        click.echo(f"supervisor: {path} is left: {reason}", err=True)
    if kept:
        sys.exit(exit_codes.FAILED)
