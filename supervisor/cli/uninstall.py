"""`supervisor uninstall`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from supervisor import exit_codes
from supervisor.cli import running
from supervisor.cli.client import tell
from supervisor.cli.failure import Failure
from supervisor.cli.manual import PLACE_VARIABLES, Documented, Manual
from supervisor.cli.service import take_away

if TYPE_CHECKING:
    from supervisor.service.keeping import ServiceKeeper


_MANUAL = Manual(
    examples={
        "supervisor uninstall && pipx uninstall llm-supervisor": "The service and the settings, then the program.",
        "supervisor uninstall --purge": "Also state, logs, accounts and the configuration; asks first.",
        "supervisor uninstall --purge --yes": "The same without a question.",
    },
    exits={
        exit_codes.FAILED: "something is left; it is named",
        exit_codes.PERMISSION: "a file may not be removed",
    },
    files={
        "config.toml": "removed by --purge",
        "the state directory": "removed by --purge, as far as its files are ours",
    },
    environment=PLACE_VARIABLES,
    see=("supervisor service uninstall", "supervisor client restore", "docs/install.md"),
)


@click.command(
    short_help="Remove the service, put every client back; --purge: everything.",
    cls=Documented,
    manual=_MANUAL,
)
@click.option("--purge", is_flag=True, help="Also remove the state directory's files and the "
              "configuration file.")  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask.")
def uninstall(purge: bool, yes: bool) -> None:
    """Stop and remove the service, and put every client's settings back as they were. The program
    itself is removed by whatever installed it.

    --purge also removes state, logs, accounts and the configuration file; it asks first.
    """
    if purge:
        _confirm(yes)
    keeper = _service()
    if keeper is not None and keeper.state().active is not False:
        take_away(keeper)  # the instance that runs is its own
        keeper = None
    _nobody_runs()
    if keeper is not None:
        take_away(keeper)

    from supervisor.client_settings import restore_whole

    tell(restore_whole(running.state_directory()), nothing="no client's settings are changed")
    if purge:
        _purge()


def _service() -> ServiceKeeper | None:
    """The service manager, if there is a service of ours."""
    from supervisor.service.keeping import NoKeeper, keeper_of

    try:
        keeper = keeper_of(os.environ)
    except NoKeeper:
        return None
    return keeper if keeper.installed() else None


def _nobody_runs() -> None:
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
    places += [str(path) for path in _environment_file()]
    click.confirm(f"Remove {' and '.join(places)}?", abort=True, err=True)


def _environment_file() -> list[Path]:
    from supervisor.plain_files import is_there
    from supervisor.service.description import environment_file

    return [path for path in (environment_file(),) if is_there(path)]


def _purge() -> None:
    from supervisor.purge import purge

    removed, kept = purge(running.state_directory(), os.environ)
    for path in removed:
        click.echo(f"removed {path}")
    for path, reason in kept:
        click.echo(f"supervisor: {path} is left: {reason}", err=True)
    if kept:
        click.echo("  remove it by hand, or make it yours and try again.", err=True)
        sys.exit(exit_codes.FAILED)
