"""Loading the configuration for a command, with everything wrong in it said at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from supervisor import exit_codes
from supervisor.cli.failure import Failure

if TYPE_CHECKING:
    from supervisor.configuration import Loaded


def load_or_fail(
    argument: Path | None, overrides: Mapping[str, object], *, looks_only: bool = False
) -> Loaded:
    """The configuration, its warnings on stderr. With `looks_only` as `configuration.load` says.

    Raises Failure with every error in it: 78, or 77 for a file that this user may not read.
    """
    from protocol.config import ConfigInvalid
    from supervisor import configuration
    from supervisor.token_store import stored_names

    stored, unreadable = stored_names(configuration.state_directory(os.environ))
    try:
        loaded = configuration.load(
            argument,
            overrides=overrides,
            environ=os.environ,
            stored_accounts=stored,
            looks_only=looks_only,
        )
    except ConfigInvalid as invalid:
        number = len(invalid.errors)
        not_permitted = isinstance(invalid, configuration.ConfigNotPermitted)
        raise Failure(
            exit_codes.PERMISSION if not_permitted else exit_codes.CONFIGURATION,
            f"the configuration has {number} error{'' if number == 1 else 's'}",
            *(str(error) for error in invalid.errors),
        ) from invalid
    if unreadable:
        click.echo(f"warning: {unreadable}", err=True)
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    return loaded
