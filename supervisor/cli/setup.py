"""`supervisor setup`: the guided start. First everything is asked, then everything is done, so
whoever breaks it off at a question leaves nothing half done."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from supervisor import exit_codes
from supervisor.cli import auth_place, setup_steps
from supervisor.cli.failure import Failure
from supervisor.cli.manual import NEEDS_A_CONFIGURATION, PLACE_VARIABLES, Documented, Manual
from supervisor.cli.questions import Questions

if TYPE_CHECKING:
    from protocol.config import Config
    from supervisor.cli.setup_steps import Plan


_MANUAL = Manual(
    examples={
        "supervisor setup": "Ask everything first, then do what you agreed to.",
        "supervisor setup --yes": "Ask nothing: the usual answer to every question.",
        "supervisor setup --yes --no-service --port 4090": "Everything but the service, on another port.",
    },
    exits={
        exit_codes.FAILED: "broken off, or a step did not work; what was done is said",
        exit_codes.TAKEN: "the port belongs to another program",
        **NEEDS_A_CONFIGURATION,
    },
    files={
        "config.toml": "written where there is none, with every usual key as a comment",
        "accounts.json": "the logins and keys that you agreed to use",
    },
    environment={
        "ANTHROPIC_API_KEY": "a key that is offered to be stored; so are ANTHROPIC_AUTH_TOKEN and CLAUDE_CODE_OAUTH_TOKEN",
        "CLAUDE_CONFIG_DIR": "where Claude Code's login and settings are looked for",
        **PLACE_VARIABLES,
    },
    see=("supervisor doctor", "supervisor service", "docs/install.md#the-guided-start"),
)


@click.command(
    short_help="Set everything up, question by question.", cls=Documented, manual=_MANUAL
)
@click.option("--yes", is_flag=True, help="Ask nothing: the usual answer to every question.")
@click.option("--logins/--no-logins", default=None, help="Use Claude Code's logins.")
@click.option("--keys/--no-keys", default=None, help="Store the keys of the environment.")
@click.option("--config-file/--no-config-file", default=None, help="Write a configuration.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="Where to listen.  [default: 4080]",
)
@click.option("--client/--no-client", default=None, help="Point Claude Code here.")
@click.option("--service/--no-service", default=None, help="Install and start a service.")
def setup(
    yes: bool,
    logins: bool | None,
    keys: bool | None,
    config_file: bool | None,
    port: int | None,
    client: bool | None,
    service: bool | None,
) -> None:
    """Find the logins and keys that are on this machine, write a configuration, point Claude Code
    here, and keep it running.

    Every question has a flag; --yes asks nothing. Nothing is changed before the last question, no
    file of yours is written over, and a second time there is nothing left to do.
    """
    given = {"logins": logins, "keys": keys, "config-file": config_file, "client": client,
             "service": service}  # fmt: skip
    try:
        plan = _ask(Questions(yes=yes), given, port)
    except click.Abort:
        click.echo(err=True)
        raise Failure(exit_codes.FAILED, "broken off; nothing was changed") from None
    setup_steps.act(plan)


def _ask(questions: Questions, given: dict[str, bool | None], port: int | None) -> Plan:
    from supervisor import configuration, discovery

    with auth_place.usable():
        store = auth_place.store().read()
    config = _written()
    path = configuration.find_file(None, os.environ) or configuration.default_file()
    found = discovery.discover(os.environ, config, store)
    here = auth_place.runs()
    plan = setup_steps.Plan(path=path, config=config, here=here)
    for problem in found.problems:
        click.echo(f"warning: {problem}", err=True)
    for login in found.logins:
        if questions.agreed(
            f"Use the login in {login.path} as an account?", "logins", given["logins"]
        ):
            plan.logins.append(login)
    has_login = bool(found.logins or any(account.kind == "oauth" for account in store.accounts))
    for key in found.keys:
        # A key that lies in a shell must not pay where a login does, unless somebody says so.
        words = f"Store the key in ${key.variable} as the account {key.name}?"
        if questions.agreed(words, "keys", given["keys"], default=not has_login):
            plan.keys.append(key)
    _ask_about_the_file(questions, given, plan, port)
    _ask_about_the_service(questions, given, plan)
    return plan


def _written() -> Config:
    """The configuration, without the accounts that are only in this shell's environment."""
    import msgspec

    from supervisor.cli.configuration_errors import load_or_fail

    loaded = load_or_fail(None, {})
    if "environment" not in loaded.accounts_from:
        return loaded.config
    return msgspec.structs.replace(loaded.config, accounts=())


def _ask_about_the_file(
    questions: Questions, given: dict[str, bool | None], plan: Plan, port: int | None
) -> None:
    plan.port = port
    plan.manage = given["client"]
    if os.path.lexists(plan.path):
        plan.writes_file = False
        if plan.here is not None and plan.config.client.manage and not setup_steps.points(plan):
            plan.points_now = questions.agreed(
                f"Point Claude Code at the running instance ({plan.here.instance.url})?",
                "client",
                given["client"],
            )
        return
    if plan.here is None and port is None:
        plan.port = _free_port(questions, plan.config.server.port)
    plan.manage = questions.agreed(
        "Point Claude Code here while the proxy runs, and back when it stops?",
        "client",
        given["client"],
    )
    plan.writes_file = questions.agreed(
        f"Write a commented configuration to {plan.path}?", "config-file", given["config-file"]
    )
    plan.points_now = bool(plan.here and plan.manage and not setup_steps.points(plan))


def _free_port(questions: Questions, usual: int) -> int | None:
    """None: the usual one is free."""
    if setup_steps.is_free(usual):
        return None
    other = next((port for port in range(usual + 1, usual + 20) if setup_steps.is_free(port)), 0)
    click.echo(f"port {usual} is taken by another program", err=True)
    return questions.number("Which port instead?", "port", default=other or usual + 1)


def _ask_about_the_service(questions: Questions, given: dict[str, bool | None], plan: Plan) -> None:
    from supervisor.service.keeping import NoKeeper, keeper_of

    try:
        keeper = keeper_of(os.environ)
    except NoKeeper as reason:
        if given["service"]:
            raise Failure(exit_codes.FAILED, str(reason), "say --no-service.") from reason
        plan.no_service = str(reason)
        return
    if keeper.installed() and given["service"] is None:
        plan.service_is_there = True
        return
    unreachable = keeper.unreachable()
    if unreachable and given["service"] is None:
        plan.no_service = f"{keeper.title}: {unreachable}"
        return
    plan.service = questions.agreed(
        f"Keep it running: install a service ({keeper.title}) and start it?",
        "service",
        given["service"],
    )
