"""What `supervisor setup` does when it has its answers, and what it says then."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from supervisor import exit_codes
from supervisor.cli import auth_place, running
from supervisor.cli.failure import Failure

if TYPE_CHECKING:
    from protocol.config import Config
    from supervisor.discovery import Key, Login
    from supervisor.instance import Instance


@dataclass
class Plan:
    """The answers. `port` and `manage` are None where nobody chose."""

    path: Path
    config: Config
    here: running.RunningInstance | None
    logins: list[Login] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)
    port: int | None = None
    manage: bool | None = None
    writes_file: bool = False
    points_now: bool = False
    service: bool = False
    service_is_there: bool = False
    no_service: str = ""
    """Why no service was offered."""


def act(plan: Plan) -> None:
    """Does it all, in an order in which every step stands for itself. Raises Failure."""
    changed = bool(plan.logins or plan.keys or plan.writes_file or plan.points_now or plan.service)
    for login in plan.logins:
        _take_over(login)
    for key in plan.keys:
        _store(key)
    _configure(plan)
    failure = _keep_running(plan) if plan.service else None
    started = plan.service and failure is None
    if plan.points_now and plan.here is not None:
        failure = _point(plan.here) or failure
    if not changed:
        click.echo("everything is set up already; nothing was changed")
    _what_next(plan, started=started)
    if failure is not None:
        raise failure


def _take_over(login: Login) -> None:
    from supervisor.cli.auth_login import take_over

    take_over(login.account, login.path)


def _store(key: Key) -> None:
    from supervisor.cli.auth_login import free_name
    from supervisor.cli.auth_store import keep

    with auth_place.usable():
        name = free_name(auth_place.store().read(), key.name, auth_place.configured())
    keep(name, key.kind, key.secret)


def _configure(plan: Plan) -> None:
    from supervisor.files import replace_file
    from supervisor.first_config import DEFAULT_PORT, first_config

    if not os.path.lexists(plan.path):
        if plan.writes_file:
            text = first_config(port=plan.port or DEFAULT_PORT, manage=plan.manage is not False)
            try:
                plan.path.parent.mkdir(parents=True, exist_ok=True)
                replace_file(plan.path, text.encode())
            except OSError as error:
                raise Failure(
                    exit_codes.PERMISSION,
                    f"{plan.path} cannot be written: {error.strerror or error}",
                    "make its directory writable, or say --no-config-file.",
                ) from error
            click.echo(f"wrote {plan.path}")
            return
        differs = _differences(plan)
        if differs:
            click.echo(f"no file was written; to get what you chose, write {plan.path}:")
            _show(differs)
        return
    click.echo(f"{plan.path} is there, and is left as it is")
    differs = _differences(plan)
    if differs:
        click.echo("  to get what you chose, change in it:")
        _show(differs)


def _differences(plan: Plan) -> list[tuple[str, str, str]]:
    """Section, new line, and what is in effect instead."""
    found = []
    server, client = plan.config.server, plan.config.client
    if plan.port is not None and plan.port != server.port:
        found.append(("server", f"port = {plan.port}", str(server.port)))
    if plan.manage is not None and plan.manage != client.manage:
        now = "true" if client.manage else "false"
        found.append(("client", f"manage = {'true' if plan.manage else 'false'}", now))
    return found


def _show(differences: list[tuple[str, str, str]]) -> None:
    for section, line, now in differences:
        click.echo(f"    [{section}]\n    {line}    # now {now}")


def _keep_running(plan: Plan) -> Failure | None:
    """Why the service does not run; told at the end, for the rest is done all the same."""
    from supervisor.cli.service import put_in_place

    try:
        # The port of a file that was not written has to stand somewhere.
        put_in_place(port=None if os.path.lexists(plan.path) else plan.port)
    except Failure as failure:
        return failure
    return None


def _point(here: running.RunningInstance) -> Failure | None:
    """Why Claude Code was not pointed; told at the end."""
    from supervisor.cli.client import point

    try:
        point(here)
    except Failure as failure:
        return failure
    return None


def _what_next(plan: Plan, *, started: bool) -> None:
    from supervisor.token_store import stored_names

    found = plan.here or (auth_place.runs() if started else None)
    click.echo("\nwhat next:")
    if found is not None:
        click.echo(f"  it runs at {found.instance.url}")
        click.echo(_where_claude_code_is(found.instance))
    else:
        if plan.no_service:
            click.echo(f"  no service: {plan.no_service}")
        start = "supervisor service start" if plan.service_is_there else "supervisor run"
        click.echo(f"  start it                     {start}")
        manage = plan.manage if plan.manage is not None else plan.config.client.manage
        click.echo(
            "  then start Claude Code as always; it comes here by itself: claude"
            if manage
            else "  then, for one command:       supervisor exec -- claude"
        )
    stored, _ = stored_names(running.state_directory())
    if not stored and not plan.config.accounts:
        click.echo(
            "  no account yet, so each client's own credential is passed on; add one:\n"
            "                               supervisor auth add NAME, supervisor auth login NAME"
        )
    click.echo("  see it work                  supervisor status --watch")
    click.echo("  something is wrong           supervisor doctor")
    click.echo("  undo all of this             supervisor uninstall")


def _where_claude_code_is(instance: Instance) -> str:
    if _points(instance):
        return "  Claude Code points there; start it as always: claude"
    return "  Claude Code does not point there; see why: supervisor client show"


def points(plan: Plan) -> bool:
    """Whether Claude Code's settings point at the instance that runs."""
    return plan.here is not None and _points(plan.here.instance)


def _points(instance: Instance) -> bool:
    from protocol.client_lease import LeaseUnreadable
    from supervisor import client_settings
    from supervisor.client_side import settings_files

    try:
        shown = client_settings.show(running.state_directory(), settings_files(os.environ))
    except (LeaseUnreadable, OSError):
        return False
    return any(file.url == instance.url for file in shown)


def is_free(port: int) -> bool:
    """Whether this program could listen there now."""
    from supervisor.listening import listen

    try:
        listen("127.0.0.1", port).close()
    except OSError:
        return False
    return True
