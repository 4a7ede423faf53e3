"""`supervisor service ...`: the service that keeps the program running."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from supervisor import exit_codes
from supervisor.cli import running, service_manual
from supervisor.cli.failure import Failure
from supervisor.cli.manual import DocumentedGroup
from supervisor.cli.service_place import describe, find_keeper, lacking, not_written

if TYPE_CHECKING:
    from supervisor.service.keeping import ServiceKeeper

_Command = TypeVar("_Command", bound=Callable[..., object])


@click.group(
    short_help="Keep it running: a service of your user.",
    cls=DocumentedGroup,
    manual=service_manual.SERVICE,
)
def service() -> None:
    """A service of your user: started at login, restarted after a failure.

    On Linux it is a systemd user unit, on macOS a launchd agent. It runs as you, with your files,
    and needs no administrator.
    """


def _described(command: _Command) -> _Command:
    """The options that say what the service runs."""
    for option in (
        click.option(
            "--socket/--no-socket",
            default=None,
            help="systemd holds the port: clients wait while the service is restarted.",
        ),
        click.option(
            "--config",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="The configuration file, if it is not in its usual place.",
        ),
        click.option(
            "--port", type=click.IntRange(1, 65535), metavar="PORT", help="Instead of server.port."
        ),
    ):
        command = option(command)
    return command


@service.command(
    "print", short_help="Show the files that `install` would write.", manual=service_manual.PRINT
)
@_described
def print_(port: int | None, config: Path | None, socket: bool | None) -> None:
    """Show the files that `install` would write, and write nothing."""
    description = describe(port, config)
    if sys.platform == "win32":
        from supervisor.service.task import task

        click.echo(task(description))
        return
    keeper = find_keeper(socket)
    for path, content in keeper.files(description).items():
        click.echo(f"{path}:", err=True)  # beside, so that the output is the file
        click.echo(content, nl=False)


@service.command(
    short_help="Write the service, and start it now and at every login.",
    manual=service_manual.INSTALL,
)
@_described
@click.option("--start/--no-start", default=True, help="Start it now, too.")
def install(port: int | None, config: Path | None, socket: bool | None, start: bool) -> None:
    """Write the service's files, and start it now and at every login. A second time it brings the
    files up to date.

    Variables of this shell that it needs are written down with it; secrets are not, for others can
    read such files. Store a key with `supervisor auth add`, or put NAME=value into the file that
    is named then.
    """
    put_in_place(port=port, config=config, socket=socket, start=start)


def put_in_place(
    *,
    port: int | None = None,
    config: Path | None = None,
    socket: bool | None = None,
    start: bool = True,
) -> None:
    """What `install` does. Raises Failure."""
    from supervisor.service.commands import CommandFailed
    from supervisor.service.keeping import NotOurs, write

    description = describe(port, config)
    keeper = find_keeper(socket)
    try:
        changed = write(keeper, description)
    except (NotOurs, OSError) as reason:
        raise not_written(keeper, reason) from reason
    for path in changed:
        click.echo(f"{'wrote' if path.exists() else 'removed'} {path}")
    if not changed:
        click.echo(f"{keeper.path} is up to date")
    for warning in lacking(keeper, description, port, config):
        click.echo(f"warning: {warning}", err=True)
    free = not start or _is_free(keeper)
    try:
        if changed or not (start and keeper.state().active):
            keeper.take_over(start=start and free)
    except CommandFailed as failure:
        raise Failure(
            exit_codes.FAILED,
            f"the file is written, but {failure}",
            *keeper.by_hand(start=start),
        ) from failure
    if start and free:
        click.echo(f"the service runs: {keeper.state().words}")
        for hint in keeper.hints():
            click.echo(f"  {hint}")
    elif not free:
        raise Failure(
            exit_codes.TAKEN,
            "the service is installed, but not started: an instance runs already",
            "end that one with `supervisor stop`, then `supervisor service start`.",
        )


def _is_free(keeper: ServiceKeeper) -> bool:
    """Nobody but the service itself has this state directory."""
    from supervisor import instance

    try:
        return bool(keeper.state().active) or not instance.held(running.state_directory())
    except instance.StateDirectoryUnusable as error:
        raise running.unusable(error) from error


@service.command(short_help="Stop the service, and remove it.", manual=service_manual.UNINSTALL)
def uninstall() -> None:
    """Stop the service, and remove its files. State, configuration and accounts stay."""
    keeper = find_keeper(None)
    if not keeper.installed():
        click.echo("there is no service installed")
        return
    take_away(keeper)


def take_away(keeper: ServiceKeeper) -> None:
    """Stops and removes it. Raises Failure where a file is left, or it may still run."""
    from supervisor.service.keeping import NotOurs, remove

    try:
        removed, failed = remove(keeper)
    except (NotOurs, OSError) as reason:
        raise not_written(keeper, reason) from reason
    for path in removed:
        click.echo(f"removed {path}")
    if failed:
        click.echo(f"supervisor: {failed[0]}", err=True)
        click.echo(
            "  the files are gone; if it still runs, end it with `supervisor stop`.", err=True
        )


@service.command(short_help="Start the service.", manual=service_manual.START)
def start() -> None:
    """Start the service, and wait until it serves."""
    keeper = _installed()
    _do(keeper.start, "see `supervisor service status`, and its log.")
    click.echo(f"the service runs: {keeper.state().words}")


@service.command(short_help="Stop the service, until the next login.", manual=service_manual.STOP)
def stop() -> None:
    """Stop the service when its streams have ended. It starts again at the next login; `uninstall`
    ends that."""
    keeper = _installed()
    _do(keeper.stop, "end it with `supervisor stop`.")
    click.echo("the service is stopped")


def _do(action: Callable[[], None], advice: str) -> None:
    from supervisor.service.commands import CommandFailed

    try:
        action()
    except CommandFailed as failure:
        raise Failure(exit_codes.FAILED, str(failure), advice) from failure


@service.command(short_help="Say whether it is installed, and runs.", manual=service_manual.STATUS)
def status() -> None:
    """Say whether the service is installed, and runs, and where its log is."""
    keeper = find_keeper(None)
    if not keeper.installed():
        raise Failure(
            exit_codes.FAILED,
            f"there is no service installed ({keeper.path})",
            "install it with `supervisor service install`.",
        )
    state = keeper.state()
    click.echo(f"{keeper.title}: {keeper.path}")
    click.echo(f"  {state.words}")
    found = _instance()
    if found is not None:
        click.echo(f"  an instance answers at {found.instance.url} (pid {found.instance.pid})")
    for hint in keeper.hints():
        click.echo(f"  {hint}")
    if not state.active:
        raise Failure(
            exit_codes.NOTHING_ANSWERS,
            "the service does not run" if state.active is False else state.words,
            *(
                ("an instance runs all the same: it was started in another way.",)
                if found is not None
                else ("start it with `supervisor service start`.",)
            ),
        )


def _instance() -> running.RunningInstance | None:
    from supervisor.cli.auth_place import runs

    return runs()


def _installed() -> ServiceKeeper:
    keeper = find_keeper(None)
    if not keeper.installed():
        raise Failure(
            exit_codes.FAILED,
            "there is no service installed",
            "install it with `supervisor service install`.",
        )
    return keeper
