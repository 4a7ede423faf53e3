"""`auth import`, `auth login` and `auth refresh`: logins."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from supervisor import exit_codes
from supervisor.cli import auth_place, running
from supervisor.cli.exclusive import exclude_each_other
from supervisor.cli.failure import Failure
from supervisor.cli.known_names import account_names
from supervisor.cli.manual import STORE_EXITS, Documented, Manual

if TYPE_CHECKING:
    from protocol.config import Account
    from protocol.token_file import StoredAccount, TokenFile

CLIENT = "claude"


_IMPORT = Manual(
    examples={
        "supervisor auth import": "All that are found in Claude Code's directories.",
        "supervisor auth import ~/.claude-work --name work": "One directory, under a name of yours.",
    },
    exits={exit_codes.FAILED: "no login was found", **STORE_EXITS},
    see=("supervisor auth login", "docs/accounts.md#its-commands"),
)


@click.command(
    "import",
    short_help="Take over logins that are on this machine.",
    cls=Documented,
    manual=_IMPORT,
)
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="Of the account, where there is only one.")
def import_(directory: Path | None, name: str | None) -> None:
    """Take over the logins in DIRECTORY, or in all of Claude Code's directories.

    Found are Claude Code's logins (its directory, CLAUDE_CONFIG_DIR, CLAUDE_CONFIG_DIRS) and an
    `accounts.json` of claude-code-proxy, where DIRECTORY names it or has it. A login of Claude
    Code is used where it lies and is renewed under its own lock, so neither logs the other out.
    """
    from supervisor import login_sources

    places = [directory] if directory is not None else login_sources.client_directories(os.environ)
    found = [each for each in map(login_sources.look, places) if each is not None]
    for each in found:
        if each.problem:
            click.echo(f"warning: {each.problem}", err=True)
    accounts = [(account, each.path) for each in found for account in each.accounts]
    if not accounts:
        looked = ", ".join(str(place) for place in places) or "Claude Code's directory"
        raise Failure(
            exit_codes.FAILED,
            f"no login was found in {looked}",
            "log in with `claude`, or with `supervisor auth login NAME`.",
        )
    if name is not None and len(accounts) > 1:
        raise Failure(exit_codes.USAGE, f"--name is for one login; {len(accounts)} were found")
    for account, path in accounts:
        take_over(account, path, name)


def take_over(account: StoredAccount, path: Path, name: str | None = None) -> None:
    """Stores the login that was found in `path`, and says so. Raises Failure."""
    import msgspec

    from protocol import token_file

    holder, chosen = "", ""
    configured = auth_place.configured()

    def put(file: TokenFile) -> TokenFile:
        nonlocal holder, chosen
        holder = holder_of(file, account, configured)
        if holder:
            return file
        chosen = free_name(file, name or account.name, configured)
        return token_file.put(file, msgspec.structs.replace(account, name=chosen))

    auth_place.change(put)
    if holder:
        click.echo(f"{path}: is account {holder} already")
        return
    click.echo(f"account {chosen} is the login in {path}{auth_place.follow_up()}")
    if not account.path and account.kind == "oauth":
        click.echo(
            "warning: its tokens were copied; end the other program that uses them, "
            "or the two will log each other out",
            err=True,
        )


def holder_of(file: TokenFile, account: StoredAccount, configured: Iterable[Account]) -> str:
    """The account, stored or configured, that has this very login already; "" for none."""
    token = account.login.access_token
    for written in configured:
        if account.path and written.credentials:
            if os.path.realpath(written.credentials) == account.path:
                return written.name
        elif token is not None and token in (written.api_key, written.token):
            return written.name
    for one in file.accounts:
        same_file = account.path and one.path == account.path
        if same_file or (token is not None and one.login.access_token == token):
            return one.name
    return ""


def free_name(file: TokenFile, wanted: str, configured: Iterable[Account]) -> str:
    """`wanted`, with a number where it is taken: also by the configuration, which would hide it."""
    taken = {account.name for account in configured}
    name, number = wanted, 1
    while name in file or name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name


_LOGIN = Manual(
    examples={
        "supervisor auth login home": "With the installed Claude Code.",
        "supervisor auth login home --pkce": "In a browser, at the endpoints of [oauth].",
    },
    exits={
        exit_codes.FAILED: "the login did not work out; nothing is stored",
        exit_codes.TAKEN: "there is an account of that name",
        exit_codes.NOT_FOUND: "Claude Code is not installed",
        **STORE_EXITS,
    },
    see=("supervisor auth import", "docs/accounts.md#the-token-store"),
)


@click.command(short_help="Log in, and store the login.", cls=Documented, manual=_LOGIN)
@click.argument("name")
@click.option("--pkce", is_flag=True, help="At the endpoints of [oauth], in a browser.")
@click.option("--console", is_flag=True, help="Claude Code: bill to the API console's account.")
def login(name: str, pkce: bool, console: bool) -> None:
    """Log in as the account NAME.

    The installed Claude Code does its own login, in a configuration directory of its own below
    the state directory; that login is then the account's alone. With --pkce the login is the
    OAuth 2.0 code flow with PKCE, against the endpoints that [oauth] names.
    """
    if pkce and console:
        raise exclude_each_other("--pkce", "--console")
    _check_name(name)
    if pkce:
        _pkce(name)
    else:
        _client_login(name, console=console)


def _check_name(name: str) -> None:
    """Before anybody logs in for nothing. An earlier login of that name is what a new one is for;
    a key or a token would be lost, and the configuration's account would hide it."""
    from protocol.config.forms import FORMS

    if FORMS["name"].check(name) is None:
        raise Failure(exit_codes.USAGE, f"an account's name is {FORMS['name'].allowed}")
    for account in auth_place.configured():
        if account.name == name:
            raise _hidden(account)
    with auth_place.usable():
        known = auth_place.store().read().account(name)
    if known is not None and known.kind != "oauth":
        raise Failure(
            exit_codes.TAKEN,
            f"the stored account {name!r} has a key or a token, which would be lost",
            f"choose another name, or forget it first: `supervisor auth remove {name}`.",
        )


