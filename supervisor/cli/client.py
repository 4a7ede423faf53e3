"""`supervisor client apply`, `client restore`, `client show`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from supervisor import exit_codes
from supervisor.cli import running
from supervisor.cli.client_seed import seed_models
from supervisor.cli.failure import Failure

if TYPE_CHECKING:
    from supervisor.client_settings import Restored


@click.group(short_help="Claude Code's settings, by hand.")
def client() -> None:
    """Point Claude Code's settings at the running instance, put them back, or show them.

    `supervisor run` does this by itself, unless client.manage is false or --no-client is given.
    """


@client.command(short_help="Point Claude Code at the running instance.")
def apply() -> None:
    """Point Claude Code's settings at the running instance.

    The instance puts them back when it stops. Ends with 1 where no file could be pointed.
    """
    point(running.find())


def point(found: running.RunningInstance) -> None:
    """Points Claude Code's settings at it, and says so. Raises Failure."""
    from supervisor.client_side import ClientSide
    from supervisor.token_store import stored_names

    config = running.configuration_of(found.instance)
    if config is None:
        raise Failure(
            exit_codes.CONFIGURATION,
            "the configuration does not load",
            "see `supervisor check`; nothing was changed.",
        )
    directory = running.state_directory()
    pool = bool(config.accounts or stored_names(directory)[0])
    side = ClientSide(lambda: config, found.instance, directory, os.environ, pool=lambda: pool)
    plan = side.plan_by_hand()
    if plan.blocked:
        raise Failure(exit_codes.FAILED, f"nothing was changed: {plan.blocked}")
    done = side.point_now(plan)
    for file in done:
        if file.did == "pointed":
            note = f" ({file.reason})" if file.reason else ""
            click.echo(f"{file.path} points at {found.instance.url}{note}")
            click.echo(f"  keys set: {', '.join(file.keys)}")
    if not any(file.did == "pointed" for file in done):
        raise Failure(exit_codes.FAILED, "nothing was changed", *(file.reason for file in done))
    click.echo("undo it with `supervisor client restore`; a stop of the instance does so too")


@client.command(short_help="Put Claude Code's settings back.")
def restore() -> None:
    """Put Claude Code's settings back as they were before, whoever runs.

    What others changed meanwhile stays. Does nothing where nothing of ours is left.
    """
    from supervisor.client_settings import restore_whole

    tell(restore_whole(running.state_directory()), nothing="nothing of ours is in the settings")


@client.command(short_help="Show where Claude Code's settings point, and who did that.")
def show() -> None:
    """Show where Claude Code's settings point, which keys are ours, and who holds them."""
    from protocol.client_lease import LeaseUnreadable
    from supervisor import client_settings
    from supervisor.client_side import settings_files

    directory = running.state_directory()
    try:
        lease = client_settings.read_lease(directory)
        shown = client_settings.show(directory, settings_files(os.environ))
    except (LeaseUnreadable, OSError) as error:
        raise Failure(exit_codes.FAILED, str(error)) from error
    for file in shown:
        click.echo(file.path)
        if file.problem:
            click.echo(f"  {file.problem}")
            continue
        missing = "" if file.exists else " (there is no such file)"
        click.echo(f"  points at: {file.url or 'the upstream itself'}{missing}")
        if file.keys:
            click.echo(f"  set by us: {', '.join(file.keys)}")
    if lease is not None:
        alive = "which is gone" if client_settings.gone(lease.holder) else "which runs"
        pids = ", ".join(str(mark.pid) for mark in lease.holder.processes)
        click.echo(f"held by the instance at {lease.url} (pid {pids}), {alive}")
        if client_settings.gone(lease.holder):
            click.echo("  put it back with `supervisor repair`")


client.add_command(seed_models)


def tell(done: Restored, *, nothing: str) -> None:
    """What was put back; ends with 1 where something is left."""
    for path in done.changed:
        click.echo(f"{path} is as it was before")
    for message in done.messages:
        click.echo(f"supervisor: {message}", err=True)
    if done.left:
        sys.exit(exit_codes.FAILED)
    if not done.changed and nothing:
        click.echo(nothing)


def lease_file() -> Path:
    """Where the lease is."""
    from supervisor.client_lease_file import LEASE_FILE

    return running.state_directory() / LEASE_FILE
