"""`supervisor keys ...`: who may come in."""

from __future__ import annotations

import contextlib
import json
import math
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec

from supervisor import exit_codes
from supervisor.cli import auth_place, keys_manual, running
from supervisor.cli.amounts import Amount
from supervisor.cli.failure import Failure
from supervisor.cli.key_words import KeyView, limits, whose
from supervisor.cli.known_names import key_ids
from supervisor.cli.manual import DocumentedGroup
from supervisor.cli.wording import ago, duration, moment, printable

if TYPE_CHECKING:
    from protocol.inbound_keys import InboundKey
    from protocol.key_file import KeyFile
    from supervisor.key_store import KeyStore

DEFAULT_DAYS = 90.0
DAYS_MAX = 36_500
"""A hundred years: for longer, for ever."""


@click.group(
    short_help="Make, list and revoke the keys of clients.",
    cls=DocumentedGroup,
    manual=keys_manual.KEYS,
)
def keys() -> None:
    """Keys that clients show to this proxy, once `[access] keys` is on.

    A client sends its key as x-api-key, as Authorization: Bearer, or as x-supervisor-key.
    The proxy replaces it: no upstream ever sees it.

    All of these work with the program running, and count at once, and without.
    """


@keys.command(short_help="Make a key.", manual=keys_manual.CREATE)
@click.option(
    "--name", required=True, metavar="NAME", help="Whose it is: shown in logs, metrics and usage."
)
@click.option(
    "--days",
    type=Amount(min=0, max=DAYS_MAX),
    default=DEFAULT_DAYS,
    show_default=True,
    metavar="DAYS",
    help="How long it is valid; 0: for ever.",
)
@click.option(
    "--owner",
    is_flag=True,
    help="Your own: may manage the proxy, and use your subscriptions with Claude Code.",
)
@click.option(
    "--requests-per-minute",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="NUMBER",
    help="0: no limit.",
)
@click.option(
    "--tokens-per-minute",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="NUMBER",
    help="0: no limit.",
)
@click.option(
    "--budget-per-day",
    type=Amount(min=0),
    default=0,
    show_default=True,
    metavar="DOLLARS",
    help="0: no limit.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def create(
    name: str,
    days: float,
    owner: bool,
    requests_per_minute: int,
    tokens_per_minute: int,
    budget_per_day: float,
    as_json: bool,
) -> None:
    """Make a key, and show it once: only a hash of it is kept.

    Its limits hold for everything that is sent with it; what is past them is answered with 429.
    """
    from protocol import inbound_keys, key_file
    from protocol.inbound_keys import KeyLimits

    with auth_place.usable("the key file"):
        key, secret = inbound_keys.made(
            name,
            secrets.token_bytes(inbound_keys.RANDOM_BYTES),
            time.time(),
            days=days,
            owner=owner,
            limits=KeyLimits(requests_per_minute, tokens_per_minute, budget_per_day),
            text=secrets.token_urlsafe(32),
        )
        _change(lambda file: key_file.added(file, key))
    if as_json:
        click.echo(json.dumps({**_as_json(key, {}), "key": secret.reveal()}, indent=2))
    else:
        click.echo(secret.reveal())
        click.echo(f"key {key.id} for {name}, {_until(key)}; it is not shown again", err=True)
    _warn_where_keys_are_off()


@keys.command("list", short_help="List all keys.", manual=keys_manual.LIST)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def list_(as_json: bool) -> None:
    """List the keys, without the keys themselves.

    While the program runs, with what each has spent of its limits.
    """
    with auth_place.usable("the key file"):
        file = _store().read()
    running = _running()
    if as_json:
        click.echo(json.dumps([_as_json(key, running) for key in file.keys], indent=2))
    elif not file.keys:
        click.echo("there are no keys")
        click.echo("make one with `supervisor keys create --name NAME`.", err=True)
    else:
        _table(file.keys, running)
    for problem in file.problems:
        click.echo(f"warning: {printable(problem)}; it lets nobody in", err=True)


@keys.command(short_help="Turn a key away from now on.", manual=keys_manual.REVOKE)
@click.argument("key_id", metavar="ID", shell_complete=key_ids)
def revoke(key_id: str) -> None:
    """Turn the key ID away from now on. Answers that have begun are not cut.

    It stays in the list, so that what it did can still be told.
    """
    from protocol import key_file

    with auth_place.usable("the key file"), _known(key_id):
        _change(lambda file: key_file.revoked(file, key_id, time.time()))
    click.echo(f"key {key_id} is revoked")


