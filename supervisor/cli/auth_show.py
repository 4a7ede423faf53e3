"""`auth list` and `auth status`."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from supervisor import exit_codes
from supervisor.cli import auth_place, running
from supervisor.cli.failure import Failure
from supervisor.cli.known_names import account_names
from supervisor.cli.manual import STORE_EXITS, Documented, Manual
from supervisor.cli.wording import KINDS, duration, printable

if TYPE_CHECKING:
    from supervisor.cli.auth_seen import SeenAccount
    from supervisor.stored_accounts import Shown

_WORDS = {"needs_login": "needs a login"}

_STILL_IN_FORCE = (
    "the running instance goes on with what it read of it before; repair the file, or move it away"
)


_LIST = Manual(
    examples={
        "supervisor auth list": "As a table.",
        "supervisor auth list --json": "For programs.",
    },
    exits={**STORE_EXITS, exit_codes.CONFIGURATION: "the configuration has errors; each is named"},
    see=("supervisor status", "docs/accounts.md#its-commands"),
)


@click.command("list", short_help="List all accounts.", cls=Documented, manual=_LIST)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def list_(as_json: bool) -> None:
    """List the accounts of the configuration and of the token store, without their secrets.

    `supervisor status` shows how they are doing.
    """
    accounts, problems = _accounts()
    if as_json:
        click.echo(json.dumps([_as_json(account) for account in accounts], indent=2))
    elif not accounts and not problems:
        _say_that_there_are_none()
    elif accounts:
        _table(accounts)
    for problem in problems:
        click.echo(f"warning: {problem}", err=True)


_STATUS = Manual(
    examples={
        "supervisor auth status": "Of all.",
        "supervisor auth status work --json": "Of one, for programs.",
    },
    exits={
        exit_codes.FAILED: "one cannot serve, or there is none of that name",
        **STORE_EXITS,
        exit_codes.CONFIGURATION: "the configuration has errors; each is named",
    },
    see=("supervisor doctor", "docs/accounts.md#needs-a-login"),
)


@click.command(
    short_help="Say of one account, or of all, whether it can serve.",
    cls=Documented,
    manual=_STATUS,
)
@click.argument("name", required=False, shell_complete=account_names)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(name: str | None, as_json: bool) -> None:
    """Say of the account NAME, or of all, whether its credential can serve.

    A login is looked at on the disk; where an instance runs, what upstream said last counts too.
    """
    accounts, problems = _accounts()
    if name is not None:
        accounts = [account for account in accounts if account.name == name]
        if not accounts:
            raise auth_place.unknown(name)
    if as_json:
        click.echo(json.dumps([_as_json(account) for account in accounts], indent=2))
    elif not accounts and not problems:
        _say_that_there_are_none()
    else:
        for account in accounts:
            click.echo(_sentence(account))
    bad = [account.name for account in accounts if not _can_serve(account)]
    if bad:
        advice = [*_advice(accounts), *(problems if name is None else ())]
        raise Failure(exit_codes.FAILED, f"cannot serve: {', '.join(bad)}", *advice)
    if name is None and problems:
        raise Failure(exit_codes.FAILED, problems[0], *problems[1:])


def _accounts() -> tuple[list[Shown], tuple[str, ...]]:
    """From the files; with the running instance's word on each account's state, if one answers.

    Where the store cannot be read, the instance also tells of the accounts that it read before.
    """
    from supervisor.cli.auth_seen import seen
    from supervisor.stored_accounts import shown
    from supervisor.token_store import stored_names

    directory = running.state_directory()
    accounts, problems = shown(auth_place.configuration(), directory)
    told = seen()
    found = [_with_word(account, told.pop(account.name, None)) for account in accounts]
    if not (told and stored_names(directory)[1]):
        return found, problems
    more = [account.shown() for account in told.values()]
    return [*found, *more], (*problems, _STILL_IN_FORCE)


def _say_that_there_are_none() -> None:
    click.echo("there are no accounts; the client's own credential is passed through")
    click.echo("add one with `supervisor auth add NAME` or `supervisor auth import`.", err=True)


def _with_word(account: Shown, told: SeenAccount | None) -> Shown:
    import msgspec

    if told is None or account.state == "ignored":
        return account
    problem = account.problem or told.problem
    return msgspec.structs.replace(account, state=told.state, problem=problem)


def _can_serve(account: Shown) -> bool:
    """Now, or when a limit is over."""
    from supervisor.cli.auth_seen import REFUSED

    return account.state in ("available", "cooling") and account.problem != REFUSED


def _table(accounts: list[Shown]) -> None:
    rows = [("NAME", "KIND", "STATE", "EXPIRES", "FROM")]
    rows += [
        (
            account.name,
            KINDS.get(account.kind, account.kind),
            _WORDS.get(account.state, account.state),
            _expires(account),
            printable(account.origin),
        )
        for account in accounts
    ]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        click.echo("  ".join([*cells, row[-1]]).rstrip())


def _expires(account: Shown) -> str:
    if account.expires_at is None:
        return "-"
    left = account.expires_at - time.time()
    return f"in {duration(left)}" if left > 0 else f"{duration(-left)} ago"


def _sentence(account: Shown) -> str:
    words = [f"{account.name}: {_WORDS.get(account.state, account.state)}"]
    if account.email:
        words.append(f"logged in as {printable(account.email)}")
    if account.expires_at is not None:
        words.append(f"its token expires {_expires(account)}")
    if account.problem:
        words.append(printable(account.problem))
    return ", ".join(words)


def _advice(accounts: list[Shown]) -> list[str]:
    from supervisor.cli.auth_seen import REFUSED

    advice = []
    if any(account.state == "needs_login" for account in accounts):
        advice.append(
            "log in again: `supervisor auth login NAME`, or with Claude Code where it is."
        )
    if any(account.state == "disabled" for account in accounts):
        advice.append("let it serve again: `supervisor auth enable NAME`.")
    if any(account.problem == REFUSED for account in accounts):
        advice.append(
            "give it a good one: `supervisor auth add NAME --replace`, or in the configuration; "
            "for a login `supervisor auth login NAME`."
        )
    return advice


def _as_json(account: Shown) -> dict[str, Any]:
    from protocol.status_view import utc

    return {
        "name": account.name,
        "kind": account.kind,
        "state": account.state,
        "from": account.origin,
        "email": account.email,
        "expires_at": utc(account.expires_at) if account.expires_at is not None else None,
        "problem": account.problem or None,
    }
