"""What the command line asks of one run, beside the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `supervisor run`.

    `overrides` are the configuration keys set on the command line (`{"server.port": 0}`): a reload
    applies them again on top of the file. `argument` is the configuration file named on the command
    line, None where the usual places are searched. `manage_client` is False with `--no-client`;
    the configuration's own `client.manage` must be true as well.
    """

    state_directory: Path
    argument: Path | None = None
    overrides: Mapping[str, object] = {}
    manage_client: bool = True
    quiet: bool = False