def _hidden(by: Account) -> Failure:
    """A stored account of that name would be ignored."""
    advice = "choose another name, or change the configuration."
    if by.credentials:
        directory = shlex.quote(str(Path(by.credentials).parent))
        advice = f"log in where it is: `CLAUDE_CONFIG_DIR={directory} {CLIENT} auth login`."
    return Failure(
        exit_codes.TAKEN,
        f"the configuration has an account {by.name!r}: a stored one of that name would be ignored",
        advice,
    )


def _client_login(name: str, *, console: bool) -> None:
    from protocol import token_file
    from protocol.login import Login
    from protocol.token_file import StoredAccount
    from supervisor import login_sources
    from supervisor.files import make_private_directory

    program = shutil.which(CLIENT)
    if program is None:
        raise Failure(
            exit_codes.NOT_FOUND,
            "Claude Code is not installed: there is no `claude` on the PATH",
            "install it, or store a key with `supervisor auth add`.",
        )
    directory = auth_place.logins_directory() / name
    make_private_directory(directory.parent)
    make_private_directory(directory)
    arguments = [program, "auth", "login", *(["--console"] if console else [])]
    environment = {**os.environ, "CLAUDE_CONFIG_DIR": os.path.realpath(directory)}
    for other in ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        environment.pop(other, None)  # a login is between the client and its provider
    ended = subprocess.run(arguments, env=environment, check=False)  # noqa: S603 - as asked for
    found = login_sources.look(directory / login_sources.CLIENT_FILE)
    if found is None or not found.accounts:
        reason = found.problem if found is not None and found.problem else "no login came of it"
        raise Failure(
            exit_codes.FAILED, f"{reason} (claude ended with {ended.returncode})", "try again."
        )
    account = StoredAccount(name, "oauth", Login(None), path=str(found.path), follow="never")
    auth_place.change(lambda file: token_file.put(file, account))
    click.echo(f"account {name} is logged in{auth_place.follow_up()}")


def _pkce(name: str) -> None:
    from protocol import token_file
    from protocol.pkce import LoginRefused
    from protocol.token_file import StoredAccount
    from supervisor import pkce_login

    config = auth_place.configuration()
    server = pkce_login.CallbackServer()
    try:
        begun = pkce_login.attempt(config, server.redirect_uri)
        click.echo("open this address in a browser and log in:", err=True)
        click.echo(begun.url())
        sys.stdout.flush()
        code = begun.code_of(server.wait())
        found = pkce_login.exchange(config, begun, code, lambda: pkce_login.endpoint_of(config))
    except LoginRefused as reason:
        raise Failure(exit_codes.FAILED, str(reason)) from reason
    finally:
        server.close()
    account = StoredAccount(name, "oauth" if found.refresh_token else "token", found)
    auth_place.change(lambda file: token_file.put(file, account))
    click.echo(f"account {name} is logged in{auth_place.follow_up()}")


_REFRESH = Manual(
    examples={"supervisor auth refresh home": "Whatever is left of the old token."},
    exits={exit_codes.FAILED: "it is no login, or the token endpoint refuses", **STORE_EXITS},
    see=("supervisor auth status", "docs/accounts.md#when-a-login-is-refreshed"),
)


@click.command(short_help="Renew a login's tokens now.", cls=Documented, manual=_REFRESH)
@click.argument("name", shell_complete=account_names)
def refresh(name: str) -> None:
    """Renew the tokens of the login NAME now.

    The running instance does it, or this command where none runs; the new token is on the disk before
    the old one is given up.
    """
    instance = auth_place.runs()
    if instance is not None:
        auth_place.act(instance, name, "refresh")
    else:
        _refresh_here(name)
    click.echo(f"the tokens of account {name} are renewed")


def _refresh_here(name: str) -> None:
    from supervisor.offline_refresh import refresh

    config = auth_place.configuration()
    outcome = refresh(config, running.state_directory(), name)
    if outcome is None:
        with auth_place.usable():
            stored = name in auth_place.store().read()
        if stored or any(account.name == name for account in config.accounts):
            raise Failure(exit_codes.FAILED, f"account {name!r} has a key or a token, not a login")
        raise auth_place.unknown(name)
    if outcome.kind in ("renewed", "replaced"):
        return
    said = f"the tokens of account {name} were not renewed: {outcome.kind} {outcome.detail}".strip()
    advice = "log in again." if outcome.kind in ("dead", "refused") else "try again."
    raise Failure(exit_codes.FAILED, said, advice)
