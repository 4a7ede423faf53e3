"""`supervisor auth ...`: the token store, with the program running or not."""

from __future__ import annotations

import click

from supervisor.cli.auth_login import import_, login, refresh
from supervisor.cli.auth_show import list_, status
from supervisor.cli.auth_store import add, cleanup, disable, enable, remove


@click.group(short_help="Add, look at and remove accounts.")
def auth() -> None:
    """Accounts that are kept in the token store, beside those of the configuration.

    All of these work with the program running, which follows within two seconds and cuts no
    stream, and without. A secret is typed or piped in; the command line never carries one.
    """


for _command in (add, login, import_, list_, status, refresh, enable, disable, remove, cleanup):
    auth.add_command(_command)
