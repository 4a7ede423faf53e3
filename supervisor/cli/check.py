"""`supervisor check`."""

from __future__ import annotations

from pathlib import Path

import click

from supervisor.cli.configuration_errors import load_or_fail


@click.command(short_help="Validate the configuration and show what is in effect.")
@click.argument("config", required=False, type=click.Path(path_type=Path))
def check(config: Path | None) -> None:
    """Validate CONFIG and print what is in effect, and where each value came from.

    Secrets are hidden. Ends with 0, or with 78 and every error at once.
    """
    loaded = load_or_fail(config, {})

    from supervisor.effective import render_effective

    click.echo(render_effective(loaded), nl=False)
