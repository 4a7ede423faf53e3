"""`supervisor check`."""

from __future__ import annotations

from pathlib import Path

import click

from supervisor.cli.configuration_errors import load_or_fail
from supervisor.cli.manual import NEEDS_A_CONFIGURATION, PLACE_VARIABLES, Documented, Manual

_MANUAL = Manual(
    examples={
        "supervisor check": "The configuration in its usual place, as it would be used.",
        "supervisor check new.toml && supervisor reload": "Look at a file before it counts.",
    },
    exits=NEEDS_A_CONFIGURATION,
    files={"config.toml": "in the configuration directory; Linux: ~/.config/llm-supervisor"},
    environment={
        **PLACE_VARIABLES,
        "SUPERVISOR_SERVER_PORT": "a key of the configuration; every plain one has such a variable",
    },
    see=("supervisor reload", "docs/configuration.md", "docs/configuration-reference.md"),
)


@click.command(
    short_help="Validate the configuration and show what is in effect.",
    cls=Documented,
    manual=_MANUAL,
)
@click.argument("config", required=False, type=click.Path(path_type=Path))
def check(config: Path | None) -> None:
    """Validate CONFIG and print what is in effect, and where each value came from.

    What is printed is a whole configuration file: every key with its value, secrets hidden, and beside
    each value that is no default where it came from. All errors are reported at once.
    """
    loaded = load_or_fail(config, {})

    from supervisor.effective import render_effective

    click.echo(render_effective(loaded), nl=False)
