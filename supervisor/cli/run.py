"""`supervisor run`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from supervisor import exit_codes
from supervisor.cli.configuration_errors import load_or_fail
from supervisor.cli.failure import Failure
from supervisor.cli.manual import NEEDS_A_CONFIGURATION, PLACE_VARIABLES, Documented, Manual
from supervisor.cli.running import unusable

STRATEGIES = (
    "fill-first",
    "round-robin",
    "weighted",
    "drain-soonest",
    "least-used",
    "hybrid",
)
LOG_LEVELS = ("debug", "info", "warning", "error")


_MANUAL = Manual(
    examples={
        "supervisor run": "With the configuration in its usual place, or with the defaults.",
        "supervisor run my.toml --port 0": "With another file, on any free port; the first line says which.",
        "supervisor run --no-client --quiet": "Leave Claude Code's settings alone, and print one line.",
        "SUPERVISOR_STATE_DIR=~/second supervisor run --port 4090": "A second instance, with a state of its own.",
    },
    exits={
        exit_codes.STOPPED_AS_ASKED: "stopped as asked",
        exit_codes.GAVE_UP: "a part of it kept crashing; the log on stderr says which",
        exit_codes.TAKEN: "the port or the state directory belongs to somebody else",
        **NEEDS_A_CONFIGURATION,
    },
    files={
        "config.toml": "in the configuration directory; Linux: ~/.config/llm-supervisor",
        "settings.json": "Claude Code's, in ~/.claude: pointed here while it runs, then put back",
        "logs/": "in the state directory; Linux: ~/.local/state/llm-supervisor",
    },
    environment={
        **PLACE_VARIABLES,
        "SUPERVISOR_SERVER_PORT": "a key of the configuration; every plain one has such a variable",
        "HTTPS_PROXY, NO_PROXY": "honoured on the way to upstreams",
    },
    see=(
        "supervisor check",
        "supervisor status",
        "docs/operating.md#starting-and-stopping",
        "docs/configuration-reference.md",
    ),
)


@click.command(short_help="Start, and serve until stopped.", cls=Documented, manual=_MANUAL)
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option("--host", metavar="ADDRESS", help="Where to listen, instead of server.host.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Instead of server.port; 0: any free one.",
)
@click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    metavar="STRATEGY",
    help=f"Instead of routing.strategy: {', '.join(STRATEGIES)}.",
)
@click.option("--no-client", is_flag=True, help="Leave Claude Code's settings alone in this run.")
@click.option(
    "--log-level",
    type=click.Choice(LOG_LEVELS),
    metavar="LEVEL",
    help=f"Instead of logs.level: {', '.join(LOG_LEVELS)}.",
)
@click.option("--quiet", is_flag=True, help="Print only the line that says where it listens.")
def run(
    config: Path | None,
    host: str | None,
    port: int | None,
    strategy: str | None,
    no_client: bool,
    log_level: str | None,
    quiet: bool,
) -> None:
    """Start with CONFIG, and serve until stopped.

    CONFIG is a TOML file; without it $SUPERVISOR_CONFIG, then the file in the user's configuration
    directory, then the defaults. One instance runs per state directory.

    Ctrl-C or SIGTERM lets requests in flight end, then stops; a second one stops at once. SIGHUP
    reads the configuration again.
    """
    given = {
        "server.host": host,
        "server.port": port,
        "routing.strategy": strategy,
        "logs.level": log_level,
        "client.manage": False if no_client else None,
    }
    overrides = {key: value for key, value in given.items() if value is not None}
    loaded = load_or_fail(config, overrides)

    from supervisor import configuration, instance, starting
    from supervisor.options import RunOptions

    options = RunOptions(
        state_directory=configuration.state_directory(os.environ),
        argument=config,
        overrides=overrides,
        manage_client=not no_client,
        quiet=quiet,
    )
    try:
        code = starting.run(loaded, options)
    except instance.AlreadyRunning as error:
        raise Failure(
            exit_codes.TAKEN,
            str(error),
            "see it with `supervisor status`, end it with `supervisor stop`;",
            "for a second one, set SUPERVISOR_STATE_DIR to another directory.",
        ) from error
    except instance.StateDirectoryUnusable as error:
        raise unusable(error) from error
    sys.exit(code)
