"""`auth add`, `enable`, `disable`, `remove`, `cleanup`: changes of the token store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from supervisor import exit_codes
from supervisor.cli import auth_place
from supervisor.cli.failure import Failure
from supervisor.cli.known_names import account_names, stored_account_names
from supervisor.cli.manual import STORE_EXITS, Documented, Manual
from supervisor.cli.secret_input import read_secret

if TYPE_CHECKING:
    from protocol.secrets import Secret


_ADD = Manual(
    examples={
        "supervisor auth add work --api-key": "The key is asked for, and not shown.",
        "pass show anthropic/work | supervisor auth add work --api-key": "Or read from stdin.",
        "supervisor auth add ci --token --replace": "A long-lived token, in place of a stored one.",
    },
    exits={exit_codes.TAKEN: "there is an account of that name", **STORE_EXITS},
    see=("supervisor auth list", "docs/accounts.md#its-commands"),
)


@click.command(short_help="Store an API key or a token.", cls=Documented, manual=_ADD)
@click.argument("name")
@click.option("--api-key", "kind", flag_value="api_key", help="The secret is an API key.")
@click.option("--token", "kind", flag_value="token", help="The secret is a long-lived token.")
@click.option("--replace", is_flag=True, help="Take the place of a stored account of that name.")
def add(name: str, kind: str | None, replace: bool) -> None:
    """Store the account NAME. Its secret is asked for, or read from stdin.

    Without --api-key and --token its beginning says what it is.
    """
    from protocol.secrets import Secret

    secret = read_secret(
        {"api_key": "API key", "token": "token"}.get(kind or "", "API key or token")
    )
    keep(name, kind or kind_of(secret), Secret(secret), replace=replace)


def keep(name: str, kind: str, secret: Secret, *, replace: bool = False) -> None:
    """Stores an account, and says so. Raises Failure."""
    from protocol import token_file
    from protocol.login import Login
    from protocol.token_file import StoredAccount, TokenFile

    account = StoredAccount(name, kind, Login(secret))

    def put(file: TokenFile) -> TokenFile:
        if name in file and not replace:
            raise _taken(name)
        return token_file.put(file, account)

    auth_place.change(put)
    path = auth_place.store().path
    click.echo(
        f"account {name} ({_words(account.kind)}) is stored in {path}{auth_place.follow_up()}"
    )
    _warn_of_shadow(name)


def kind_of(secret: str) -> str:
    """What a secret is, by its form."""
    return "token" if secret.startswith("sk-ant-oat") else "api_key"


def _words(kind: str) -> str:
    return {"api_key": "API key", "token": "token", "oauth": "login"}[kind]


def _taken(name: str) -> Failure:
    return Failure(
        exit_codes.TAKEN,
        f"there is an account {name!r} in the token store already",
        "choose another name, or say --replace.",
    )


def _warn_of_shadow(name: str) -> None:
    if any(account.name == name for account in auth_place.configured()):
        click.echo(
            f"warning: it is ignored, because the configuration has an account {name!r}", err=True
        )


_ENABLE = Manual(
    examples={"supervisor auth enable work": "After `auth disable work`."},
    exits={exit_codes.FAILED: "there is no such account, or it could not be done", **STORE_EXITS},
    see=("supervisor auth disable", "docs/accounts.md#its-commands"),
)


@click.command(short_help="Let an account serve again.", cls=Documented, manual=_ENABLE)
@click.argument("name", shell_complete=account_names)
def enable(name: str) -> None:
    """Let the account NAME serve again.

    For an account of the configuration that lasts until the next start.
    """
    _switch(name, enabled=True)


_DISABLE = Manual(
    examples={"supervisor auth disable work": "Requests in flight go on."},
    exits={exit_codes.FAILED: "there is no such account, or it could not be done", **STORE_EXITS},
    see=("supervisor auth enable", "docs/accounts.md#its-commands"),
)


@click.command(
    short_help="Take an account out, without forgetting it.", cls=Documented, manual=_DISABLE
)
@click.argument("name", shell_complete=account_names)
def disable(name: str) -> None:
    """Take the account NAME out: it serves nobody until it is enabled.

    For an account of the configuration that lasts until the next start.
    """
    _switch(name, enabled=False)


def _switch(name: str, *, enabled: bool) -> None:
    from protocol import token_file

    word = "enabled" if enabled else "disabled"
    store = auth_place.store()
    with auth_place.usable():
        stored = name in store.read()
        if stored:
            store.change(lambda file: token_file.set_disabled(file, name, not enabled))
    if stored:
        click.echo(f"account {name} is {word}{auth_place.follow_up()}")
        return
    instance = auth_place.runs()
    if instance is None:
        raise auth_place.unknown(name)
    auth_place.act(instance, name, word.removesuffix("d"))
    click.echo(f"account {name} is {word} until the next start")
    click.echo("to keep it so, set `enabled` in the configuration.", err=True)


_REMOVE = Manual(
    examples={
        "supervisor auth remove work": "Asks first.",
        "supervisor auth remove work --yes": "Without a question.",
    },
    exits={exit_codes.FAILED: "there is no such account, or it could not be done", **STORE_EXITS},
    see=("supervisor auth disable", "docs/accounts.md#its-commands"),
)


@click.command(short_help="Forget a stored account.", cls=Documented, manual=_REMOVE)
@click.argument("name", shell_complete=stored_account_names)
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(name: str, yes: bool) -> None:
    """Forget the stored account NAME and its credential.

    A login that `auth login` made goes with it, its keychain entry on macOS too. A login of Claude
    Code's own stays where it is.
    """
    from supervisor import own_logins

    file = auth_place.reads(name)
    account = file.account(name)
    path = account.path if account is not None else ""
    own = own_logins.own_directory(path, auth_place.logins_directory())
    what = f"{name}, and its login in {own}" if own is not None else name
    if not yes:
        _ask(f"Forget the account {what}?")
    _forget([name], [own] if own is not None else [])
    click.echo(f"account {name} is forgotten{auth_place.follow_up()}")
    stays = own_logins.where_it_stays(path) if path and own is None else ""
    if stays:
        click.echo(f"its login {stays} is Claude Code's own, and stays")


_CLEANUP = Manual(
    examples={
        "supervisor auth cleanup": "Shows them, and asks.",
        "supervisor auth cleanup --force": "Without a question.",
    },
    exits={exit_codes.FAILED: "you said no; nothing was changed", **STORE_EXITS},
    see=("supervisor auth status", "docs/accounts.md#its-commands"),
)


@click.command(
    short_help="Forget stored accounts that cannot serve any more.", cls=Documented, manual=_CLEANUP
)
@click.option("--force", is_flag=True, help="Do not ask.")
def cleanup(force: bool) -> None:
    """Forget stored accounts that need a login or cannot be read, and logins nobody uses."""
    from supervisor import stored_accounts

    with auth_place.usable():
        found = stored_accounts.useless(
            auth_place.configuration(), auth_place.store(), auth_place.logins_directory()
        )
    if not found.accounts and not found.directories:
        click.echo("there is nothing to clean up")
        return
    for name, reason in found.accounts.items():
        click.echo(f"account {name}: {reason}")
    for directory in found.directories:
        click.echo(f"{directory}: the login of no account")
    if not force:
        _ask("Forget all of these?")
    _forget(list(found.accounts), list(found.directories))
    click.echo(f"done{auth_place.follow_up()}")


def _forget(names: list[str], directories: list[Path]) -> None:
    from protocol import token_file
    from protocol.token_file import TokenFile

    def forget(file: TokenFile) -> TokenFile:
        for name in names:
            if name in file:
                file = token_file.removed(file, name)
        return file

    with auth_place.usable():
        if names:
            auth_place.store().change(forget)
    from protocol.login import CredentialsUnusable
    from supervisor import own_logins

    for directory in directories:
        try:
            own_logins.forget(directory)
        except CredentialsUnusable as reason:
            raise Failure(
                exit_codes.PERMISSION,
                f"the login in {directory} could not be removed: {reason}",
                "its account is forgotten; `supervisor auth cleanup` tries again.",
            ) from reason
        except OSError as error:
            raise Failure(
                exit_codes.PERMISSION,
                f"the login in {directory} could not be removed: {error.strerror or error}",
                "its account is forgotten; remove the directory by hand.",
            ) from error


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise Failure(exit_codes.USAGE, "nobody is there to ask", "say --yes (cleanup: --force).")
    if not click.confirm(question, err=True):
        raise Failure(exit_codes.FAILED, "nothing was changed")
