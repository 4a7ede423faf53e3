"""The group of all commands.

Command modules import click and nothing heavier at the top: `--help`, completion and `status` must
not wait for an event loop and a web framework that they do not use.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NoReturn

import click

from supervisor import exit_codes
from supervisor.cli.auth import auth
from supervisor.cli.check import check
from supervisor.cli.client import client
from supervisor.cli.demo import demo
from supervisor.cli.doctor import doctor
from supervisor.cli.execute import execute
from supervisor.cli.explain import explain
from supervisor.cli.keys import keys
from supervisor.cli.logs import logs
from supervisor.cli.manual import PLACE_VARIABLES, DocumentedGroup, Manual
from supervisor.cli.reload import reload
from supervisor.cli.repair import repair
from supervisor.cli.run import run
from supervisor.cli.service import service
from supervisor.cli.setup import setup
from supervisor.cli.simulate import simulate
from supervisor.cli.status import status
from supervisor.cli.statusline import statusline
from supervisor.cli.stop import stop
from supervisor.cli.uninstall import uninstall
from supervisor.cli.usage import usage

PROGRAM = "supervisor"
COMPLETION_VARIABLE = "_SUPERVISOR_COMPLETE"

_MANUAL = Manual(
    examples={
        "supervisor setup": "Everything at once: accounts, configuration, Claude Code, a service.",
        "supervisor run": "Or just start it: no configuration is needed.",
        "supervisor status --watch": "See what happens.",
        "supervisor explain 3f8a41d09c2b4f": "Ask why a request went where it went.",
        "supervisor doctor": "Ask what is wrong, and how to mend it.",
    },
    also_heading="Completion",
    also={
        "bash": 'eval "$(_SUPERVISOR_COMPLETE=bash_source supervisor)"',
        "zsh": 'eval "$(_SUPERVISOR_COMPLETE=zsh_source supervisor)"',
        "fish": "_SUPERVISOR_COMPLETE=fish_source supervisor | source",
    },
    exits={
        exit_codes.STOPPED_AS_ASKED: "done, or stopped as asked",
        exit_codes.FAILED: "a check failed, or it could not be done",
        exit_codes.NOTHING_ANSWERS: "nothing answers",
        exit_codes.GAVE_UP: "the program gave up: a part of it kept crashing",
        exit_codes.TAKEN: "the port, a name or the state directory is taken",
        exit_codes.PERMISSION: "permission",
        exit_codes.CONFIGURATION: "the configuration has errors",
    },
    files={
        "config.toml": "in the configuration directory; Linux: ~/.config/llm-supervisor, macOS: ~/Library/Application Support/llm-supervisor",
        "the state directory": "accounts, keys, quota, logs; Linux: ~/.local/state/llm-supervisor",
    },
    environment={
        **PLACE_VARIABLES,
        "SUPERVISOR_SERVER_PORT": "a key of the configuration; every plain one has such a variable",
        "SUPERVISOR_ACCESS_TOKEN": "access.token, where the configuration is not to be read from here",
        "NO_COLOR": "no colours",
    },
    see=("docs/start.md", "docs/operating.md", "docs/commands.md"),
)


class _InOrder(DocumentedGroup):
    """Lists commands as they were added: by what one does first, not by the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from supervisor.version import version

    click.echo(f"{PROGRAM} {version()}")
    ctx.exit()


@click.group(cls=_InOrder, manual=_MANUAL)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def commands() -> None:
    """One local endpoint between LLM clients and their upstreams.

    It pools the credentials you have, and fails over between them unseen. Start with `supervisor setup`, or with `supervisor run`: no configuration is needed.
    """


_COMMANDS = (
    setup, run, check, status, usage, logs, explain, statusline, auth, keys, execute, reload, stop, client,
    service, doctor, repair, uninstall, simulate, demo,
)  # fmt: skip
for _command in _COMMANDS:
    commands.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The console script. `arguments` without the program's name, None for those of the process.

    Never returns: raises SystemExit with one of `supervisor.exit_codes`.
    """
    if COMPLETION_VARIABLE in os.environ:
        from supervisor.cli import completing

        completing.install()
    commands.main(args=arguments, prog_name=PROGRAM)
    raise SystemExit(0)  # not reached: click ends by SystemExit, which its types do not say
