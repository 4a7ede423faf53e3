"""What the shell offers for a NAME or an ID: those that there are.

Asked at every press of the tab key: nothing here writes, warns or fails. What cannot be read offers
nothing.
"""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Iterable
from contextlib import redirect_stderr, suppress

import click

LAST_REQUESTS = 20
"""Ids that `explain` offers, the newest first."""


def account_names(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Accounts of the configuration and of the token store."""
    return _beginning(incomplete, [*_configured(), *_stored()])


def stored_account_names(
    _ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Accounts of the token store alone, for commands that change it."""
    return _beginning(incomplete, _stored())


def key_ids(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Inbound keys."""
    return _beginning(incomplete, _keys())


def request_ids(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The last requests of the log."""
    return _beginning(incomplete, reversed(_requests()))


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]


def _configured() -> list[str]:
    from protocol.config import ConfigInvalid
    from supervisor import configuration

    with suppress(ConfigInvalid, OSError):
        accounts = configuration.load(None, environ=os.environ).config.accounts
        return [account.name for account in accounts]
    return []


def _stored() -> list[str]:
    from supervisor.cli.running import state_directory
    from supervisor.token_store import stored_names

    with suppress(OSError):
        return list(stored_names(state_directory())[0])
    return []


def _keys() -> list[str]:
    from protocol.login import CredentialFileInvalid, CredentialsUnusable
    from supervisor.cli.running import state_directory
    from supervisor.key_store import KeyStore

    with suppress(CredentialFileInvalid, CredentialsUnusable, OSError):
        return [key.id for key in KeyStore(state_directory()).read().keys]
    return []


def _requests() -> list[str]:
    import json

    from supervisor.cli.failure import Failure
    from supervisor.cli.log_place import log_directory
    from supervisor.log_files import blocks, log_files

    lines: deque[bytes] = deque(maxlen=LAST_REQUESTS)
    # A tab prints no warnings: stderr is the line that is being typed.
    with suppress(Failure, OSError), redirect_stderr(io.StringIO()):
        for path in log_files(log_directory(None), "requests")[-2:]:
            for block in blocks(path):
                lines.extend(block.splitlines()[-LAST_REQUESTS:])
    found = []
    for line in lines:
        with suppress(ValueError, RecursionError):
            said = json.loads(line)
            if isinstance(said, dict) and isinstance(said.get("request_id"), str):
                found.append(said["request_id"])
    return found
