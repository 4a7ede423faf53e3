"""`supervisor demo`."""

from __future__ import annotations

import sys

import click

from supervisor import exit_codes
from supervisor.cli.manual import Documented, Manual

_MANUAL = Manual(
    examples={"supervisor demo": "Until Ctrl-C."},
    exits={
        exit_codes.STOPPED_AS_ASKED: "stopped as asked",
        exit_codes.GAVE_UP: "a part of it kept crashing; the log on stderr says which",
    },
    see=("supervisor setup", "docs/start.md#try-it-without-credentials"),
)


@click.command(
    short_help="Try it: three accounts on a built-in upstream.", cls=Documented, manual=_MANUAL
)
def demo() -> None:
    """Run with three accounts, one running dry, against a built-in scripted upstream.

    It has its own state directory and a free port, touches no client and needs no credentials; it
    prints how to point a client at it.
    """
    from supervisor import demo as demonstration

    sys.exit(demonstration.run())