@keys.command(short_help="Forget a key.", manual=keys_manual.DELETE)
@click.argument("key_id", metavar="ID", shell_complete=key_ids)
@click.option("--force", is_flag=True, help="Also a key that is still valid.")
def delete(key_id: str, force: bool) -> None:
    """Forget the key ID. What it did stays in the logs, under its name.

    One that is still valid is only deleted with --force: revoking it is what is usually meant.
    """
    from protocol import key_file

    with auth_place.usable("the key file"), _known(key_id):
        key = _store().read().key(key_id)
        if key is not None and key.state(time.time()) == "valid" and not force:
            raise Failure(
                exit_codes.FAILED,
                f"key {key_id} ({key.name}) is still valid",
                "revoke it with `supervisor keys revoke`, or say --force.",
            )
        _change(lambda file: key_file.deleted(file, key_id))
    click.echo(f"key {key_id} is forgotten")


# ------------------------------------------------------------------------------------ the store


def _store() -> KeyStore:
    from supervisor.key_store import KeyStore

    return KeyStore(running.state_directory())


def _change(edit: Callable[[KeyFile], KeyFile]) -> None:
    """Changes the file, and has the running instance look at it before this returns."""
    from supervisor.instance_client import NothingAnswers, Refused

    changed = _store().change(edit)
    if changed.aside is not None:
        click.echo(
            f"warning: the old keys could not be read; they are kept as {changed.aside}", err=True
        )
    instance = auth_place.runs()
    if instance is None:
        return
    try:
        instance.post("/status/keys/reload")
    except (NothingAnswers, Refused):
        click.echo(f"note: {auth_place.SOON}", err=True)


@contextlib.contextmanager
def _known(key_id: str) -> Iterator[None]:
    try:
        yield
    except KeyError:
        raise Failure(
            exit_codes.FAILED,
            f"there is no key {printable(key_id)!r}",
            "see `supervisor keys list`; a key's ID is its eight digits there.",
        ) from None


def _warn_where_keys_are_off() -> None:
    """A key that nobody asks for would look like protection."""
    if not auth_place.configuration().access.keys:
        click.echo(
            "note: clients are not asked for a key yet; set `keys = true` under [access]", err=True
        )


# --------------------------------------------------------------------------------------- showing


def _until(key: InboundKey) -> str:
    if key.expires is None:
        return "valid for ever"
    return f"valid for {duration(math.ceil(key.expires - time.time()))}"


def _table(shown: tuple[InboundKey, ...], running: dict[str, Any]) -> None:
    now = datetime.now(UTC)
    rows = [("ID", "NAME", "STATE", "EXPIRES", "LAST USED", "LIMITS")]
    for key in shown:
        view = _view(_as_json(key, running))
        expires = moment(view.expires)
        rows.append(
            (
                view.id,
                printable(whose(view)),
                view.state,
                "never" if expires is None else _moment((expires - now).total_seconds()),
                ago(view.last_used, now) or "never",
                limits(view),
            )
        )
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        sys.stdout.write("  ".join([*cells, row[-1]]).rstrip() + "\n")


def _moment(seconds: float) -> str:
    return f"in {duration(math.ceil(seconds))}" if seconds > 0 else f"{duration(-seconds)} ago"


def _view(document: dict[str, Any]) -> KeyView:
    known = {name: value for name, value in document.items() if value is not None}
    try:
        return msgspec.convert(known, KeyView)
    except msgspec.ValidationError:  # what is used, as an instance of another version has it
        return msgspec.convert({**known, "used": {}}, KeyView)


def _as_json(key: InboundKey, running: dict[str, Any]) -> dict[str, Any]:
    from protocol.key_file import key_view

    told = running.get(key.id, {})
    view = key_view(key, time.time())
    return {**view, "used": told.get("used"), "last_used": told.get("last_used", view["last_used"])}


def _running() -> dict[str, Any]:
    """What is told of each key, by its id, by the instance that counts, if one runs."""
    from supervisor.instance_client import NothingAnswers, Refused

    instance = auth_place.runs()
    if instance is None:
        return {}
    try:
        answer = instance.get("/status/keys")
    except (NothingAnswers, Refused):
        return {}
    keys = answer.get("keys") if isinstance(answer, dict) else None
    return {key["id"]: key for key in keys or () if isinstance(key, dict) and "id" in key}
