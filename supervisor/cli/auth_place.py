"""What the `auth` commands share: the store, the configuration, the running instance."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from supervisor import exit_codes
from supervisor.cli import running
from supervisor.cli.configuration_errors import load_or_fail
from supervisor.cli.failure import Failure

if TYPE_CHECKING:
    from protocol.config import Account, Config
    from protocol.token_file import TokenFile
    from supervisor.token_store import TokenStore

SOON = "the running instance follows within two seconds"


def store() -> TokenStore:
    """The token store of this environment's state directory."""
    from supervisor.token_store import TokenStore

    return TokenStore(running.state_directory())


def change(edit: Callable[[TokenFile], TokenFile]) -> None:
    """Changes the store, and says so if the old one had to be kept aside. Raises Failure."""
    with usable():
        changed = store().change(edit)
    if changed.aside is not None:
        click.echo(
            f"warning: the old store could not be read; it is kept as {changed.aside}", err=True
        )


def configuration() -> Config:
    """The running instance's, as its file is now; where none runs, what one would start with.

    Secrets may be stand-ins where one runs, which has the variables that this shell may not have.
    Raises Failure.
    """
    found = runs()
    argument = Path(found.instance.config) if found is not None and found.instance.config else None
    return load_or_fail(argument, {}, looks_only=found is not None).config


def configured() -> tuple[Account, ...]:
    """The accounts of the configuration. None where it does not load: what is stored can be changed
    all the same, and `supervisor check` says why."""
    with contextlib.suppress(Failure):
        return configuration().accounts
    return ()


@contextlib.contextmanager
def usable(what: str = "the token store") -> Iterator[None]:
    """Turns what a store may raise into a Failure that says what to do."""
    from protocol.login import CredentialFileInvalid, CredentialsUnusable

    try:
        yield
    except CredentialsUnusable as reason:
        raise Failure(exit_codes.PERMISSION, str(reason)) from reason
    except CredentialFileInvalid as reason:
        raise Failure(exit_codes.USAGE, str(reason)) from reason
    except OSError as error:
        raise _unwritten(what, error) from error


def _unwritten(what: str, error: OSError) -> Failure:
    from supervisor.plain_files import trouble

    said = f"{what} cannot be written"
    if not isinstance(error.filename, str | os.PathLike):
        return Failure(
            exit_codes.PERMISSION, f"{said}: {error.strerror or error}", "nothing was changed."
        )
    found = trouble(os.fspath(error.filename), error, "be written")
    return Failure(
        exit_codes.PERMISSION, f"{said}: {found.what}", f"{found.advice}; nothing was changed."
    )


def reads(name: str) -> TokenFile:
    """The store, for a command about the stored account `name`. Raises Failure where there is none."""
    with usable():
        file = store().read()
    if name not in file:
        raise unknown(name)
    return file


def unknown(name: str) -> Failure:
    """There is no stored account of that name; the configuration may have one."""
    if any(account.name == name for account in configuration().accounts):
        return Failure(
            exit_codes.FAILED,
            f"account {name!r} is the configuration's, not the token store's",
            "change it in the configuration file: see `supervisor check`.",
        )
    return Failure(
        exit_codes.FAILED,
        f"there is no account {name!r} in the token store",
        "see `supervisor auth list`.",
    )


def logins_directory() -> Path:
    """In it, by account, Claude Code's configuration directories that `auth login` makes."""
    from supervisor.own_logins import NAME

    return running.state_directory() / NAME


def runs() -> running.RunningInstance | None:
    """The running instance, None where there is none that answers."""
    with contextlib.suppress(Failure):
        return running.find()
    return None


def act(instance: running.RunningInstance, name: str, action: str) -> None:
    """Has the running instance do it to the account `name`. Raises Failure."""
    from urllib.parse import quote

    from supervisor.instance_client import NothingAnswers, Refused

    try:
        instance.post(f"/status/accounts/{quote(os.fsencode(name), safe='')}/{action}")
    except Refused as refusal:
        if refusal.status == 404:
            raise Failure(
                exit_codes.FAILED, f"there is no account {name!r}", "see `supervisor auth list`."
            ) from refusal
        if refusal.status in (409, 503) and refusal.body is not None:  # it says why
            raise Failure(exit_codes.FAILED, refusal.message) from refusal
        raise running.refused(refusal.status, refusal.message) from refusal
    except NothingAnswers as error:
        raise running.unanswered(error) from error


def follow_up() -> str:
    """A clause for after a change: what the running instance does about it."""
    return f"; {SOON}" if runs() is not None else ""
