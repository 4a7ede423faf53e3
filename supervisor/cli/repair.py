"""`supervisor repair`: what service units run after a stop, and a hook before a session."""

from __future__ import annotations

import click

from supervisor import exit_codes
from supervisor.cli import running
from supervisor.cli.client import lease_file, tell, unreadable
from supervisor.cli.manual import STATE_VARIABLE, Documented, Manual

_MANUAL = Manual(
    examples={
        "supervisor repair": "By hand, after a crash or a power cut.",
        "supervisor repair --if-dead": "In a hook or a service: quick, and silent where all is well.",
    },
    exits={
        exit_codes.FAILED: "the note of what was changed, or a settings file, cannot be read or written"
    },
    files={
        "client.json": "in the state directory: what was changed, and what stood there before",
        "settings.json": "Claude Code's, put back",
    },
    environment=STATE_VARIABLE,
    see=("supervisor client", "docs/client-settings.md#after-a-kill-or-a-power-cut"),
)


@click.command(
    short_help="Put a client's settings back if the instance that changed them is gone.",
    cls=Documented,
    manual=_MANUAL,
)
@click.option("--if-dead", is_flag=True, help="Say nothing where there is nothing to do.")
def repair(if_dead: bool) -> None:
    """Put Claude Code's settings back if the instance that changed them is gone.

    Idempotent, and quick where there is nothing to do. An instance that still answers is left
    alone; with --if-dead also one whose process is there but does not answer.
    """
    try:
        there = bool(lease_file().stat())  # before anything is imported: a hook runs this each time
    except (FileNotFoundError, NotADirectoryError):
        there = False
    except OSError as error:
        raise unreadable(error) from error
    if not there:
        if not if_dead:
            click.echo("nothing to repair")
        return

    from protocol.client_lease import LeaseUnreadable
    from supervisor import client_settings
    from supervisor.who_answers import who_answers

    directory = running.state_directory()
    try:
        lease = client_settings.read_lease(directory)
    except (LeaseUnreadable, OSError) as error:
        raise unreadable(error) from error
    if lease is not None and not client_settings.gone(lease.holder):
        if if_dead:
            return
        if who_answers(lease.url) == "supervisor":
            click.echo(f"nothing to repair: the instance at {lease.url} answers")
            return
    done = client_settings.restore_whole(directory)
    tell(done, nothing="" if if_dead else "nothing to repair")
