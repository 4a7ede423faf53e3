"""`supervisor auth ...`: the token store, with the program running or not."""

from __future__ import annotations

import click

from supervisor.cli.auth_login import import_, login, refresh
from supervisor.cli.auth_show import list_, status
from supervisor.cli.auth_store import add, cleanup, disable, enable, remove
from supervisor.cli.manual import PLACE_VARIABLES, DocumentedGroup, Manual

_MANUAL = Manual(
    examples={
        "supervisor auth import": "Use the logins of Claude Code on this machine.",
        "supervisor auth add work --api-key": "Store an API key; it is asked for.",
        "supervisor auth list": "All accounts, without their secrets.",
        "supervisor auth status": "Whether each can serve.",
    },
    files={
        "accounts.json": "in the state directory: the token store, for you alone to read",
        "logins/": "in the state directory: logins that `auth login` made",
    },
    environment=PLACE_VARIABLES,
    see=("docs/accounts.md#its-commands", "docs/responsible-use.md"),
)


@click.group(short_help="Add, look at and remove accounts.", cls=DocumentedGroup, manual=_MANUAL)
def auth() -> None:
    """Accounts that are kept in the token store, beside those of the configuration.

    All of these work with the program running, which follows within two seconds and cuts no
    stream, and without. A secret is typed or piped in; the command line never carries one.
    """


for _command in (add, login, import_, list_, status, refresh, enable, disable, remove, cleanup):
    auth.add_command(_command)
