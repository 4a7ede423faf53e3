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
from supervisor.cli.manual import NEEDS_AN_INSTANCE, PLACE_VARIABLES, DocumentedGroup, Manual

if TYPE_CHECKING:
    from supervisor.client_settings import Restored


_MANUAL = Manual(
    examples={
        "supervisor client show": "Where they point, which keys are ours, and who holds them.",
        "supervisor client apply": "Point them at the running instance.",
        "supervisor client restore": "Put them back as they were.",
    },
    files={
        "settings.json": "Claude Code's, in CLAUDE_CONFIG_DIR or ~/.claude, or those of client.settings",
        "client.json": "in the state directory: what was changed, and what stood there before",
    },
    environment={**PLACE_VARIABLES, "CLAUDE_CONFIG_DIR": "where Claude Code's settings are"},
    see=("supervisor repair", "supervisor exec", "docs/client-settings.md"),
)


@click.group(short_help="Claude Code's settings, by hand.", cls=DocumentedGroup, manual=_MANUAL)
def client() -> None:
    """Point Claude Code's settings at the running instance, put them back, or show them.

    `supervisor run` does this by itself, unless client.manage is false or --no-client is given.
    """


_APPLY = Manual(
    examples={"supervisor client apply": "Every settings file that client.settings names."},
    exits={
        **NEEDS_AN_INSTANCE,
        exit_codes.FAILED: "no file could be pointed; the reason is said",
        exit_codes.CONFIGURATION: "the configuration does not load; nothing was changed",
    },
    see=("supervisor client restore", "docs/client-settings.md#when-it-stands-back"),
)


@client.command(short_help="Point Claude Code at the running instance.", manual=_APPLY)
def apply() -> None:
    """Point Claude Code's settings at the running instance.

    The instance puts them back when it stops. Settings that point at somebody else are left alone,
    unless client.replace says otherwise.
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


_RESTORE = Manual(
    examples={"supervisor client restore": "Undo what `apply` or `run` did."},
    exits={exit_codes.FAILED: "a file could not be put back; it is named"},
    see=("supervisor repair", "docs/client-settings.md#what-is-set"),
)


@client.command(short_help="Put Claude Code's settings back.", manual=_RESTORE)
def restore() -> None:
    """Put Claude Code's settings back as they were before, whoever runs.

    What others changed meanwhile stays. Does nothing where nothing of ours is left.
    """
    from supervisor.client_settings import restore_whole

    tell(restore_whole(running.state_directory()), nothing="nothing of ours is in the settings")


_SHOW = Manual(
    examples={"supervisor client show": "Each file, with the address it leads to."},
    exits={exit_codes.FAILED: "the note of what was changed cannot be read"},
    see=("supervisor doctor", "docs/client-settings.md"),
)


@client.command(
    short_help="Show where Claude Code's settings point, and who did that.", manual=_SHOW
)
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
        raise unreadable(error) from error
    for file in shown:
        click.echo(file.path)
        if file.problem:
            click.echo(f"  {file.problem}")
            click.echo(f"  {file.advice}")
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


def unreadable(error: Exception) -> Failure:
    """For what reading the lease raises."""
    if not isinstance(error, OSError):
        return Failure(exit_codes.FAILED, str(error))  # says what to do
    from supervisor.plain_files import trouble

    found = trouble(str(lease_file()), error)
    return Failure(exit_codes.FAILED, found.what, f"{found.advice}, then try again.")


def lease_file() -> Path:
    """Where the lease is."""
    from supervisor.client_lease_file import LEASE_FILE

    return running.state_directory() / LEASE_FILE
