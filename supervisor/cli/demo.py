"""`supervisor demo`."""

from __future__ import annotations

import sys

import click


@click.command(short_help="Try it: three accounts on a built-in upstream.")
def demo() -> None:
    """Run with three accounts, one running dry, against a built-in scripted upstream.

    It has its own state directory and a free port, touches no client and needs no credentials; it
    prints how to point a client at it.
    """
    from supervisor import demo as demonstration

    sys.exit(demonstration.run())
