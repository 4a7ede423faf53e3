"""Where the usage files are, as who configures them tells who writes them."""

from __future__ import annotations

from pathlib import Path

import msgspec


class UsagePlaces(msgspec.Struct, frozen=True):
    """`main` None: no file for all; `optional`: not where its directory is missing.

    `logins`: configuration directories of Claude Code, each with a login of its own. In passthrough
    mode the credential of that login gets a file there.
    """

    main: Path | None = None
    optional: bool = False
    logins: tuple[Path, ...] = ()
